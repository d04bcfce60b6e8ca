"""Prepares an object trace for replay: keys become numbers once, and every policy and size runs over those."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.sim import kernels

__all__ = ["NEVER", "Requests", "number_requests", "requests_from"]

NEVER = (1 << 62) - 1  # as tiersim.policies.object.contract.NEVER
OPTIONAL = {
    "size": np.int64,
    "time": np.int64,
    "op": np.uint8,
    "ttl": np.int64,
    "tenant": np.uint32,
    "cost": np.float64,
}


@dataclass
class Requests:
    """A prepared object trace: ``ids`` by request, ``keys`` by object, and the columns that the trace has.

    Objects are numbered by first appearance, so that what is asked for together lies together.
    """

    ids: NDArray[np.int32]
    keys: NDArray[np.uint64]
    size: NDArray[np.int64] | None = None
    time: NDArray[np.int64] | None = None
    op: NDArray[np.uint8] | None = None
    ttl: NDArray[np.int64] | None = None
    tenant: NDArray[np.uint32] | None = None
    cost: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def objects(self) -> int:
        """How many different objects there are."""
        return len(self.keys)

    @cached_property
    def next_use(self) -> NDArray[np.int64]:
        """For each request the number of the next one for the same object, or NEVER."""
        out = np.empty(len(self.ids), np.int64)
        kernels.next_uses(self.ids, np.full(self.objects, NEVER, np.int64), NEVER, out)
        return out

    def column(self, name: str) -> NDArray[Any]:
        """A column by its name in the contract of policies."""
        if name == "stream":
            return self.ids
        held: NDArray[Any] | None = getattr(self, name)
        assert held is not None, name
        return held


class _Numbering:
    """Keys seen so far, with a dictionary that grows between batches."""

    def __init__(self) -> None:
        self.known = 0
        self.keys = np.empty(1 << 12, np.uint64)
        self.places = np.full(1 << 13, -1, np.int32)

    def turn(self, key: NDArray[np.uint64]) -> NDArray[np.int32]:
        ids = np.empty(len(key), np.int32)
        done = 0
        while done < len(key):
            # in pieces, so that a few objects asked for often do not make a dictionary for as many objects as requests
            part = key[done : done + max(1 << 16, len(self.places) // 4)]
            need = self.known + len(part)
            if need > len(self.keys):
                self.keys = np.concatenate([self.keys[: self.known], np.empty(max(need, self.known), np.uint64)])
            if 2 * need > len(self.places):
                self.places = np.full(1 << (2 * need - 1).bit_length(), -1, np.int32)
                kernels.replace_keys(self.keys, self.known, self.places)
            self.known = kernels.number_keys(part, self.places, self.keys, self.known, ids[done : done + len(part)])
            done += len(part)
        return ids


def number_requests(
    chunks: Iterable[dict[str, NDArray[Any]]], progress: Callable[[int], None] | None = None
) -> Requests:
    """Number the objects of a trace, held in memory: four bytes a request, and the columns that there are.

    Raises TraceError when there is no request.
    """
    numbering = _Numbering()
    ids: list[NDArray[np.int32]] = []
    held: dict[str, list[NDArray[Any]]] = {}
    for chunk in chunks:
        ids.append(numbering.turn(np.ascontiguousarray(chunk["id"], np.uint64)))
        for name, dtype in OPTIONAL.items():
            if name in chunk:
                held.setdefault(name, []).append(np.asarray(chunk[name], dtype))
        if progress:
            progress(len(ids[-1]))
    if not any(map(len, ids)):
        raise TraceError("not one request to replay")
    columns: dict[str, Any] = {name: np.concatenate(parts) for name, parts in held.items()}
    return Requests(np.concatenate(ids), numbering.keys[: numbering.known].copy(), **columns)


def requests_from(id: Iterable[int] | NDArray[Any], **columns: Any) -> Requests:
    """Requests of a small stream held in memory: ids, and any of size, time, op, ttl, tenant, cost."""
    chunk: dict[str, Any] = {"id": np.asarray(id, np.uint64)}
    return number_requests([chunk | {name: np.asarray(held) for name, held in columns.items()}])
