"""Loading on demand."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Annotated, Any

from tiersim._base.params import Param
from tiersim._base.registry import build, register
from tiersim.policies.experts.contract import Scope


@register("on-demand", family="experts", aliases=("lru",), paper="Eliseev, Mazur, 2023, arXiv:2312.17238")
class OnDemand:
    """Experts are loaded when a row needs them, and a replacement says which one leaves."""

    replacement: Annotated[Any, Param("who leaves for another", family="expert-replacement")] = field(
        default_factory=partial(build, "expert-replacement", "lru")
    )
    scope: Scope = "layer"
