"""To anybody."""

from __future__ import annotations

from random import Random as Draws
from typing import ClassVar

from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View


@register("random", family="routing")
class Random:
    """Sends each request to an instance drawn at random, whatever they do."""

    random: ClassVar[bool] = True

    def start(self, instances: int, seed: int) -> None:
        self.draws = Draws(seed)

    def route(self, request: Asked, view: View) -> int:
        return int(self.draws.random() * len(view.instances))
