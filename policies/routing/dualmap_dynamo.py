"""DualMap as it was brought to Dynamo: without queues, and with other keys, hashes and thresholds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.dualmap_rule import Count
from tiersim.policies.routing.ring import hashes, key_of_blocks, owner_key


@register(
    "dualmap-dynamo",
    family="routing",
    paper="DualMap, ICLR 2026, arXiv 2602.06502; ai-dynamo/dynamo, pull request 15450, as a port of it tells",
)
class DualMapDynamo:
    """Sends a prompt to the warmer of two candidates, or to the one with less to compute if that has too much.

    A key is the first `shallowest` blocks, or twice as many, and so on through `levels`: the shortest that is not hot,
    or the longest. Hot is a share above 2/n of the last `window` requests, for n instances; a prompt that is shorter is
    its own key. Candidates are those with the highest hashes of key and instance (rendezvous hashing). Too much is more
    than `most` tokens with those of the prompt that are not cached. Of candidates with as much cached the one with less
    to compute takes it. It was read in a port to another gateway, whose blocks are shorter than Mooncake's.
    """

    candidates: Count = 2
    shallowest: Annotated[int, Param("blocks of the shortest key", unit="count", ge=1, source="the port")] = 4
    levels: Annotated[int, Param("lengths of keys", unit="count", ge=1, le=32, source="the port")] = 8
    window: Annotated[int, Param("requests that count", unit="count", ge=1, source="the port")] = 1000
    most: Annotated[
        int, Param("tokens to compute, with those of the prompt", unit="count", ge=0, source="the port")
    ] = 65_536

    def start(self, instances: int, seed: int) -> None:
        self.seen: deque[list[int]] = deque()
        self.counts: dict[int, int] = {}  # by the last block of a key
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        self.instances = list(instances)
        self.names = [str(instance).encode() for instance in instances]
        self.known: dict[int, list[int]] = {}

    def route(self, request: Asked, view: View) -> int:
        candidates, hits, pending = self.of(request), view.hits(request), view.pending
        warm = min(candidates, key=lambda place: (-hits[place], pending[place]))
        if pending[warm] + request.prompt - hits[warm] <= self.most:
            return warm
        return min(candidates, key=lambda place: pending[place])

    def of(self, request: Asked) -> list[int]:
        """The candidates of a request, which counts as one more with its keys."""
        blocks = request.blocks
        if not len(blocks):
            return self._hashed(owner_key(request))
        depths = self._depths(len(blocks))
        keys = [blocks[depth - 1] for depth in depths]
        hot, counts = 2 / len(self.instances) * max(len(self.seen), 1), self.counts
        for last in keys:
            if counts.get(last, 0) <= hot:
                break
        self._observe(keys)
        found = self.known.get(last)
        if found is None:
            depth = depths[keys.index(last)]
            found = self.known[last] = self._hashed(key_of_blocks(blocks[:depth]))
        return found

    def _depths(self, length: int) -> list[int]:
        """The lengths of keys that a prompt of so many blocks has."""
        depths: list[int] = []
        for level in range(self.levels):
            depth = self.shallowest << level
            if depth >= length:
                return [*depths, length]
            depths.append(depth)
        return depths

    def _observe(self, keys: list[int]) -> None:
        seen, counts = self.seen, self.counts
        seen.append(keys)
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        if len(seen) > self.window:
            for key in seen.popleft():
                counts[key] -= 1
                if not counts[key]:
                    del counts[key]

    def _hashed(self, key: str) -> list[int]:
        scores = hashes(f"{key} at ", self.names)
        return [scores.index(score) for score in sorted(scores, reverse=True)[: self.candidates]]
