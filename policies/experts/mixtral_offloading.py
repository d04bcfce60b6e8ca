"""The offloading of Mixtral by Eliseev and Mazur."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Annotated, Any

from tiersim._base.params import Param
from tiersim._base.registry import build, register
from tiersim.policies.experts.contract import Scope
from tiersim.policies.object.contract import Words


@register("mixtral-offloading", family="experts", paper="Eliseev, Mazur, 2023, arXiv:2312.17238")
class MixtralOffloading:
    """Keeps the experts of each layer by LRU, and loads ahead those that are predicted for a layer after it.

    The paper predicts by applying the gate of the later layer to the hidden states of this one; here the trace, or a
    predictor of the study, says what is predicted. Nothing is loaded ahead over the end of a step. The authors' code
    has the cache and no loading ahead.
    """

    lookahead: Annotated[int, Param("how many layers later", ge=1, source="the paper: the next layer")] = 1
    count: Annotated[
        int, Param("experts that are loaded ahead for a layer, at most", ge=0, source="the paper: 1 or 2")
    ] = 2
    replacement: Annotated[Any, Param("who leaves for another", family="expert-replacement")] = field(
        default_factory=partial(build, "expert-replacement", "lru")
    )
    scope: Scope = "layer"

    @staticmethod
    def wish(
        lookahead: int,
        count: int,
        predicted_start: Words,
        predicted_e: Words,
        wishes: Words,
        row: int,
        layer: int,
        layers: int,
        experts: int,
    ) -> int:
        if layer + lookahead >= layers:
            return 0
        start = predicted_start[row + lookahead]
        many = min(count, predicted_start[row + lookahead + 1] - start)
        for k in range(many):
            wishes[k] = (layer + lookahead) * experts + predicted_e[start + k]
        return many
