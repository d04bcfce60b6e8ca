"""MoE-Infinity: what a similar sequence used tells what comes."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.experts.contract import HIGH, Scope
from tiersim.policies.object.contract import Reals, State, Words

SCALE = 10**12  # of a worth
LITTLE = 1e-6  # the ratio of what was not used
MANY, TO, NEAREST = 0, 1, 2  # words of `head`: matrices that are kept, where the next goes, the nearest or -1


@register(
    "moe-infinity",
    family="experts",
    paper="Xue et al., MoE-Infinity, 2024, arXiv:2401.14361; EfficientMoE/MoE-Infinity, moe_infinity/memory",
)
class MoeInfinity:
    """Counts how many tokens of a sequence passed each expert, and expects what the most similar one before it used.

    These counts, layers by experts, are the sequence's activation matrix. When it is over the matrix is kept. Of those
    kept the nearest is the one with the greatest sum over layers of the cosine of both rows, as far as the sequence has
    come; it is sought anew in each row. What it has of later layers is wished for, the greatest ``ratio x nearness``
    first: the expert's part of the matrix's counts in its layer, times 1 - d / (L + 1) where that is d layers away, as
    in the authors' code.

    Its own replacement lets go the least ``ratio x (1 - l / L)``: of what the sequence has used little itself, with the
    ratios of its own matrix, and of late layers, which there is time to load.

    What is otherwise than in the paper and its code: up to ``stored`` matrices are kept as they come, and the oldest
    makes room; the paper makes its collection beforehand by clustering, and the code replaces the one that was nearest
    least often. Experts that the matrix does not have are not wished for at all (the code gives them 1e-8), and lists
    have at most ``longest``. The code's term for the frequency over all sequences is left out. In a batch the matrix is
    of all sequences in it since the last one began.
    """

    stored: Annotated[
        int, Param("matrices that are kept", ge=1, le=1 << 14, source="MoE-Beyond's version, arXiv:2508.17137")
    ] = 1000
    longest: Annotated[
        int, Param("wishes at a time", ge=1, source="assumption: far more than can be loaded until the next list")
    ] = 64
    scope: Scope = "model"
    replacement: Annotated[Any, Param("who leaves a slot; unless said, its own rule", family="expert-replacement")] = (
        None
    )

    def state(self, objects: int, layers: int, experts: int) -> State:
        whole = {
            "matrix": objects,  # this sequence's counts
            "sums": layers,  # of them
            "squares": layers,  # sums of their squares
            "kept": objects * self.stored,  # [expert, matrix]
            "kept_sums": layers * self.stored,  # [layer, matrix]
            "products": layers * self.stored,  # [layer, matrix]: sums of products with this sequence's counts
            "order": objects * self.stored,  # [matrix, layer, place]: experts that it has, the most often first
            "listed": layers * self.stored,  # [matrix, layer]: how many these are
            "place": layers,  # of each layer, which of them comes next in a list of wishes
        }
        real = {
            "kept_length": layers * self.stored,  # [layer, matrix]: square roots of the sums of squares
            "cosine": layers * self.stored,  # [layer, matrix]
            "likeness": self.stored,  # their sums
            "value": layers,  # of those that come next
        }
        return {
            **{name: np.zeros(many, np.int64) for name, many in whole.items()},
            **{name: np.zeros(many) for name, many in real.items()},
            "head": np.array([0, 0, -1], np.int64),
            # of each expert, so that a victim is found soon
            "worths": np.array([worth_of(0, 0, x // experts, layers) for x in range(objects)], np.int64),
        }

    @staticmethod
    def begin(
        matrix: Words,
        sums: Words,
        squares: Words,
        kept: Words,
        kept_sums: Words,
        order: Words,
        listed: Words,
        kept_length: Reals,
        products: Words,
        cosine: Reals,
        likeness: Reals,
        worths: Words,
        head: Words,
        layers: int,
        experts: int,
        stored: int,
    ) -> None:
        some = False
        for layer in range(layers):
            some = some or sums[layer] > 0
        if some:
            to = head[TO]
            head[TO] = (to + 1) % stored
            head[MANY] = min(head[MANY] + 1, stored)
            rank(matrix, order, listed, to * layers, layers, experts)
            for x in range(layers * experts):
                kept[x * stored + to] = matrix[x]
                matrix[x] = 0
            for layer in range(layers):
                kept_sums[layer * stored + to] = sums[layer]
                kept_length[layer * stored + to] = root(squares[layer])
                sums[layer] = 0
                squares[layer] = 0
        for at in range(layers * stored):
            products[at] = 0
            cosine[at] = 0.0
        for m in range(stored):
            likeness[m] = 0.0
        head[NEAREST] = -1
        for x in range(layers * experts):
            worths[x] = worth_of(0, 0, x // experts, layers)

    @staticmethod
    def decide(
        matrix: Words,
        sums: Words,
        squares: Words,
        kept: Words,
        kept_length: Reals,
        products: Words,
        cosine: Reals,
        likeness: Reals,
        worths: Words,
        head: Words,
        x: int,
        n: int,
        row: int,
        layer: int,
        layers: int,
        experts: int,
        row_start: Words,
        row_x: Words,
        stored: int,
    ) -> int:
        squares[layer] += n * (2 * matrix[x] + n)
        sums[layer] += n
        matrix[x] += n
        for m in range(head[MANY]):
            products[layer * stored + m] += n * kept[x * stored + m]
        if x - layer * experts == row_x[row_start[row + 1] - 1]:  # the last of this row
            length = root(squares[layer])
            head[NEAREST] = seek(length, kept_length, products, cosine, likeness, head[MANY], layer * stored)
            for other in range(layer * experts, (layer + 1) * experts):
                worths[other] = worth_of(matrix[other], sums[layer], layer, layers)
        return HIGH

    @staticmethod
    def wish(
        wishes: Words,
        kept: Words,
        kept_sums: Words,
        order: Words,
        listed: Words,
        place: Words,
        value: Reals,
        head: Words,
        layer: int,
        layers: int,
        experts: int,
        stored: int,
        longest: int,
    ) -> int:
        m = head[NEAREST]
        if m < 0:
            return 0
        many = 0
        chosen = -1
        while many < longest:
            best = 0.0
            first = -1
            for later in range(layer + 1, layers):
                if chosen < 0:
                    place[later] = 0
                if chosen < 0 or chosen == later:  # another one comes next
                    value[later] = 0.0
                    if place[later] < listed[m * layers + later]:
                        x = order[(m * layers + later) * experts + place[later]]
                        nearness = 1.0 - (later - layer) / (layers + 1)
                        value[later] = kept[x * stored + m] / kept_sums[later * stored + m] * nearness
                if value[later] > best:
                    best = value[later]
                    first = later
            chosen = first
            if chosen < 0:
                break
            wishes[many] = order[(m * layers + chosen) * experts + place[chosen]]
            place[chosen] += 1
            many += 1
        return many

    @staticmethod
    def use() -> None:
        return

    @staticmethod
    def worth(worths: Words, x: int) -> int:
        return worths[x]


def worth_of(count: int, total: int, layer: int, layers: int) -> int:
    """What an expert of a layer is worth that has so many of the counts of its layer."""
    ratio = count / total if total > 0 else 0.0
    return int(SCALE * (ratio + LITTLE) * (layers - layer) / layers)


def seek(
    length: float, kept_length: Reals, products: Words, cosine: Reals, likeness: Reals, many: int, start: int
) -> int:
    """The nearest matrix when one layer's row, which begins at `start` in arrays of all matrices, has changed."""
    nearest = -1
    for m in range(many):
        at = start + m
        if kept_length[at] > 0.0:
            now = products[at] / (length * kept_length[at])
            likeness[m] += now - cosine[at]
            cosine[at] = now
        if nearest < 0 or likeness[m] > likeness[nearest]:
            nearest = m
    return nearest


def rank(matrix: Words, order: Words, listed: Words, rows: int, layers: int, experts: int) -> None:
    """Notes what a matrix has in order, layer by layer; of equals the lower number comes first."""
    for layer in range(layers):
        start = (rows + layer) * experts
        many = 0
        for x in range(layer * experts, (layer + 1) * experts):
            if matrix[x] > 0:
                at = start + many
                while at > start and matrix[x] > matrix[order[at - 1]]:
                    order[at] = order[at - 1]
                    at -= 1
                order[at] = x
                many += 1
        listed[rows + layer] = many


def root(square: int) -> float:
    """The square root of a whole number, by Newton's rule, so that it is the same compiled or not."""
    if square == 0:
        return 0.0
    found = float(square)
    nearer = (found + 1.0) / 2.0
    while nearer < found:
        found = nearer
        nearer = (found + square / found) / 2.0
    return found
