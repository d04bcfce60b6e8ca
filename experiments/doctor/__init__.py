"""What is told of a trace of each schema: one module each, with its fingerprint and its traps.

A module has two functions over the chunks of a trace, which are read once and hold a record or more:
``traps(chunks, tally)`` gives the warnings of `tiersim traces check`, and ``fingerprint(chunks, tally)`` what `tiersim
traces info` shows. The tally has counted every chunk that has passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Final, Protocol, cast

from tiersim.experiments.doctor.contract import Info
from tiersim.experiments.doctor.tally import Tally
from tiersim.traces.schema import Chunk

__all__ = ["Doctor", "doctor_of"]

TOGETHER: Final = {"access": "access_object", "object": "access_object"}  # both ask for something by a key


class Doctor(Protocol):
    """The module of a schema."""

    def traps(self, chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
        """What is odd in the records, and what to do about it."""

    def fingerprint(self, chunks: Iterator[Chunk], tally: Tally) -> Info:
        """What the records are like."""


def doctor_of(schema: str) -> Doctor:
    """The module of a schema, by its name."""
    return cast(Doctor, import_module(f"{__name__}.{TOGETHER.get(schema, schema)}"))
