"""The study that `tiersim new` writes: small, commented, and run by the tests."""

from __future__ import annotations

from pathlib import Path

from tiersim._base.errors import StudyError

__all__ = ["starter"]

FOLDER = Path(__file__).with_name("templates")


def starter(scenario: str, name: str) -> str:
    """The text of a commented study of this scenario, under a name of its own."""
    path = FOLDER / f"{scenario}.yaml"
    if not path.exists():
        raise StudyError(f"there is no study to start from for {scenario!r}")
    return path.read_text(encoding="utf-8").replace("STUDY_NAME", name)
