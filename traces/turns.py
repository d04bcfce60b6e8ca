"""Traces of several processes that take turns on one core."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiersim.traces.chunks import length, rechunk, window
from tiersim.traces.schema import ACCESS, Chunk
from tiersim.traces.trace import CHUNK, Trace

__all__ = ["Process", "Turns"]

READ = 1 << 17  # records of a process that are read at a time


@dataclass(frozen=True)
class Process:
    """A trace of accesses, and the part of it that a process runs."""

    trace: Trace
    skip: int = 0
    limit: int | None = None

    @property
    def records(self) -> int:
        left = max(0, self.trace.records - self.skip)
        return left if self.limit is None else min(left, self.limit)

    def about(self) -> dict[str, str | int | None]:
        """What tells it from others."""
        return {"sha256": self.trace.fingerprint, "skip": self.skip, "limit": self.limit}


class Turns(Trace):
    """The accesses of processes that run in turn, in the order given, until all have ended.

    A turn ends with the record that brings it to `quantum` instructions. Each process has address spaces of its own.
    Where a trace does not count instructions each record is one.
    """

    def __init__(self, processes: Sequence[Process], quantum: int) -> None:
        traces = [own.trace for own in processes]
        self.name = ", ".join(trace.name for trace in traces)
        self.path = None
        self.schema = ACCESS.name
        self.records = sum(own.records for own in processes)
        self.instructions = 0  # known when all is read
        self.kinds = {kind: sum(trace.kinds.get(kind, 0) for trace in traces) for kind in ACCESS.kinds}
        self.processes, self.quantum = list(processes), quantum
        parts = [{"trace": own.trace.name, **own.about()} for own in processes]
        self.provenance = {"quantum": quantum, "processes": parts}

    @property
    def has_spaces(self) -> bool:
        return True

    @property
    def fingerprint(self) -> str:
        """The sha256 of those of the traces, of which parts are run, and of the quantum."""
        parts = [own.about() for own in self.processes]
        return hashlib.sha256(json.dumps([parts, self.quantum]).encode()).hexdigest()

    def chunks(self, records: int = CHUNK, skip: int = 0, limit: int | None = None) -> Iterator[Chunk]:
        """Columns, ``records`` rows at a time, from row ``skip`` on and at most ``limit`` of them."""
        return rechunk(window(self._turns(), skip, limit), records)

    def _turns(self) -> Iterator[Chunk]:
        spaces: dict[tuple[int, int], int] = {}
        running = deque(_Running(own, place, spaces) for place, own in enumerate(self.processes))
        while running:
            own = running.popleft()
            yield from own.turn(self.quantum)
            if not own.ended:
                running.append(own)


class _Running:
    """How far one process has come; `spaces` numbers its address spaces among those of all."""

    def __init__(self, process: Process, place: int, spaces: dict[tuple[int, int], int]) -> None:
        self.chunks = process.trace.chunks(READ, process.skip, process.limit)
        self.counted = process.trace.instructions > 0
        self.place, self.spaces = place, spaces
        self.at = 0
        self._read()

    @property
    def ended(self) -> bool:
        return not self.held

    def turn(self, quantum: int) -> Iterator[Chunk]:
        left = quantum
        while left > 0 and not self.ended:
            before = int(self.executed[self.at - 1]) if self.at else 0
            end = min(int(np.searchsorted(self.executed, before + left)) + 1, len(self.executed))
            yield {name: column[self.at : end] for name, column in self.held.items()}
            left -= int(self.executed[end - 1]) - before
            self.at = end
            if end == len(self.executed):
                self._read()

    def _read(self) -> None:
        """The next records, or nothing where there are no more."""
        chunk = next(self.chunks, {})
        count = length(chunk)
        if count:
            chunk = {name: chunk[name] for name in ("address", "size", "kind", "gap")} | {"asid": self._spaces(chunk)}
            if not self.counted:
                chunk["gap"] = np.ones(count, np.uint32)
            self.executed = np.cumsum(chunk["gap"], dtype=np.int64)
        self.held, self.at = chunk, 0

    def _spaces(self, chunk: Chunk) -> NDArray[np.uint16]:
        held = chunk.get("asid", np.zeros(length(chunk), np.uint16))
        own, where = np.unique(held, return_inverse=True)
        numbers = [self.spaces.setdefault((self.place, int(asid)), len(self.spaces)) for asid in own]
        return np.array(numbers, np.uint16)[where]
