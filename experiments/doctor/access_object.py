"""Traces of what is asked for by a key: objects, and lines of memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import Info, duration
from tiersim.experiments.doctor.keys import Burstiness, Keys, burstiness, measured, no_reuse, pieces
from tiersim.experiments.doctor.tally import SMALL, Tally
from tiersim.sim import kernels
from tiersim.sim.requests import Requests, number_requests
from tiersim.traces.schema import Chunk

__all__ = ["LINE", "ObjectInfo", "fingerprint", "lines_of", "several_files", "traps"]

LINE: Final = 64  # bytes


@dataclass(kw_only=True)
class ObjectInfo(Info, Keys):
    """The fingerprint of requests for objects, or of accesses, which count as requests for lines of 64 bytes."""

    footprint: int | None
    span_ns: int | None
    burstiness: Burstiness | None

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        return [
            self.count_row(),
            *([] if self.footprint is None else [("footprint", f"{self.footprint:,} bytes")]),
            *([] if self.span_ns is None else [("span", duration(self.span_ns))]),
            *self.reuse_rows(),
            *([] if self.burstiness is None else [self.burstiness.row()]),
            self.working_row(),
        ]


def fingerprint(chunks: Iterator[Chunk], tally: Tally) -> ObjectInfo:
    """Reuse, popularity, bursts and working set. Raises TraceError when there is no request."""
    lines = tally.schema.name == "access"
    requests = number_requests(_keyed(chunk, ("size", "time")) for chunk in chunks)
    sizes = requests.size is not None
    keys, panels = measured(requests, f"lines of {LINE} bytes" if lines else "objects")
    span, bursts = tally.span, None
    if span and requests.time is not None:
        times = (requests.time[part] for part in pieces(requests))
        bursts = burstiness(times, tally.earliest, span, tally.step)
    notes = []
    if sizes and len(requests) > requests.objects:
        notes.append("the footprint has each object at the size that it has first")
    return ObjectInfo(
        **tally.about(),
        **vars(keys),
        footprint=requests.objects * LINE if lines else requests.footprint if sizes else None,
        span_ns=span,
        burstiness=bursts,
        notes=notes,
        panels=panels,
    )


def traps(chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
    """Sizes of nothing or that change, ids of several files, no reuse."""
    empty = 0

    def keyed() -> Iterator[Chunk]:
        nonlocal empty
        for chunk in chunks:
            if tally.schema.name == "object" and "size" in chunk:
                empty += int((chunk["size"] == 0).sum())
            yield _keyed(chunk, ("size",))

    requests = number_requests(keyed(), times=False)
    if empty:
        yield (
            f"{empty:,} of {tally.records:,} records have a size of 0 bytes: caches hold them for nothing, and other "
            "simulators leave them out"
        )
    yield from no_reuse(requests, "line of 64 bytes" if tally.schema.name == "access" else "object")
    yield from _changing(requests)
    if tally.schema.name == "object":
        yield from several_files(tally, requests, "ids")


def lines_of(chunk: Chunk) -> NDArray[np.uint64]:
    """The lines of 64 bytes that accesses touch, in order; one that crosses into another line touches both."""
    first: NDArray[np.uint64] = chunk["address"] // np.uint64(LINE)
    many = (chunk["address"] % np.uint64(LINE)).astype(np.int64) + chunk["size"].astype(np.int64) - 1
    many //= LINE
    if not many.any():
        return first
    step = np.arange(int(many.sum()) + len(many)) - np.repeat(np.cumsum(many + 1) - many - 1, many + 1)
    made: NDArray[np.uint64] = np.repeat(first, many + 1) + step.astype(np.uint64)
    return made


def several_files(tally: Tally, requests: Requests, what: str) -> Iterator[str]:
    """The warning that small numbers and a clock that starts again are those of several files."""
    if tally.restarts and int(requests.keys.max()) < SMALL * requests.objects:
        yield (
            f"time starts again {tally.restarts:,} times and {what} are small numbers: these may be several files one "
            f"after the other, whose equal {what} are not the same; `tiersim traces merge --separate-ids` keeps them "
            "apart"
        )


def _keyed(chunk: Chunk, columns: tuple[str, ...]) -> Chunk:
    """A chunk as requests for objects: those of memory for each line that they touch."""
    if "address" in chunk:
        return {"id": lines_of(chunk)}
    return {name: chunk[name] for name in ("id", *columns) if name in chunk}


def _changing(requests: Requests) -> Iterator[str]:
    if requests.size is None:
        return
    first = np.full(requests.objects, -1, np.int64)
    other = np.zeros(requests.objects, bool)
    for part in pieces(requests):
        ids, size = requests.ids[part], requests.size[part]
        kernels.first_sizes(ids, size, first)
        other[ids[size != first[ids]]] = True
    if changing := int(other.sum()):
        yield (
            f"{changing:,} of {requests.objects:,} objects change their size: what counts is said in the specification "
            "of object caches, and other simulators differ"
        )
