"""The verbs and the state of policies of the family ``expert-replacement``, for the engines that run them."""

from __future__ import annotations

from typing import Any, Final

from numpy.typing import NDArray

from tiersim.sim.object_loop import Part, Shape
from tiersim.sim.object_replay import state_of

__all__ = ["KNOWN", "expert_state", "expert_verbs", "keeps_worth"]

KNOWN: Final = ("x", "objects", "layers", "experts", "now", "next_use", "layer", "seed")
"""What an engine gives by name, as variables of its loop."""
CONTRACT: Final = "tiersim.policies.expert_replacement.contract"


def expert_verbs(policy: Any, prefix: str = "p") -> Part:
    """A policy's verbs as source for a loop, and calls of them. Raises PolicyError when one is missing."""
    return Part(policy, prefix, (("use", "worth"), ("enter",)), Shape(), KNOWN)


def expert_state(
    policy: Any, verbs: Part, layers: int, experts: int, popular: NDArray[Any] | None = None
) -> list[NDArray[Any]]:
    """The arrays that the verbs want, in the order of ``verbs.arrays``, as they are before the first use.

    `popular` is for policies with ``profile``. Raises PolicyError where a policy asks for, or lacks, something.
    """
    given: dict[str, Any] = {"objects": layers * experts, "layers": layers, "experts": experts}
    if popular is not None:
        given["popular"] = popular
    made = state_of(policy, given, verbs.arrays, CONTRACT)
    return [made[name] for name in verbs.arrays]


def keeps_worth(verbs: Part) -> bool:
    """Whether the worth of an expert changes only when it is used or enters the window."""
    return not {"now", "layer"} & set(verbs.arguments["worth"])
