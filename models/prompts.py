"""Prepares a trace of requests to language models: blocks of prompts become the nodes of a tree, once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim.sim.prompts import Prompts
from tiersim.traces.generators.exact import compiled, log, real, root, word
from tiersim.traces.prefix import block_size
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import Chunk

__all__ = ["poisson", "prompts_of", "rated", "tied"]

Numbers = NDArray[np.int64]
SECOND = 10**12
NANO = 1000  # picoseconds
LONGEST = (1 << 61) // NANO  # nanoseconds from the first request to the last
ARRIVALS, TIES = 1, 2  # the random streams


def prompts_of(chunks: Iterable[Chunk], *, truncate: int | None = None) -> Prompts:
    """The requests of a trace that were served, those that arrived earlier first; of equals as recorded.

    ``truncate`` cuts prompts to so many tokens. Raises StudyError where they come over more than 26 days.
    """
    columns: dict[str, list[NDArray[np.int64]]] = {}
    lists: list[Ragged] = []
    for chunk in chunks:
        served = np.flatnonzero(chunk["status"] == 0) if "status" in chunk else slice(None)
        for name in ("arrival", "input", "output", "session", "category"):
            if name in chunk:
                columns.setdefault(name, []).append(chunk[name].astype(np.int64)[served])
        if "blocks" in chunk:
            lists.append(_chosen(chunk["blocks"], served))
    held = {name: np.concatenate(parts) for name, parts in columns.items()}
    count = len(held["input"])
    held.setdefault("arrival", np.zeros(count, np.int64))
    blocks = _joined(lists) if lists else Ragged(np.zeros(0, np.uint64), np.zeros(count + 1, np.int64))
    size = 0
    if len(blocks.values):
        found = block_size(held["input"], np.diff(blocks.offsets))
        size = found.tokens if found else 0
    given = np.maximum(held["input"], 1)
    if truncate is not None:
        given = np.minimum(given, truncate)
    order = np.argsort(held["arrival"], kind="stable")
    if size:  # no more blocks than the prompt fills
        blocks = _cut(blocks, np.minimum(np.diff(blocks.offsets), -(-given // size)))
    blocks = _chosen(blocks, order)
    nodes, parent = _tree(blocks)
    start = held["arrival"].min() if count else 0
    if count and int(held["arrival"].max() - start) > LONGEST:
        days = LONGEST // (86_400 * 10**9)
        raise StudyError(f"the requests come over more than {days} days", None, "take a part: trace: {limit: 100k}")
    unknown = np.full(count, -1, np.int64)
    return Prompts(
        (held["arrival"][order] - start) * NANO,
        given[order],
        np.maximum(held["output"], 1)[order],
        Ragged(nodes, blocks.offsets),
        parent,
        size,
        _numbered(held["session"][order]) if "session" in held else unknown,
        _numbered(held["category"][order]) if "category" in held else unknown,
    )


def rated(prompts: Prompts, rate: int) -> Numbers:
    """The arrivals, stretched so that so many requests come in 10^9 seconds on average.

    Raises StudyError where all come at once.
    """
    last, count = int(prompts.arrival[-1]), len(prompts) - 1
    if not last:
        raise StudyError("all requests come at once: no rate can be made of that")
    wanted = count * SECOND * 10**9 // rate
    whole, rest = np.divmod(prompts.arrival, last)
    # products of two 64-bit numbers, of which only the quotient fits
    made = [int(part) * wanted // last for part in rest.tolist()]
    return whole * wanted + np.array(made, np.int64)


def poisson(count: int, rate: int, seed: int) -> Numbers:
    """Arrivals of a Poisson process, the first at 0, of so many requests in 10^9 seconds on average."""
    made = np.zeros(count, np.int64)
    _exponential(root(seed), 10**9 / rate * SECOND, made)
    return made


def tied(prompts: Prompts, seed: int, *, spread: bool) -> Prompts:
    """The requests with those of each time in an order that is drawn.

    With ``spread`` they come evenly from their time up to the next one; those of the last stay. Sessions and categories
    keep their numbers.
    """
    key, count = root(seed), len(prompts)
    drawn = np.array([word(key, TIES, np.uint64(k)) for k in range(count)], np.uint64)
    order = np.lexsort((drawn, prompts.arrival))
    arrival = prompts.arrival
    if spread:
        times, first, many = np.unique(arrival, return_index=True, return_counts=True)
        steps = np.repeat(np.diff(times, append=times[-1:]), many)
        arrival = arrival + steps * (np.arange(count) - np.repeat(first, many)) // np.repeat(many, many)
    blocks = _chosen(Ragged(prompts.blocks.values, prompts.blocks.offsets), order)
    nodes = _numbered(blocks.values)
    rank = np.empty(len(prompts.parent), np.int64)
    rank[blocks.values] = nodes
    parent = np.empty(len(rank), np.int64)
    parent[rank] = np.where(prompts.parent >= 0, rank[prompts.parent], -1)
    return replace(
        prompts,
        arrival=arrival,
        input=prompts.input[order],
        output=prompts.output[order],
        blocks=Ragged(nodes, blocks.offsets),
        parent=parent,
        session=prompts.session[order],
        category=prompts.category[order],
    )


@compiled
def _exponential(key: np.uint64, gap: float, made: Numbers) -> None:
    now = 0.0
    for i in range(1, len(made)):
        now += -log(1.0 - real(word(key, ARRIVALS, np.uint64(i)))) * gap
        made[i] = np.int64(now)


def _chosen(blocks: Ragged, rows: NDArray[np.int64] | slice) -> Ragged:
    """The lists of these records, in this order."""
    return blocks if isinstance(rows, slice) else blocks.take(rows)


def _joined(parts: list[Ragged]) -> Ragged:
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return Ragged.counted(np.concatenate([part.values for part in parts]), counts)


def _cut(blocks: Ragged, counts: Numbers) -> Ragged:
    """The first so many values of each list."""
    held = np.diff(blocks.offsets)
    inside = np.arange(len(blocks.values)) - np.repeat(blocks.offsets[:-1], held)
    return Ragged.counted(blocks.values[inside < np.repeat(counts, held)], counts)


def _numbered(values: NDArray[np.int64]) -> Numbers:
    """Equal values as equal numbers, by first appearance."""
    _, first, place = np.unique(values, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[place]


def _tree(blocks: Ragged) -> tuple[Numbers, Numbers]:
    """Each block as the number of its node, and the parent of each node.

    A node is a block after a node: a trace that gives one number to blocks after different prompts is mended so.
    """
    counts = np.diff(blocks.offsets)
    nodes = np.full(len(blocks.values), -1, np.int64)
    _, names = np.unique(blocks.values, return_inverse=True)
    parents: list[NDArray[np.int64]] = []
    made = 0
    rows, before = np.arange(len(counts)), np.full(len(counts), -1, np.int64)
    for depth in range(int(counts.max(initial=0))):
        kept = counts[rows] > depth
        rows, before = rows[kept], before[kept]
        at = blocks.offsets[rows] + depth
        pairs = (before + 1) * (len(names) + 1) + names[at]
        found, first, place = np.unique(pairs, return_index=True, return_inverse=True)
        parents.append(before[first])
        before = made + place
        nodes[at] = before
        made += len(found)
    renumbered = _numbered(nodes)
    parent = np.full(made, -1, np.int64)
    if made:
        old = np.concatenate(parents)
        rank = np.empty(made, np.int64)
        rank[nodes] = renumbered
        parent[rank] = np.where(old >= 0, rank[old], -1)
    return renumbered, parent
