"""Fiddler: what is not on the GPU is computed by the processor, unless loading it is quicker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.expert_replacement.lru import Lru
from tiersim.policies.experts.contract import CPU, HERE, HIGH, Scope
from tiersim.policies.experts.placing import worthiest
from tiersim.policies.object.contract import Words


@register(
    "fiddler",
    family="experts",
    paper="Kamahori et al., Fiddler, ICLR 2025, arXiv:2402.07033; efeslab/fiddler, src/fiddler/mixtral.py",
)
class Fiddler:
    """Keeps the most popular experts; another one is computed by the processor, or loaded if that is quicker.

    Popularity is counted in the training share of the trace. The times of this machine are compared, cpu(n) with a
    load, as the paper measures them when it starts; or, where ``published``, the constants of its code, ``token_cost``
    for each token on the processor and ``copy_cost`` for a load: up to 9 tokens are computed, and 10 are loaded. What
    costs the same is loaded, as there.

    The original copies an expert into a buffer and forgets it at once. Here ``spare`` slots are left for copies, and
    one stays there until another takes its place. Its code adds up what it should overlap, which comes to this rule
    for each expert alone; that is what is done here.
    """

    published: Annotated[bool, Param("whether the constants of its code are compared, or the times here")] = False
    token_cost: Annotated[int, Param("of a token on the processor, where published", ge=0, source="its code")] = 7
    copy_cost: Annotated[int, Param("of a load, where published", ge=0, source="its code")] = 70
    spare: Annotated[int, Param("slots of a scope that are left for copies", ge=1, source="assumption: one buffer")] = 1
    scope: Scope = "model"
    replacement: Annotated[Any, Param("which copy leaves a spare slot", family="expert-replacement")] = field(
        default_factory=Lru
    )

    def place(self, layers: int, experts: int, gpus: int, slots: int, popular: Sequence[int]) -> list[int]:
        return worthiest(popular, slots - self.spare, layers, experts, gpus, self.scope)

    @staticmethod
    def decide(held: int, n: int, cpu: Words, load: int, published: bool, token_cost: int, copy_cost: int) -> int:
        if held == HERE:
            return HIGH
        if published:
            return CPU if token_cost * n < copy_cost else HIGH
        return CPU if cpu[n] < load else HIGH
