"""Everything that tiersim raises on purpose.

    TiersimError
    ├── StudyError            a study file or a command line asks for something that cannot be
    │   └── UnitError         a quantity that cannot be read, or in the wrong unit
    ├── TraceError            a trace is missing, damaged, empty, or not a trace
    │   └── AbsentError       one that the catalogue knows and that is not on this machine
    ├── PolicyError           a policy breaks its contract, or cannot honour a trace
    ├── CaptureError          a program could not be traced
    ├── DependencyError       an optional package is needed and absent
    └── AuditError            a run contradicts itself: a fault in tiersim, never in the input

Each message says what happened, where, and what to do next. The command line prints it and exits with 2; no
traceback. Every class can be rebuilt from its positional arguments, which pickling between processes and SimPy's way
of re-raising a failed process both need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "AbsentError",
    "AuditError",
    "CaptureError",
    "DependencyError",
    "Place",
    "PolicyError",
    "StudyError",
    "TiersimError",
    "TraceError",
    "UnitError",
]


@dataclass(frozen=True)
class Place:
    """A spot in a file that a message can point to; line and column count from 1, and 0 means not known."""

    file: str
    line: int = 0
    column: int = 0
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        parts = [self.file]
        if self.line:
            parts.append(str(self.line))
            if self.column:
                parts.append(str(self.column))
        return ":".join(parts)

    def drawing(self) -> str:
        """The line itself with a caret under the spot, or nothing when the line is not known."""
        if not self.text:
            return ""
        number = f"{self.line} | " if self.line else "| "
        gap = " " * (len(number) + max(self.column - 1, 0))
        return f"    {number}{self.text}\n    {gap}{'^' * max(self.width, 1)}"


class TiersimError(Exception):
    """Any failure that a user can act on.

    Arguments: the message, the place (or None), what to do next (or an empty string). Whoever knows the study as a tree
    adds where in it: ``path`` leads to one wrong value from the top, ``detail`` holds (path inside the value, message)
    for each of several.
    """

    path: tuple[Any, ...] = ()
    detail: Sequence[tuple[tuple[Any, ...], str]] = ()

    def __init__(self, message: str = "", place: Place | None = None, remedy: str = "") -> None:
        super().__init__(message, place, remedy)
        self.message = message
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}" if self.place else self.message]
        if self.place and (drawing := self.place.drawing()):
            lines.append(drawing)
        if self.remedy:
            lines.append(f"  {self.remedy}")
        return "\n".join(lines)


class StudyError(TiersimError):
    """A study file, preset or command line that cannot be honoured."""


class UnitError(StudyError):
    """A quantity that cannot be read, or whose unit does not fit."""


class TraceError(TiersimError):
    """A trace that is missing, damaged, empty, or of no known format."""


class AbsentError(TraceError):
    """A trace that the catalogue knows, and that is not on this machine."""


class PolicyError(TiersimError):
    """A policy that breaks its contract or cannot honour what it is given."""


class CaptureError(TiersimError):
    """A program that could not be traced."""


class DependencyError(TiersimError):
    """An optional package that is needed and not installed."""


class AuditError(TiersimError):
    """A run whose own books do not balance."""
