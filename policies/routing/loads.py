"""What routers call load."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import Annotated, Literal

from tiersim._base.params import Param
from tiersim.policies.routing.contract import View

__all__ = ["Load", "in_flight", "loads_of"]

Load = Annotated[
    Literal["requests", "waiting", "prompt-tokens", "pending-tokens", "pages"],
    Param(
        "requests that are not finished, those of them that wait, tokens of prompts without a first token, those of "
        "them that are still to be computed, or pages of memory"
    ),
]


def loads_of(view: View, load: str) -> Sequence[int]:
    """The load of each instance."""
    if load == "requests":
        return in_flight(view)
    if load == "waiting":
        return view.waiting
    if load == "pages":
        return view.pages
    return view.prompts if load == "prompt-tokens" else view.pending


def in_flight(view: View) -> list[int]:
    """The requests that each instance has and has not finished."""
    return list(map(add, view.waiting, view.running))
