"""By what was sent where before, unless the loads are too uneven."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.loads import in_flight

WHOLE = 10**9


@register(
    "sglang-cache-aware",
    family="routing",
    paper="sgl-project/sglang, sgl-router/src/policies/cache_aware.rs, tree.rs and mod.rs",
)
class SglangCacheAware:
    """Sends a prompt where its beginning was sent before, and when loads are uneven to the instance with the least.

    Loads are requests that are not finished. They are uneven if the greatest is above the least by more than
    `difference`, and is more than `factor` times it. If they are not, and more than `match` of the prompt is in the
    tree of what was sent, whoever was first to get the longest part of it takes the request; else the one with the
    smallest tree. The tree is the router's own, and knows nothing of what the instances evict. Every so often the
    leaves that were used longest ago leave the tree of an instance that has more than `tree`.

    It compares blocks where the router compares characters, so that a partial block matches only as a whole. Defaults
    are those of the library; the command line has had others, such as 0.3, 64 and 1.5. Of several instances with the
    longest part the router takes any.
    """

    match: Annotated[
        int, Param("of the prompt, above which it follows the tree", unit="ratio", ge=0, le=WHOLE, source="SGLang")
    ] = WHOLE // 2
    difference: Annotated[
        int, Param("of loads, above which they may be uneven", unit="count", ge=0, source="SGLang")
    ] = 32
    factor: Annotated[
        int, Param("of the least load, above which they may be uneven", unit="ratio", ge=0, source="SGLang")
    ] = 11 * WHOLE // 10
    every: Annotated[int, Param("from one eviction to the next", unit="time", ge=1, source="SGLang")] = 30 * 10**12
    tree: Annotated[int, Param("blocks of each instance that stay", unit="count", ge=1, source="SGLang: nodes")] = (
        10_000
    )

    def start(self, instances: int, seed: int) -> None:
        self.trees: dict[int, OrderedDict[int, None]] = {}  # of each instance, what was used longest ago first
        self.holders: dict[int, dict[int, None]] = {}  # of a block, the instances that got it, the first one first
        self.last = 0
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        """Who has gone has no tree any more, and who has come an empty one."""
        self.up = list(instances)
        for instance in self.trees.keys() - instances:
            for block in self.trees.pop(instance):
                self._drop(block, instance)
        self.trees = {instance: self.trees.get(instance, OrderedDict()) for instance in instances}

    def route(self, request: Asked, view: View) -> int:
        if request.time - self.last >= self.every:
            self._evict()
            self.last = request.time
        blocks, loads = request.blocks, in_flight(view)
        least, most = min(loads), max(loads)
        if most - least > self.difference and most * WHOLE > least * self.factor:
            chosen = self.up[loads.index(least)]
        else:
            chosen = self._by_tree(request, blocks)
        self._insert(blocks, chosen)
        return self.up.index(chosen)

    def _by_tree(self, request: Asked, blocks: Sequence[int]) -> int:
        matched = 0
        for block in blocks:
            if block not in self.holders:
                break
            matched += 1
        tokens = min(matched * request.block, request.prompt)
        if matched:
            holder = next(iter(self.holders[blocks[matched - 1]]))
            if tokens * WHOLE > request.prompt * self.match:
                return holder
            self._touch(blocks[:matched], holder)
        sizes = list(map(len, self.trees.values()))
        return self.up[sizes.index(min(sizes))]

    def _insert(self, blocks: Sequence[int], instance: int) -> None:
        holders = self.holders
        for block in blocks:
            if (held := holders.get(block)) is None:
                holders[block] = {instance: None}
            else:
                held[instance] = None
        self._touch(blocks, instance)

    def _touch(self, blocks: Sequence[int], instance: int) -> None:
        """The last block first, so that what stands behind is older than what it stands on."""
        tree = self.trees[instance]
        for block in reversed(blocks):
            if block in tree:
                tree.move_to_end(block)
            else:
                tree[block] = None

    def _evict(self) -> None:
        for instance, tree in self.trees.items():
            while len(tree) > self.tree:
                block, _ = tree.popitem(last=False)
                self._drop(block, instance)

    def _drop(self, block: int, instance: int) -> None:
        holders = self.holders[block]
        del holders[instance]
        if not holders:
            del self.holders[block]
