"""To whoever has least to do."""

from __future__ import annotations

from typing import Annotated, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View


@register("least-loaded", family="routing", aliases=("least-requests",))
class LeastLoaded:
    """Sends a request to the instance with the least load; of equals to the first.

    With `load: prompt-tokens` it is the baseline of DualMap's artifact (arXiv 2602.06502), which concentrates on the
    first instances while there is little to do.
    """

    load: Annotated[
        Literal["requests", "prompt-tokens", "pending-tokens"],
        Param("requests that are not finished, tokens of prompts without a first token, or those still to be computed"),
    ] = "requests"

    def route(self, request: Asked, view: View) -> int:
        if self.load == "requests":
            loads = [waiting + running for waiting, running in zip(view.waiting, view.running, strict=True)]
        else:
            loads = list(view.prompts if self.load == "prompt-tokens" else view.pending)
        return loads.index(min(loads))
