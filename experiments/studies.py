"""The studies that come along: `library/NAME` stands for a file wherever a study is named."""

from __future__ import annotations

from pathlib import Path

from tiersim._base.errors import StudyError
from tiersim._base.registry import nearest

__all__ = ["LIBRARY", "names", "study_file"]

LIBRARY = Path(__file__).parent / "library"
PREFIX = "library/"


def names() -> list[str]:
    """The studies of the library, as they may be named."""
    return sorted(f"{PREFIX}{path.stem}" for path in LIBRARY.glob("*.yaml"))


def study_file(said: Path | str) -> Path:
    """The file that a study's name stands for: what is no ``library/NAME`` is a path already.

    Raises StudyError for a name that the library does not have.
    """
    name = str(said).removeprefix(PREFIX)
    if name == str(said) or name.endswith((".yaml", ".yml")):
        return Path(said)
    known = [one.removeprefix(PREFIX) for one in names()]
    if name not in known:
        hint = nearest(name, known) or "`tiersim list studies` shows them all"
        raise StudyError(f"the library has no study {name!r}; {hint}")
    return LIBRARY / f"{name}.yaml"
