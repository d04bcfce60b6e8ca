"""A trace that is made while it is read, and never stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from typing import ClassVar, Protocol

from tiersim._base.params import dump
from tiersim.traces.chunks import rechunk
from tiersim.traces.code import code_hash
from tiersim.traces.generators import counter
from tiersim.traces.readers.contract import schema_of
from tiersim.traces.schema import Chunk
from tiersim.traces.trace import CHUNK, Trace

__all__ = ["GeneratedTrace", "Maker"]

BLOCK = 1 << 16  # records made at a time: what is computed on the way stays in the processor's cache


class Maker(Protocol):
    """What makes records by rule.

    The class attribute ``schema`` names their schema, ``access`` without it; ``uses``, of the class and of those it
    derives from, the modules beyond theirs that the records depend on. ``inputs`` says what is in files that it reads.
    """

    @property
    def records(self) -> int:
        """How many there are."""

    def block(self, start: int, count: int) -> Chunk:
        """The records from ``start`` on."""


class GeneratedTrace(Trace):
    """The records of a generator. Its fingerprint is of the specification and of the generator's source.

    A generator may keep what it works on, such as a graph of gigabytes: only that of the trace read last does.
    """

    _last: ClassVar[GeneratedTrace | None] = None

    def __init__(self, name: str, generator: Maker) -> None:
        self.name = name
        self.path = None
        self.schema = schema_of(generator).name
        self.records = generator.records
        self.instructions = generator.records * getattr(
            generator, "gap", 0
        )  # objects are not asked for by instructions
        self.kinds = {}  # not known before it is made; never a fetch
        self.generator = generator
        self.provenance = {"generator": dump(generator)}
        if inputs := getattr(generator, "inputs", {}):
            self.provenance["inputs"] = inputs
        uses = [name for cls in type(generator).__mro__ for name in vars(cls).get("uses", ())]
        self._fingerprint = hashlib.sha256(
            json.dumps([self.provenance, code_hash(type(generator), counter.__name__, *uses)], sort_keys=True).encode()
        ).hexdigest()

    @property
    def fingerprint(self) -> str:
        """The sha256 of the specification and of the generator's source."""
        return self._fingerprint

    def chunks(self, records: int = CHUNK, skip: int = 0, limit: int | None = None) -> Iterator[Chunk]:
        """Columns, ``records`` rows at a time, from row ``skip`` on and at most ``limit`` of them."""
        if (last := GeneratedTrace._last) is not None and last is not self and is_dataclass(last.generator):
            last.generator = replace(last.generator)  # who still reads it has the one before
        GeneratedTrace._last = self
        made = self.generator
        end = self.records if limit is None else min(self.records, skip + limit)
        blocks = (made.block(at, min(BLOCK, end - at)) for at in range(skip, end, BLOCK))
        return rechunk(blocks, records)
