"""The routers of the vLLM production stack."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from random import Random as Draws
from typing import Annotated, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.ring import Points, Ring, owner_key


@register(
    "production-stack",
    family="routing",
    paper="vllm-project/production-stack, src/vllm_router/routers/routing_logic.py and prefix/hashtrie.py",
)
class ProductionStack:
    """Sends a request by its session, by what is cached, or by what was sent before, as the stack is told to.

    - `session`: consistent hashing of the session; a request without one goes to whoever got the fewest lately.
    - `kv-aware`: to the instance with most of the prompt cached, if all but `missing` tokens are; else by session.
    - `prefix-aware`: to any of those that got the longest beginning of it before, of which nothing is forgotten; if
      that is shorter than `least`, to whoever got the fewest requests lately. With 0, as in the stack, a beginning that
      all prompts share sends all of them to whoever got the first one.

    Of equals the first takes it. It compares blocks where the stack compares pieces of 128 characters.
    """

    rule: Annotated[Literal["session", "kv-aware", "prefix-aware"], Param("what the stack is told")] = "kv-aware"
    missing: Annotated[
        int, Param("tokens that need not be cached", unit="count", ge=0, source="kv_aware_threshold")
    ] = 2000
    least: Annotated[int, Param("tokens that must have been sent before", unit="count", ge=0, source="the stack")] = 0
    window: Annotated[
        int, Param("of the requests that count as lately", unit="time", ge=1, source="request-stats-window")
    ] = 60 * 10**12
    points: Points = 160

    @property
    def random(self) -> bool:
        """Whether seeds matter."""
        return self.rule == "prefix-aware"

    def start(self, instances: int, seed: int) -> None:
        self.draws = Draws(seed)
        self.lately: Counter[int] = Counter()  # requests that an instance got
        self.sent: deque[tuple[int, int]] = deque()  # time and instance
        self.holders: dict[int, int] = {}  # of a block, a bit for each instance that got it
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        self.ring, self.up = Ring(instances, self.points), list(instances)
        self.all = sum(1 << instance for instance in instances)

    def route(self, request: Asked, view: View) -> int:
        while self.sent and self.sent[0][0] <= request.time - self.window:
            self.lately[self.sent.popleft()[1]] -= 1
        chosen = self._by_prefix(request) if self.rule == "prefix-aware" else self._by_cache(request, view)
        self.lately[chosen] += 1
        self.sent.append((request.time, chosen))
        return self.up.index(chosen)

    def _by_cache(self, request: Asked, view: View) -> int:
        if self.rule == "kv-aware":
            hits = view.hits(request)
            most = max(hits)
            if most and most >= request.prompt - self.missing:
                return self.up[hits.index(most)]
        return self.ring.owner(owner_key(request)) if request.session >= 0 else self._fewest()

    def _by_prefix(self, request: Asked) -> int:
        blocks, those, matched = request.blocks, self.all, 0
        for block in blocks:
            held = those & self.holders.get(block, 0)
            if not held:
                break
            those, matched = held, matched + 1
        if min(matched * request.block, request.prompt) < self.least:
            chosen = self._fewest()
        else:
            named = [instance for instance in self.up if those >> instance & 1]
            chosen = named[int(self.draws.random() * len(named))]
        for block in blocks if not those >> chosen & 1 else blocks[matched:]:
            self.holders[block] = self.holders.get(block, 0) | 1 << chosen
        return chosen

    def _fewest(self) -> int:
        return min(self.up, key=self.lately.__getitem__)
