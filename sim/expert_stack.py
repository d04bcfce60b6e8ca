"""Caches of experts of all sizes in one pass: how large a cache must be for each use to hit.

A policy gives every expert a worth that does not depend on what is in the cache, so that a larger cache holds all that
a smaller one does (a stack algorithm: Mattson et al., 1970, doi:10.1147/sj.92.0078). The stack holds all experts that
were used: the first c are what a cache of c holds. An expert that is used comes to the top; the one that was there goes
down until it meets one of less worth, which goes on in its place, and so on to where the used one had been. Worths that
only change when an expert is used or seen ahead stand beside the stack, others are asked for on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, PolicyError
from tiersim.sim.expert_policy import expert_state, expert_verbs, keeps_worth
from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.sim.kernels import next_uses
from tiersim.sim.object_loop import Part
from tiersim.sim.object_replay import explained
from tiersim.sim.requests import NEVER
from tiersim.sim.source import load_module

__all__ = ["StackHits", "expert_hits"]

MOST_USES = 1 << 32  # `now` of a run is below


class StackHits:
    """Uses of each sequence by the least cache that hits: ``least[s, c - 1]`` of them need one of c experts.

    In the last column are those that miss in a cache of any size. With caches of layers, c is the size of each.
    """

    def __init__(self, least: NDArray[np.int64]) -> None:
        self.least = least

    @property
    def most(self) -> int:
        """The largest size that matters."""
        return int(self.least.shape[1]) - 1

    def hits(self, size: int) -> NDArray[np.int64]:
        """Hits of each sequence in a cache of this size."""
        made: NDArray[np.int64] = self.least[:, : min(size, self.most)].sum(1)
        return made

    def of_all_sizes(self) -> NDArray[np.int64]:
        """Hits of all sequences by size, from 1 on."""
        made: NDArray[np.int64] = self.least.sum(0)[:-1].cumsum()
        return made


def expert_hits(
    policy: Any,
    tokens: ExpertTokens,
    *,
    by_layer: bool = False,
    cold: bool = False,
    together: bool = False,
    popular: NDArray[np.int64] | None = None,
    seed: int = 0,
    compiled: bool = True,
    progress: Callable[[int], None] | None = None,
) -> StackHits:
    """Which caches, of all sizes, hit at each use of an expert under a policy of the family ``expert-replacement``.

    There is one cache for all layers, or `by_layer` one for each. A use hits if its expert is there before the first of
    its token's experts enters, or fills an empty slot, which with `cold` it does not. Then the experts of the token
    enter one by one, and those may leave again at once. Caches are empty at the start of each sequence, or only of the
    first if the sequences go through them `together`, one after the other. A policy that lets no other in than the most
    worth holds those from the start on; with `cold` their first use does not hit. `popular` is for policies with
    ``profile``; `seed` for those that draw. Raises PolicyError when the policy lacks something or cannot be compiled.
    """
    slots = tokens.experts if by_layer else tokens.objects
    bounds = [0, tokens.sequences] if together else range(tokens.sequences + 1)
    verbs = expert_verbs(policy)
    if getattr(policy, "profile", False) and popular is None:
        popular = tokens.popular(slice(None))
    least = np.zeros((tokens.sequences, slots + 1), np.int64)
    run = _Run(policy, verbs, tokens, by_layer, cold, popular, seed, compiled and getattr(policy, "compiled", True))
    take = run.kept if getattr(policy, "bypass", False) else run.replaced
    for first, last in pairwise(bounds):
        take(first, last, least)
        if progress:
            progress(int(tokens.ends[last] - tokens.ends[first]))
    if int(least.sum()) != len(tokens.ids):
        raise AuditError(f"{int(least.sum()):,} uses have found their cache, of {len(tokens.ids):,}")
    return StackHits(least)


class _Run:
    """The arrays that all runs share, and the calls of the loop."""

    def __init__(
        self,
        policy: Any,
        verbs: Part,
        tokens: ExpertTokens,
        by_layer: bool,
        cold: bool,
        popular: NDArray[np.int64] | None,
        seed: int,
        compiled: bool,
    ) -> None:
        self.policy, self.verbs, self.tokens, self.popular = policy, verbs, tokens, popular
        self.by_layer, self.cold, self.compiled = by_layer, cold, compiled
        self.seed = int(np.random.SeedSequence(seed).generate_state(1, np.uint32)[0])
        self.stacks = len(tokens.layers) if by_layer else 1
        self.slots = tokens.objects // self.stacks
        about = f"Caches of experts under {type(policy).__name__}"
        self.module = load_module(_text(verbs, by_layer), compiled=compiled, about=about)

    def _given(self, array: NDArray[Any]) -> Any:
        return array if self.compiled else array.tolist()

    def replaced(self, first: int, last: int, least: NDArray[np.int64]) -> None:
        """One run, of some sequences, through caches that are empty at its start."""
        tokens, policy = self.tokens, self.policy
        begin, end = int(tokens.ends[first]), int(tokens.ends[last])
        uses = slice(int(tokens.starts[begin]), int(tokens.starts[end]))
        ids = tokens.ids[uses]
        if len(ids) >= MOST_USES:
            raise PolicyError(
                f"{len(ids):,} uses in one run, and there can be {MOST_USES - 1:,}", None, "cut the trace"
            )
        after = np.zeros(1, np.int64)
        if "next_use" in self.verbs.arguments["use"]:
            after = np.empty(len(ids), np.int64)
            next_uses(ids, np.full(tokens.objects, NEVER, np.int64), NEVER, after)
        owner = np.repeat(np.arange(first, last), np.diff(tokens.ends[first : last + 1]))
        arrays = expert_state(policy, self.verbs, len(tokens.layers), tokens.experts, self.popular)
        out = np.zeros((last - first, least.shape[1]), np.int64)
        flat = self._given(out.reshape(-1))
        try:
            self.module.run(
                end - begin,
                tokens.objects,
                len(tokens.layers),
                tokens.experts,
                self.slots,
                int(self.cold),
                self.seed,
                int(getattr(policy, "ahead", 0)),
                self._given(ids),
                self._given(tokens.starts[begin : end + 1] - tokens.starts[begin]),
                self._given((owner - first) * least.shape[1]),
                self._given(after),
                flat,
                self._given(np.zeros(tokens.objects, np.int64)),
                self._given(np.zeros(tokens.objects, np.int64)),
                self._given(np.full(tokens.objects, -1, np.int64)),
                self._given(np.zeros(self.stacks, np.int64)),
                self._given(np.zeros(self.stacks, np.int64)),
                *map(self._given, arrays),
            )
        except Exception as error:
            raise explained(error, policy) from None
        least[first:last] += np.asarray(flat, np.int64).reshape(out.shape)

    def kept(self, first: int, last: int, least: NDArray[np.int64]) -> None:
        """One run through caches that hold the experts of the most worth, and no others."""
        tokens = self.tokens
        arrays = expert_state(self.policy, self.verbs, len(tokens.layers), tokens.experts, self.popular)
        given = dict(zip(self.verbs.arrays, (array.tolist() for array in arrays), strict=True)) | {
            name: getattr(self.policy, name) for name in self.policy.__dataclass_fields__
        }
        given |= {"objects": tokens.objects, "layers": len(tokens.layers), "experts": tokens.experts}
        worth = self.policy.worth
        asked = [name for name in signature(worth).parameters if name != "x"]
        x = np.arange(tokens.objects)
        worths = np.array([worth(**{name: given[name] for name in asked}, x=each) for each in x.tolist()])
        stack = x // tokens.experts if self.by_layer else np.zeros_like(x)
        rank = np.empty_like(x)
        rank[np.lexsort((-x, -worths, stack))] = x % self.slots
        ids = tokens.ids[tokens.starts[tokens.ends[first]] : tokens.starts[tokens.ends[last]]]
        depth = rank[ids]
        if self.cold:
            depth[np.unique(ids, return_index=True)[1]] = self.slots
        uses = np.diff(tokens.starts[tokens.ends[first : last + 1]])
        np.add.at(least, (np.repeat(np.arange(first, last), uses), depth), 1)


def _text(verbs: Part, by_layer: bool) -> str:
    arrays = [f"p_{name}" for name in verbs.arrays]
    own = ("ids", "starts", "row", "after", "least", "stack", "worths", "place", "held", "fresh")
    arguments = [*(f"array_{name}" for name in own), *(f"array_{name}" for name in arrays)]
    bind = [f"{name} = pointer(array_{name})" for name in (*own, *arrays)]
    kept = keeps_worth(verbs)

    def worth(x: str) -> str:
        return verbs.call("worth", x=x)

    which = "x // experts" if by_layer else "0"
    enter = verbs.call("enter")
    seen = [
        "x = ids[u]",
        enter,
        *(["if place[x] >= 0:", f"    worths[{which} * slots + place[x]] = {worth('x')}"] if kept else []),
    ]
    window = [
        "for i in range(min(ahead, count)):",
        "    for u in range(starts[i], starts[i + 1]):",
        *_in(seen, 2),
    ]
    slide = [
        "if t + ahead < count:",
        "    for u in range(starts[t + ahead], starts[t + ahead + 1]):",
        *_in(seen, 2),
    ]
    # of equal worths the lower number leaves
    down = [
        "carry = stack[base]",
        f"carried = {'worths[base]' if kept else worth('carry')}",
        "for at in range(base + 1, base + depth):",
        *(["    w = worths[at]"] if kept else ["    y = stack[at]", f"    w = {worth('y')}"]),
        "    if w <= carried:",
        *(["        y = stack[at]"] if kept else []),
        "        if w < carried or y < carry:",
        "            stack[at] = carry",
        "            place[carry] = at - base",
        *(["            worths[at] = carried"] if kept else []),
        "            carry = y",
        "            carried = w",
        "stack[base + depth] = carry",
        "place[carry] = depth",
        *(["worths[base + depth] = carried"] if kept else []),
    ]
    lines = [
        "@jit_cached",
        f"def run(count, objects, layers, experts, slots, cold, seed, ahead, {', '.join(arguments)}):",
        *_in(bind),
        *_in(window if enter else []),
        "    for t in range(count):",
        "        for u in range(starts[t], starts[t + 1]):",
        "            x = ids[u]",
        "            depth = place[x]",
        "            if depth < 0:",
        "                if cold:",
        "                    depth = slots",
        "                else:",
        f"                    depth = held[{which}] + fresh[{which}]",
        f"                    fresh[{which}] += 1",
        "            least[row[t] + depth] += 1",
        "        for u in range(starts[t], starts[t + 1]):",
        "            x = ids[u]",
        "            now = u",
        "            layer = x // experts",
        "            next_use = after[u]" if "next_use" in verbs.arguments["use"] else "            next_use = 0",
        f"            base = {which} * slots",
        f"            fresh[{which}] = 0",
        "            depth = place[x]",
        "            if depth < 0:",
        f"                depth = held[{which}]",
        f"                held[{which}] += 1",
        "            " + verbs.call("use"),
        "            if depth > 0:",
        *_in(down, 4),
        "            stack[base] = x",
        "            place[x] = 0",
        *([f"            worths[base] = {worth('x')}"] if kept else []),
        *_in(slide if enter else [], 2),
        "",
    ]
    return "\n".join([verbs.text, "\n", *lines])


def _in(lines: list[str], depth: int = 1) -> list[str]:
    return ["    " * depth + line for line in lines]
