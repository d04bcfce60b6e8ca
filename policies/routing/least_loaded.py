"""To whoever has least to do."""

from __future__ import annotations

from random import Random as Draws
from typing import Annotated, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.loads import Load, loads_of


@register("least-loaded", family="routing", aliases=("least-requests",))
class LeastLoaded:
    """Sends a request to the instance with the least load.

    `requests` is what SGLang's router counts, `waiting` and `pages` what the scorers of llm-d look at. With `load:
    prompt-tokens` it is the baseline of DualMap's artifact (arXiv 2602.06502), where of equals the first takes it: that
    concentrates requests on the first instances while there is little to do.
    """

    load: Load = "requests"
    tie: Annotated[Literal["first", "random"], Param("of equals the first, or any")] = "first"

    @property
    def random(self) -> bool:
        """Whether seeds matter."""
        return self.tie == "random"

    def start(self, instances: int, seed: int) -> None:
        self.draws = Draws(seed)

    def route(self, request: Asked, view: View) -> int:
        loads = loads_of(view, self.load)
        least = min(loads)
        if self.tie == "first":
            return loads.index(least)
        equal = [instance for instance, load in enumerate(loads) if load == least]
        return equal[int(self.draws.random() * len(equal))]
