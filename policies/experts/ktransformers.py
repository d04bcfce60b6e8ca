"""KTransformers: routed experts on the processor, of which some may be late by a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.expert_replacement.lru import Lru
from tiersim.policies.experts.contract import CPU, DEFER, HERE, HIGH, Scope
from tiersim.policies.experts.placing import worthiest


@register(
    "ktransformers",
    family="experts",
    paper="Chen et al., KTransformers, SOSP 2025, doi:10.1145/3731569.3764843",
)
class KTransformers:
    """All routed experts run on the processor: the best ranked at once, the others deferred to the next layer.

    Of a token the ``immediate`` best ranked experts must be back before its next layer begins; the others run behind
    them and only have to be back at the end of that layer, so that the processor has work while the GPU computes
    attention. In prompts nothing is deferred. With ``placed: popular`` the experts that were most popular in the
    training share of the trace fill the slots and run on the GPU. Nothing is ever loaded.

    In a batch a rank is the best that an expert has with any of the tokens. That deferral changes what the model says
    is not modelled, nor are the kernels for prompts: how fast the processor is belongs to the host.
    """

    immediate: Annotated[
        int,
        Param(
            "experts of a token that its next layer waits for",
            ge=0,
            source="assumption: its documentation defers 2 of a token in examples, of DeepSeek-V2-Lite's 6",
        ),
    ] = 4
    placed: Annotated[Literal["none", "popular"], Param("which experts stay on the GPU")] = "none"
    scope: Scope = "layer"
    replacement: ClassVar[Any] = Lru()  # has nothing to do

    def place(self, layers: int, experts: int, gpus: int, slots: int, popular: Sequence[int]) -> list[int]:
        if self.placed == "none":
            return []
        return worthiest(popular, slots, layers, experts, gpus, self.scope)

    @staticmethod
    def decide(held: int, rank: int, prefill: int, immediate: int) -> int:
        if held == HERE:
            return HIGH
        return CPU if prefill or rank < immediate else DEFER
