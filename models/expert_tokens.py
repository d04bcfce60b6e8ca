"""Prepares a trace of routing: each token of each sequence as the experts that all layers use for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.schema import WARM_UP, Chunk

__all__ = ["expert_tokens"]

Numbers = NDArray[np.int64]


def expert_tokens(
    chunks: Iterable[Chunk],
    *,
    least: int = 1,
    cut: int | None = None,
    layers: Sequence[int] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExpertTokens:
    """The tokens of a trace of the schema `routing`, sequences in the order of their first records.

    Sequences of fewer than `least` tokens are left out, others cut to `cut`; only `layers` are kept, by their numbers
    in the trace, where they are named. Where the trace knows no sequences it is one, in the order of its forward
    passes. Warm-up of the source is left out. Raises TraceError where a token is routed twice at a layer, a layer is
    not in the trace, or nothing is left.
    """
    parts: dict[str, list[NDArray[np.int64]]] = {}
    lists: list[Ragged] = []
    rows = 0
    for chunk in chunks:
        count = len(chunk["layer"])
        names = ("layer", "token", "step", "sequence")
        columns: dict[str, NDArray[Any]] = {name: chunk[name] for name in names if name in chunk}
        columns["row"] = np.arange(rows, rows + count)
        kept = np.flatnonzero(chunk["phase"] != WARM_UP) if "phase" in chunk else np.arange(count)
        for name, held in columns.items():
            parts.setdefault(name, []).append(held[kept].view(np.int64) if name == "sequence" else held[kept])
        lists.append(chunk["experts"].take(kept))
        rows += count
        if progress:
            progress(count)
    whole = {name: np.concatenate(each).astype(np.int64) for name, each in parts.items()}
    if not len(whole.get("layer", ())):
        raise TraceError("the trace has not one token that is no warm-up")
    return _ordered(whole, joined(lists), least, cut, layers)


def _ordered(
    held: dict[str, Numbers], experts: Ragged, least: int, cut: int | None, layers: Sequence[int] | None
) -> ExpertTokens:
    known = np.unique(held["layer"])
    if layers is not None:
        if missing := sorted(set(layers) - set(known.tolist())):
            raise TraceError(
                f"the trace has no layer {missing[0]}: its layers are {_ranges(known.tolist())}",
                None,
                "name those in `layers`",
            )
        known = np.array(sorted(set(layers)), np.int64)
    # places of a sequence; where none are known, of a forward pass
    sequence, begins = _by_first(held["sequence"]) if "sequence" in held else (np.zeros_like(held["row"]), [0])
    step = held["step"] if "step" in held and "sequence" not in held else np.zeros_like(held["row"])
    order = np.lexsort((held["layer"], held["token"], step, sequence))
    sequence, step, token, layer = (each[order] for each in (sequence, step, held["token"], held["layer"]))
    same = (np.diff(sequence) == 0) & (np.diff(step) == 0) & (np.diff(token) == 0)
    twice = np.flatnonzero(same & (np.diff(layer) == 0))
    if len(twice):
        at = int(twice[0])
        raise TraceError(
            f"the trace routes token {token[at]} of the sequence that begins with record "
            f"{held['row'][begins[sequence[at]]] + 1:,} twice at layer {layer[at]}",
            None,
            "sequences, or steps where there are none, need numbers of their own",
        )
    new = np.concatenate([[True], ~same])
    place = np.cumsum(new) - 1  # of the token among all
    owner = sequence[new]
    count = np.bincount(owner, minlength=len(begins))
    inside = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    wanted = (count >= least)[owner]
    if cut is not None:
        wanted &= inside < cut
    chosen = wanted[place] & np.isin(layer, known)
    if not chosen.any():
        longest = f"the longest that there is has {int(count.max()):,}"
        raise TraceError(f"no sequence has {least:,} tokens or more", None, f"lower `least`: {longest}")
    rows = order[chosen]
    used = experts.take(rows)
    width = int(experts.values.max(initial=0)) + 1
    ids = used.values.astype(np.int64) + np.repeat(np.searchsorted(known, layer[chosen]) * width, used.counts)
    # tokens that are left, and their uses
    per_token = np.bincount(place[chosen], used.counts, len(owner)).astype(np.int64)[wanted]
    per_sequence = np.bincount(owner[wanted], minlength=len(begins))
    left = per_sequence > 0
    return ExpertTokens(
        ids.astype(np.int32),
        _starts(per_token),
        _starts(per_sequence[left]),
        held["row"][np.asarray(begins)[left]],
        known,
        width,
    )


def _by_first(values: Numbers) -> tuple[Numbers, Numbers]:
    """Equal values as equal numbers by first appearance, and the places of those."""
    _, first, place = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first))
    return rank[place], first[order]


def _starts(counts: Numbers) -> Numbers:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _ranges(numbers: list[int]) -> str:
    """Whole numbers in order as text: runs by their ends."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join(" to ".join(map(str, part)) for part in parts)
