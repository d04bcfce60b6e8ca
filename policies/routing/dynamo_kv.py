"""By blocks that are to be computed, and blocks that are in use."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from random import Random as Draws
from typing import Annotated, ClassVar

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.loads import in_flight

WHOLE = 10**9


@register(
    "dynamo-kv",
    family="routing",
    paper="ai-dynamo/dynamo, lib/kv-router/src/scheduling/selector.rs and config.rs",
)
class DynamoKv:
    """Sends a request to the instance with the least cost: tokens to be computed there, and tokens in use there.

    The first are those that are to be computed before, and the prompt but what is cached of it, times `scale`; the
    second the blocks of the prompts of all requests that are not finished and of this one, each block once, as the
    router has sent them. Of equals any takes it. With `temperature` an instance is drawn, each with a weight of exp(-c
    / temperature) where c is its cost from 0 for the least to 1 for the greatest. Costs are in tokens where Dynamo's
    are in blocks, which is the same. There is no queue in front of the instances, and no cache that they share.
    """

    credit: Annotated[
        int, Param("of a cached token, by a computed one", unit="ratio", ge=0, le=WHOLE, source="Dynamo")
    ] = WHOLE
    decay: Annotated[
        int,
        Param(
            "by which the credit falls where there is more to compute than elsewhere, for each length of the prompt",
            unit="ratio",
            ge=0,
            source="Dynamo",
        ),
    ] = 0
    scale: Annotated[int, Param("of tokens that are to be computed", unit="ratio", ge=0, source="Dynamo")] = WHOLE
    each: Annotated[
        int, Param("tokens that a request there counts for besides", unit="count", ge=0, source="Dynamo")
    ] = 0
    temperature: Annotated[float, Param("of the draw; with 0 the least cost is taken", ge=0, source="Dynamo")] = 0.0

    random: ClassVar[bool] = True

    def start(self, instances: int, seed: int) -> None:
        self.draws = Draws(seed)
        self.counts: list[dict[int, int]] = [{} for _ in range(instances)]  # requests that use a block
        self.holders: dict[int, int] = {}  # of a block, a bit for each instance where it is in use
        self.apart = [0] * instances  # tokens of prompts without blocks
        self.sent: dict[int, tuple[int, Sequence[int], int]] = {}
        self.all = (1 << instances) - 1

    def ended(self, requests: Sequence[int]) -> None:
        for number in requests:
            instance, blocks, apart = self.sent.pop(number)
            self.apart[instance] -= apart
            counts, bit = self.counts[instance], 1 << instance
            for block in blocks:
                if counts[block] == 1:
                    del counts[block]
                    self.holders[block] ^= bit
                    if not self.holders[block]:
                        del self.holders[block]
                else:
                    counts[block] -= 1

    def route(self, request: Asked, view: View) -> int:
        blocks = request.blocks if request.block else ()
        costs = self._costs(request, blocks, view)
        chosen = self._chosen(costs)
        counts, bit = self.counts[chosen], 1 << chosen
        for block in blocks:
            counts[block] = counts.get(block, 0) + 1
            self.holders[block] = self.holders.get(block, 0) | bit
        apart = 0 if len(blocks) else request.prompt
        self.apart[chosen] += apart
        self.sent[request.number] = chosen, blocks, apart
        return chosen

    def _costs(self, request: Asked, blocks: Sequence[int], view: View) -> list[float]:
        prompt, pending, scale = request.prompt, view.pending, self.scale / WHOLE
        idle = min(pending)
        costs: list[float] = []
        new = self._new(blocks)
        for instance, hit in enumerate(view.hits(request)):
            credit = self.credit / WHOLE
            if self.decay:
                credit /= 1 + self.decay / WHOLE * (pending[instance] - idle) / prompt
            used = (len(self.counts[instance]) + new[instance]) * request.block + self.apart[instance]
            costs.append(scale * max(0, pending[instance] + prompt - credit * hit) + used)
        if self.each:
            costs = [cost + self.each * there for cost, there in zip(costs, in_flight(view), strict=True)]
        return costs

    def _new(self, blocks: Sequence[int]) -> list[int]:
        """How many of the blocks are not in use yet, at each instance; those that are come first."""
        count = len(blocks)
        new, those = [count] * len(self.counts), self.all
        for place, block in enumerate(blocks):
            held = those & self.holders.get(block, 0)
            left = those ^ held
            while left:
                bit = left & -left
                new[bit.bit_length() - 1] = count - place
                left ^= bit
            those = held
            if not those:
                return new
        while those:
            bit = those & -those
            new[bit.bit_length() - 1] = 0
            those ^= bit
        return new

    def _chosen(self, costs: list[float]) -> int:
        least, most = min(costs), max(costs)
        if self.temperature and most > least:
            weights = [exp((least - cost) / ((most - least) * self.temperature)) for cost in costs]
            left = self.draws.random() * sum(weights)
            for instance, weight in enumerate(weights):
                left -= weight
                if left <= 0:
                    return instance
            return len(weights) - 1
        equal = [instance for instance, cost in enumerate(costs) if cost == least]
        return equal[int(self.draws.random() * len(equal))]
