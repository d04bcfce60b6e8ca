"""HOBBIT: less important experts in low precision, or not at all."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.experts.contract import COMING, COMING_LOW, HERE, HERE_LOW, HIGH, LOW, SKIP, Scope
from tiersim.policies.object.contract import State, Words

WHOLE = 10**9


@register("hobbit", family="experts", paper="Tang et al., HOBBIT, 2024, arXiv:2411.01433")
class Hobbit:
    """Loads an expert that is not there in a precision that fits its weight, and looks a layer ahead.

    What ranks before an expert tells how little it matters: the sum of the weights of all that rank better, by that of
    all. Up to ``full`` it is loaded in full precision, up to ``low`` in low precision, and beyond it is left out. One
    that is here runs as it is, and prompts take all in full precision. In a batch a rank weighs what those of this best
    rank weigh on average.

    Predicted experts of the next layer are loaded ahead, and if all of them are here those of the layer behind it, up
    to ``ahead`` layers: the loader passes over those that are here. The trace must have predictions.

    Its own replacement lets go what has the least of four parts, each between 0 and 1 and with a weight: when it was
    used last, how often, how often in full precision (each by the steps of the sequence so far), and how soon its layer
    comes, 1 - d / L with d layers from the one at hand on. Records begin anew with each sequence.

    Left out here: loading ahead in low precision (wishes are in full precision), and a cache apart for low precision:
    one expert takes one slot. How the weights are tuned on a profile is not done.
    """

    full: Annotated[
        int,
        Param(
            "part of the weights before it, up to which full precision",
            unit="ratio",
            ge=0,
            le=WHOLE,
            source="the paper's T1 for Mixtral 8x7B",
        ),
    ] = 600_000_000
    low: Annotated[
        int,
        Param(
            "part of the weights before it, up to which low precision",
            unit="ratio",
            ge=0,
            le=WHOLE,
            source="the paper's T2 for Mixtral 8x7B",
        ),
    ] = 900_000_000
    ahead: Annotated[int, Param("layers that are looked ahead", ge=0, source="assumption: the next one")] = 1
    recency: Annotated[int, Param("weight of the last use", ge=0, le=1000, source="assumption: all weigh the same")] = 1
    frequency: Annotated[
        int, Param("weight of the number of uses", ge=0, le=1000, source="assumption: all weigh the same")
    ] = 1
    precision: Annotated[
        int, Param("weight of uses in full precision", ge=0, le=1000, source="assumption: all weigh the same")
    ] = 1
    nearness: Annotated[
        int, Param("weight of how soon the layer comes", ge=0, le=1000, source="assumption: all weigh the same")
    ] = 1
    scope: Scope = "model"
    replacement: Annotated[Any, Param("who leaves a slot; unless said, its own rule", family="expert-replacement")] = (
        None
    )

    @staticmethod
    def state(objects: int, layers: int, experts: int) -> State:
        names = ("last", "uses", "high_uses")
        # of each expert its layer: to divide for it takes longer than all the rest of a worth
        of = {"layer_of": np.repeat(np.arange(layers), experts), "since": np.zeros(1, np.int64)}
        return {name: np.zeros(objects, np.int64) for name in names} | of

    @staticmethod
    def begin(last: Words, uses: Words, high_uses: Words, since: Words, step: int, layers: int, experts: int) -> None:
        since[0] = step
        for x in range(layers * experts):
            last[x] = uses[x] = high_uses[x] = 0

    @staticmethod
    def decide(
        held: int,
        rank: int,
        row: int,
        prefill: int,
        row_start: Words,
        row_rank: Words,
        row_weight: Words,
        full: int,
        low: int,
    ) -> int:
        if prefill or held in (HERE, COMING):
            return HIGH
        before = unimportance(rank, row, row_start, row_rank, row_weight)
        if before <= full:
            return HIGH
        if before <= low or held in (HERE_LOW, COMING_LOW):
            return LOW
        return SKIP

    @staticmethod
    def wish(
        wishes: Words,
        row: int,
        layer: int,
        layers: int,
        experts: int,
        predicted_start: Words,
        predicted_e: Words,
        ahead: int,
    ) -> int:
        many = 0
        for further in range(1, min(ahead, layers - 1 - layer) + 1):
            for place in range(predicted_start[row + further], predicted_start[row + further + 1]):
                wishes[many] = (layer + further) * experts + predicted_e[place]
                many += 1
        return many

    @staticmethod
    def use(last: Words, uses: Words, high_uses: Words, since: Words, x: int, step: int, want: int) -> None:
        if want in (HIGH, LOW):
            last[x] = step - since[0] + 1
            uses[x] += 1
            high_uses[x] += want == HIGH

    @staticmethod
    def worth(
        last: Words,
        uses: Words,
        high_uses: Words,
        since: Words,
        layer_of: Words,
        x: int,
        row: int,
        step: int,
        layers: int,
        recency: int,
        frequency: int,
        precision: int,
        nearness: int,
    ) -> int:
        distance = layer_of[x] - (row - step * layers)
        distance += layers * (distance < 0)
        used = recency * last[x] + frequency * uses[x] + precision * high_uses[x]
        # the sum of the parts, times what they are divided by
        return used * layers + nearness * (layers - distance) * (step - since[0] + 1)


def unimportance(rank: int, row: int, row_start: Words, row_rank: Words, row_weight: Words) -> int:
    """What all that ranks before this weighs, in parts of 10**9; each rank weighs the mean of its experts."""
    last = 0
    for place in range(row_start[row], row_start[row + 1]):
        last = max(last, row_rank[place])
    before = total = 0
    for at in range(last + 1):
        weight = many = 0
        for place in range(row_start[row], row_start[row + 1]):
            if row_rank[place] == at:
                weight += row_weight[place]
                many += 1
        if many:
            total += weight // many
            if at < rank:
                before += weight // many
    return before * WHOLE // total if total else 0
