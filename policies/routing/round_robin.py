"""In turn."""

from __future__ import annotations

from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View


@register("round-robin", family="routing")
class RoundRobin:
    """Sends requests to the instances in turn, whatever they do."""

    def start(self, instances: int, seed: int) -> None:
        self.last = -1

    def route(self, request: Asked, view: View) -> int:
        self.last = (self.last + 1) % len(view.instances)
        return self.last
