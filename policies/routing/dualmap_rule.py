"""What the routers of DualMap have in common: their parameters, and what follows from them."""

from __future__ import annotations

from math import floor
from typing import Annotated, Literal

from tiersim._base.params import Param

__all__ = ["SECOND", "WHOLE", "Cold", "Count", "Hot", "Prefill", "Profile", "Slo", "budget", "shares"]

WHOLE = 10**9
SECOND = 10**12
HOT, COLD = 0.0612, 0.02  # of the artifact

Profile = Annotated[Literal["paper", "artifact"], Param("where they differ, whom to follow")]
Count = Annotated[int, Param("instances that a key may go to", unit="count", ge=1, source="DualMap")]
Slo = Annotated[
    int | None,
    Param("time to the first token that is in time; null: any is", unit="time", ge=0, source="DualMap"),
]
Prefill = Annotated[
    int,
    Param(
        "of a token that is not cached, in the estimate",
        unit="time_per_item",
        ge=1,
        source="DualMap's artifact: Qwen2.5-7B on an Ascend 910B4",
    ),
]
Hot = Annotated[int | None, Param("share of a prefix that is extended, instead of the profile's", unit="ratio", ge=0)]
Cold = Annotated[int | None, Param("share of an extended one that is no more, likewise", unit="ratio", ge=0, le=WHOLE)]


def shares(profile: str, hot: int | None, cold: int | None, instances: int) -> tuple[float, float]:
    """From which share on a prefix is hot, and up to which an extended one is cold."""
    whole = profile == "paper"
    return (
        (2 / instances if whole else HOT) if hot is None else hot / WHOLE,
        (1 / instances if whole else COLD) if cold is None else cold / WHOLE,
    )


def budget(profile: str, slo: int | None, prefill: int) -> float:
    """The tokens that an instance computes in time."""
    if slo is None:
        return float("inf")
    if profile == "paper":
        return slo // prefill
    return floor(0.5 * (slo / SECOND) / (prefill / SECOND))  # rounded as there: often one token less
