"""Worked examples of expert policies: one cache for the experts of two layers, under the policy's own verbs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from tiersim.experiments.worked.steps import Step, Worked, asked, hits
from tiersim.policies.expert_replacement.contract import NEVER
from tiersim.sim.expert_policy import expert_state, expert_verbs

__all__ = ["EXPERTS", "LAYERS", "SLOTS", "TOKENS", "replacement"]

LAYERS, EXPERTS, SLOTS = 2, 4, 4
TOKENS = ((0, 1), (0, 2), (1, 0), (2, 1), (0, 1), (3, 3), (0, 1), (2, 0))  # the expert of each layer, token by token


def replacement(policy: Any) -> Worked:
    """A policy of the family ``expert-replacement``."""
    uses = [layer * EXPERTS + e for token in TOKENS for layer, e in enumerate(token)]
    verbs, popular = expert_verbs(policy), Counter(uses)
    profile = np.array([popular[x] for x in range(LAYERS * EXPERTS)])
    made = expert_state(policy, verbs, LAYERS, EXPERTS, profile if getattr(policy, "profile", False) else None)
    given = dict(zip(verbs.arrays, (array.tolist() for array in made), strict=True))
    given |= {"objects": LAYERS * EXPERTS, "layers": LAYERS, "experts": EXPERTS}
    given["seed"] = int(np.random.SeedSequence(0).generate_state(1, np.uint32)[0])  # as the engine gives it
    ahead, stays = getattr(policy, "ahead", 0), getattr(policy, "bypass", False)
    for x in uses[: ahead * LAYERS]:
        asked(policy, "enter", given | {"x": x})
    held: list[int] = []
    if stays:  # the most worth are there from the start on, and their first use loads them
        held = _order(policy, given, range(LAYERS * EXPERTS))[-SLOTS:]
    loaded, there = set[int](), set[int]()
    steps = []
    for now, x in enumerate(uses):
        after = next((k for k in range(now + 1, len(uses)) if uses[k] == x), NEVER)
        given |= {"now": now, "layer": x // EXPERTS, "next_use": after}
        if not x // EXPERTS:  # hits are judged before the first of a token's experts enters
            there = set(held) & loaded
        outcome, left = "hit" if x in there else "miss", ""
        asked(policy, "use", given | {"x": x})
        loaded.add(x)
        if x not in held and stays:
            outcome = "miss, stays out"
        elif x not in held:
            if len(held) == SLOTS:
                leaving = _order(policy, given, held)[0]
                held.remove(leaving)
                left = _text(leaving)
            held.append(x)
        if x // EXPERTS == LAYERS - 1:
            token = now // LAYERS + ahead
            for y in uses[token * LAYERS : (token + 1) * LAYERS] if ahead else []:
                asked(policy, "enter", given | {"x": y})
        order = [y for y in _order(policy, given, held) if y in loaded]
        steps.append(Step(_text(x), outcome, left, (" ".join(map(_text, order)),)))
    setting = (
        f"Eight tokens use one of {EXPERTS} experts in each of {LAYERS} layers; `0.2` is expert 2 of layer 0. One "
        f"cache of {SLOTS} slots is empty at first. A use hits if its expert is there when its token begins. Who "
        "leaves first stands first, as things are at this step."
    )
    return Worked(
        "expert-replacement", type(policy).registered.name, setting, "expert", ("slots",), tuple(steps), hits(steps)
    )


def _order(policy: Any, given: dict[str, Any], held: Iterable[int]) -> list[int]:
    """Experts in the order in which they leave: by worth, and of equals the least number first."""
    return sorted(held, key=lambda y: (asked(policy, "worth", given | {"x": y}), y))


def _text(x: int) -> str:
    return f"{x // EXPERTS}.{x % EXPERTS}"
