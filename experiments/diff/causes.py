"""What differs between two configurations, and what stands between them.

A cause is the highest node at which they differ for good: one whose `use` is another (what is below means something
else then), one that only one of both has, or a single value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tiersim.experiments.figures.words import text_of

__all__ = ["ABSENT", "SEED", "Cause", "causes_of", "mixed"]

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "absent"})()
SEED = ("seed",)  # no scenario has such a key: it is of the study itself


@dataclass(frozen=True)
class Cause:
    """A place at which two configurations differ, and what each has there (`ABSENT` where it has nothing)."""

    path: tuple[str, ...]
    a: Any
    b: Any

    @property
    def name(self) -> str:
        """The dotted key."""
        return ".".join(self.path)

    def told(self) -> tuple[str, str]:
        """Both values as a person reads them."""
        both = (self.a, self.b)
        if all(isinstance(held, dict) and "use" in held for held in both) and self.a["use"] != self.b["use"]:
            return str(self.a["use"]), str(self.b["use"])
        return _told(self.a), _told(self.b)


def _told(held: Any) -> str:
    return "-" if held is ABSENT else text_of(held)


def causes_of(a: Any, b: Any, path: tuple[str, ...] = ()) -> list[Cause]:
    """The causes between two configurations of one scenario, in the order of the first one's keys."""
    if a is not ABSENT and b is not ABSENT and a == b:
        return []
    if not isinstance(a, dict) or not isinstance(b, dict) or (path and a.get("use") != b.get("use")):
        return [Cause(path, a, b)]
    return [cause for key in _keys(a, b) for cause in causes_of(a.get(key, ABSENT), b.get(key, ABSENT), (*path, key))]


def mixed(a: dict[str, Any], b: dict[str, Any], causes: Sequence[Cause], switched: Collection[int]) -> dict[str, Any]:
    """The first configuration with what the causes of these numbers change to what the second one has."""
    places = {cause.path: number in switched for number, cause in enumerate(causes)}
    made: dict[str, Any] = _mixed(a, b, places, ())
    return made


def _mixed(a: Any, b: Any, places: dict[tuple[str, ...], bool], path: tuple[str, ...]) -> Any:
    if path in places:
        return b if places[path] else a
    if not isinstance(a, dict) or not isinstance(b, dict):
        return a  # both are the same here
    parts = {key: _mixed(a.get(key, ABSENT), b.get(key, ABSENT), places, (*path, key)) for key in _keys(a, b)}
    return {key: held for key, held in parts.items() if held is not ABSENT}


def _keys(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The keys of both: those of the second alone stand behind the one that they follow there."""
    keys, last = list(a), -1
    for key in b:
        if key not in a:
            keys.insert(last + 1, key)
        last = keys.index(key)
    return keys
