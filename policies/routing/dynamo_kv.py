"""By blocks that are to be computed, and blocks that are in use."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from operator import add, sub
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
        self.holders: dict[int, int] = {}  # of a block that is in use, a bit for each instance where it is
        self.shared: dict[int, dict[int, int]] = {}  # at each instance, requests that use a block, if more than one
        self.used: dict[int, int] = {}  # at each, tokens of blocks that are in use, and of prompts without blocks
        self.sent: dict[int, tuple[int, Sequence[int], int]] = {}  # instance, blocks, tokens of each or of all
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        """What was sent to those that have gone is forgotten."""
        self.up, gone = list(instances), self.used.keys() - instances
        self.all = sum(1 << instance for instance in instances)
        self.places = {1 << instance: place for place, instance in enumerate(instances)}
        self.sent = {number: sent for number, sent in self.sent.items() if sent[0] not in gone}
        self.holders = {block: left for block, held in self.holders.items() if (left := held & self.all)}
        self.used = {instance: self.used.get(instance, 0) for instance in instances}
        self.shared = {instance: self.shared.get(instance, {}) for instance in instances}

    def ended(self, requests: Sequence[int]) -> None:
        holders = self.holders
        for number in requests:
            if (sent := self.sent.pop(number, None)) is None:
                continue
            instance, blocks, tokens = sent
            shared, others = self.shared[instance], 0
            for block in blocks:
                if (count := shared.get(block)) is None:  # and so it is with all that stand behind it
                    break
                others += 1
                if count > 2:
                    shared[block] = count - 1
                else:
                    del shared[block]
            bit = 1 << instance
            for block in blocks[others:]:
                if (held := holders.pop(block)) != bit:
                    holders[block] = held ^ bit
            self.used[instance] -= (len(blocks) - others) * tokens if blocks else tokens

    def route(self, request: Asked, view: View) -> int:
        if request.number in self.sent:  # it comes again
            self.ended([request.number])
        blocks = request.blocks if request.block else ()
        new = self._new(blocks)
        place = self._chosen(self._costs(request, new, view))
        chosen = self.up[place]
        if not blocks:
            self.used[chosen] += request.prompt
            self.sent[request.number] = chosen, (), request.prompt
            return place
        holders, shared, bit = self.holders, self.shared[chosen], 1 << chosen
        mine, anybodys = len(blocks) - new[place], len(blocks) - min(new)
        for block in blocks[:mine]:
            shared[block] = shared.get(block, 1) + 1
        for block in blocks[mine:anybodys]:
            holders[block] |= bit
        holders.update(dict.fromkeys(blocks[anybodys:], bit))
        self.used[chosen] += new[place] * request.block
        self.sent[request.number] = chosen, blocks, request.block
        return place

    def _costs(self, request: Asked, new: Sequence[int], view: View) -> list[float]:
        prompt, block, pending = request.prompt, request.block, view.pending
        scale, credit = self.scale / WHOLE, self.credit / WHOLE
        if self.scale == self.credit == WHOLE and not self.decay:  # the same in whole numbers
            rest = map(sub, pending, view.hits(request))
            own = map(add, self.used.values(), map(block.__mul__, new))
            costs: list[float] = list(map(add, map(prompt.__add__, rest), own))
            return self._with_each(costs, view)
        if self.decay:
            idle, decay = min(pending), self.decay / WHOLE / prompt
            credits = [credit / (1 + decay * (tokens - idle)) for tokens in pending]
        else:
            credits = [credit] * len(pending)
        costs = [
            scale * (tokens + prompt - worth * hit) + used + more * block
            for tokens, hit, worth, used, more in zip(
                pending, view.hits(request), credits, self.used.values(), new, strict=True
            )
        ]
        return self._with_each(costs, view)

    def _with_each(self, costs: list[float], view: View) -> list[float]:
        if self.each:
            costs = [cost + self.each * there for cost, there in zip(costs, in_flight(view), strict=True)]
        return costs

    def _new(self, blocks: Sequence[int]) -> list[int]:
        """How many of the blocks are not in use yet, at each instance; those that are come first."""
        those, groups, left = self.all, [], len(blocks)  # groups: who has as many, a bit for each
        for block in blocks:
            held = those & self.holders.get(block, 0)
            if held != those:
                groups.append((those ^ held, left))
                those = held
                if not those:
                    break
            left -= 1
        if those:
            groups.append((those, left))
        sizes, places = [group.bit_count() for group, _ in groups], self.places
        usual = sizes.index(max(sizes))
        new = [groups.pop(usual)[1]] * len(places)
        for group, count in groups:
            while group:
                bit = group & -group
                new[places[bit]] = count
                group ^= bit
        return new

    def _chosen(self, costs: list[float]) -> int:
        least = min(costs)
        if self.temperature and (most := max(costs)) > least:
            weights = [exp((least - cost) / ((most - least) * self.temperature)) for cost in costs]
            left = self.draws.random() * sum(weights)
            for instance, weight in enumerate(weights):
                left -= weight
                if left <= 0:
                    return instance
            return len(weights) - 1
        if costs.count(least) == 1:
            return costs.index(least)
        equal = [instance for instance, cost in enumerate(costs) if cost == least]
        return equal[int(self.draws.random() * len(equal))]
