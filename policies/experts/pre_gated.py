"""Pre-gated MoE."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Annotated, Any

from tiersim._base.params import Param
from tiersim._base.registry import build, register
from tiersim.policies.experts.contract import Scope
from tiersim.policies.object.contract import Words


@register("pre-gated", family="experts", aliases=("pre-gated-moe",), paper="Hwang et al., ISCA 2024, arXiv:2308.12066")
class PreGated:
    """Each layer chooses the experts of the next one, which are loaded while it computes.

    The model is fine-tuned so that its gates work a layer ahead: what is loaded ahead is exact, and is what the trace
    says of the next layer. The first layer of a step has a gate of its own, and nobody chooses for it.
    """

    replacement: Annotated[Any, Param("who leaves for another", family="expert-replacement")] = field(
        default_factory=partial(build, "expert-replacement", "lru")
    )
    scope: Scope = "layer"

    @staticmethod
    def wish(row_start: Words, row_x: Words, wishes: Words, row: int, layer: int, layers: int, experts: int) -> int:
        if layer + 1 == layers:
            return 0
        start = row_start[row + 1]
        many = row_start[row + 2] - start
        for k in range(many):
            wishes[k] = (layer + 1) * experts + row_x[start + k]
        return many
