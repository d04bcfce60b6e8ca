"""A router in twenty lines: to who is warm and not too busy."""

from __future__ import annotations

from typing import Annotated

from tiersim._base.params import Param
from tiersim.policies.routing.contract import Asked, View


class Spill:
    """Of the instances with few more requests than the least busy one, takes the one with most of the prompt cached."""

    more: Annotated[int, Param("requests that it may have more", ge=0)] = 4

    def route(self, request: Asked, view: View) -> int:
        busy = [waiting + running for waiting, running in zip(view.waiting, view.running, strict=True)]
        near = [instance for instance, load in enumerate(busy) if load <= min(busy) + self.more]
        hits = view.hits(request)
        return max(near, key=lambda instance: (hits[instance], -busy[instance]))
