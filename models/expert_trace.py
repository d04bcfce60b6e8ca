"""Prepares a trace of routing: whole sequences of tokens, each with the experts that all layers pick for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.sim.expert_steps import NOBODY, Routed
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import WARM_UP, Chunk

__all__ = ["routed_of"]

Numbers = NDArray[np.int64]

COLUMNS: Final = ("layer", "token", "experts", "sequence", "weights", "predicted", "phase")
WHOLE: Final = "steps need all layers of each token: leave that sequence out, or capture it again"


def routed_of(chunks: Iterable[Chunk], source: str) -> Routed:
    """The sequences of a routing trace in the order of their first records, without warm-up.

    Raises TraceError where the trace knows no sequences, a token lacks a layer or has one twice, or weights are not
    one an expert.
    """
    held = _whole(chunks, source)
    rows = np.flatnonzero(held["phase"] != WARM_UP) if "phase" in held else np.arange(len(held["layer"]))
    if not len(rows):
        raise TraceError(f"{source}: no token is left of it that is no warm-up", None, "take more of the trace")
    numbers, layer = np.unique(held["layer"][rows], return_inverse=True)
    _, firsts, sequence = np.unique(held["sequence"][rows], return_index=True, return_inverse=True)
    sequence = np.argsort(np.argsort(firsts))[sequence]  # in the order in which they appear
    keys: tuple[Numbers, ...] = (sequence, held["token"][rows].astype(np.int64), layer)
    if not _sorted(*keys):
        order = np.lexsort(keys[::-1])
        rows, keys = rows[order], tuple(key[order] for key in keys)
    _complete(keys, numbers, held["sequence"][rows], source)

    def table(name: str, dtype: Any) -> Any:
        if name not in held:
            return None
        made = table_of(held[name], dtype)
        made = made if len(rows) == len(made) and (rows[1:] > rows[:-1]).all() else made[rows]
        return made.reshape(len(made) // len(numbers), len(numbers), made.shape[1])

    if "weights" in held and (held["weights"].counts != held["experts"].counts).any():
        raise TraceError(
            f"{source}: rows have not one weight an expert", None, "nothing tells which is whose; leave the weights out"
        )
    first = np.searchsorted(keys[0][:: len(numbers)], np.arange(len(firsts) + 1))
    return Routed(
        first.astype(np.int64),
        table("experts", np.int32),
        numbers.astype(np.int64),
        table("weights", np.float32),
        table("predicted", np.int32),
    )


def _whole(chunks: Iterable[Chunk], source: str) -> Chunk:
    """All records as one chunk of what is used of them."""
    parts: dict[str, list[Any]] = {}
    for chunk in chunks:
        if "sequence" not in chunk:
            raise TraceError(
                f"{source}: nothing tells which tokens are of one sequence, so that no steps can be made of them",
                None,
                "use a trace with sequences, such as public/moe-deepseek-v2-lite",
            )
        for name in COLUMNS:
            if name in chunk:
                parts.setdefault(name, []).append(chunk[name])
    if not parts:
        raise TraceError(f"{source}: it has no records", None, "take more of the trace")
    return {name: joined(pieces) for name, pieces in parts.items()}


def _sorted(*keys: Numbers) -> bool:
    """Whether records are in the order of these keys, the first before the others."""
    equal = fine = np.ones(len(keys[0]) - 1, bool)
    for key in keys:
        step = np.diff(key)
        fine = fine & (~equal | (step >= 0))
        equal = equal & (step == 0)
    return bool(fine.all())


def _complete(keys: tuple[Numbers, ...], numbers: NDArray[Any], name: NDArray[Any], source: str) -> None:
    """Raises TraceError unless each token has each layer once; sorted by the keys: sequence, token and layer."""
    sequence, token, layer = keys
    starts = np.flatnonzero((np.diff(sequence, prepend=-1) != 0) | (np.diff(token, prepend=-1) != 0))
    place = np.arange(len(layer)) - np.repeat(starts, np.diff(starts, append=len(layer)))
    counts = np.diff(starts, append=len(layer))
    wrong = np.repeat(counts != len(numbers), counts) | (layer != place)
    if not wrong.any():
        return
    begin = starts[np.searchsorted(starts, np.flatnonzero(wrong)[0], "right") - 1]
    own = layer[begin : begin + counts[np.searchsorted(starts, begin)]]
    present = np.bincount(own, minlength=len(numbers))
    at = int(np.flatnonzero(present != 1)[0])
    what = "no record of" if not present[at] else f"{present[at]} records of"
    raise TraceError(
        f"{source}: token {token[begin]} of sequence {name[begin]} has {what} layer {numbers[at]}", None, WHOLE
    )


def table_of(lists: Ragged, dtype: Any = np.int32) -> NDArray[Any]:
    """The lists as rows of one width, with NOBODY where they end."""
    counts = lists.counts
    width = int(counts.max(initial=0))
    if len(counts) and (counts == width).all():
        return lists.values.astype(dtype).reshape(len(lists), width)
    made = np.full((len(lists), width), NOBODY, dtype)
    made[np.arange(width) < counts[:, None]] = lists.values
    return made
