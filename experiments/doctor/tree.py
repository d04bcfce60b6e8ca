"""Traces of searches over texts: trees of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import Curve, Info, Panel, Spread, duration, percent, spotted, whole
from tiersim.experiments.doctor.tally import Tally
from tiersim.traces.schema import KEPT, Chunk

__all__ = ["Sharing", "TreeInfo", "fingerprint", "traps"]

ROOT: Final = -1
NOWHERE: Final = -2  # the place of a parent that there is not, or not yet


@dataclass
class Sharing:
    """What a store that is a tree saves: ``once`` holds every text once, ``apart`` one copy for each path to a leaf.

    Both are in ``unit``: tokens, bytes of text where only texts are known, and nodes where neither is.
    """

    unit: str
    once: int
    apart: int
    saved: float


@dataclass(kw_only=True)
class TreeInfo(Info):
    """The fingerprint of trees. A root has depth 0, and a node without its parent counts as a root.

    ``branching`` is of the nodes that have children; ``kept`` is the share of the nodes but roots that the search kept,
    and None where it is not known.
    """

    trees: int
    nodes: Spread
    leaves: int
    depth: Spread
    branching: Spread | None
    steps: int
    kept: float | None
    tokens: Spread | None
    reward: Spread | None
    span_ns: int | None
    sharing: Sharing

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        held = self.sharing
        return [
            ("trees", f"{self.trees:,}"),
            ("nodes of a tree", self.nodes.told()),
            ("leaves", f"{self.leaves:,}"),
            ("depth of a node", self.depth.told()),
            *([] if self.branching is None else [("children of a node that has any", self.branching.told())]),
            ("rounds of the search", f"{self.steps:,}"),
            *([] if self.kept is None else [("nodes kept", percent(self.kept))]),
            *([] if self.tokens is None else [("tokens of a node's own", self.tokens.told())]),
            *([] if self.reward is None else [("reward", self.reward.told())]),
            *([] if self.span_ns is None else [("span", duration(self.span_ns))]),
            ("prefixes shared", f"{percent(held.saved)}: {held.once:,} {held.unit}, {held.apart:,} with a copy a path"),
        ]


def fingerprint(chunks: Iterator[Chunk], tally: Tally) -> TreeInfo:
    """Depth, branching, and what paths share."""
    held = whole(chunks)
    parents = np.maximum(_places(held).parents, ROOT)
    unit, own = _own(held)
    depth, above = _along(parents, own)
    children = np.bincount(parents[parents >= 0], minlength=len(parents))
    leaf = children == 0
    once, apart = int(own.sum()), int(above[leaf].sum())
    rewards = held["reward"][~np.isnan(held["reward"])] if "reward" in held else np.empty(0)
    kept = held["fate"] == KEPT if "fate" in held else None
    root = held["parent"] < 0
    return TreeInfo(
        **tally.about(),
        trees=len(np.unique(held["tree"])),
        nodes=Spread.of(np.unique(held["tree"], return_counts=True)[1]),
        leaves=int(leaf.sum()),
        depth=Spread.of(depth),
        branching=Spread.if_any(children[~leaf]),
        steps=len(np.unique(held["step"])),
        kept=None if kept is None or root.all() else float(kept[~root].mean()),
        tokens=Spread.of(held["tokens"]) if "tokens" in held else None,
        reward=Spread.if_any(rewards),
        span_ns=tally.span,
        sharing=Sharing(unit, once, apart, 1 - once / apart if apart else 0.0),
        panels=_panels(depth, children, kept),
    )


def _panels(depth: NDArray[np.int64], children: NDArray[np.int64], kept: NDArray[np.bool_] | None) -> list[Panel]:
    steps = np.arange(int(depth.max()) + 1)
    made = [Curve(steps, np.bincount(depth), "" if kept is None else "made", "steps-mid")]
    if kept is not None:
        made.append(Curve(steps, np.bincount(depth[kept], minlength=len(steps)), "kept", "steps-mid"))
    many = np.bincount(children)
    branches = Curve(np.flatnonzero(many), many[many > 0], points=True)
    return [Panel("depth", "nodes", tuple(made)), Panel("children", "nodes", (branches,), y_log=True)]


def _own(held: Chunk) -> tuple[str, NDArray[np.int64]]:
    """How much each node has of its own, and of what."""
    if "tokens" in held:
        return "tokens", held["tokens"].astype(np.int64)
    if "text" in held:
        return "bytes of text", held["text"].counts
    return "nodes", np.ones(len(held["node"]), np.int64)


def _along(parents: NDArray[np.int64], own: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each node the steps from its root, and the sum over the path to it, its own included."""
    depth, total, at = np.zeros(len(parents), np.int64), own.copy(), parents.copy()
    while (on := at >= 0).any():  # parents come first, so that this ends
        depth[on] += 1
        total[on] += own[at[on]]
        at[on] = parents[at[on]]
    return depth, total


@dataclass
class _Places:
    """Where each node's parent stands, ROOT, or NOWHERE; which nodes were there before; which parents come later."""

    parents: NDArray[np.int64]
    again: NDArray[np.bool_]
    later: NDArray[np.bool_]


def _places(held: Chunk) -> _Places:
    _, tree = np.unique(held["tree"], return_inverse=True)
    name = (tree.astype(np.int64) << 32) | held["node"]
    names, first = np.unique(name, return_index=True)
    again = np.ones(len(name), bool)
    again[first] = False
    root = held["parent"] < 0
    wanted = (tree.astype(np.int64) << 32) | np.where(root, 0, held["parent"])
    place = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    there = (names[place] == wanted) & (held["parent"] < 1 << 32) & ~root
    later = there & (first[place] >= np.arange(len(name)))
    parents = np.where(there & ~later, first[place], NOWHERE)
    parents[root] = ROOT
    return _Places(parents, again, later)


def traps(chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
    """Nodes twice, parents that are not there or come later, trees without a root, rounds that fall back."""
    held = whole(chunks)
    places = _places(held)
    root = held["parent"] < 0  # which needs no text of its own, and no reward
    missing = (places.parents == NOWHERE) & ~places.later
    for wrong, what, remedy in (
        (places.again, "are in their tree already", "give each a number of its own, or each search a tree of its own"),
        (missing, "have a parent that is not in their tree", "the file was cut or filtered: take whole trees"),
        (places.later, "come before their parent", "sort the records by tree and node, or by step"),
    ):
        yield from spotted(wrong, f"nodes {what}", remedy)
    trees, which = np.unique(held["tree"], return_inverse=True)
    roots = np.bincount(which[root], minlength=len(trees))
    for many, what in ((roots == 0, "no root"), (roots > 1, "several roots")):
        if many.any():
            yield (
                f"{int(many.sum()):,} of {len(trees):,} trees have {what}: depth and shared prefixes count from each "
                "node without a parent; add one node above them where they share a prompt"
            )
    order = np.argsort(which, kind="stable")
    back = (np.diff(held["step"][order].astype(np.int64)) < 0) & (np.diff(which[order]) == 0)
    if back.any():
        yield (
            f"rounds fall back {int(back.sum()):,} times within trees, first at record "
            f"{int(order[1:][back].min()) + 1:,}: nodes are not in the order in which they were made; sort them by step"
        )
    if "tokens" in held:
        yield from spotted(
            (held["tokens"] == 0) & ~root,
            "nodes have 0 tokens of their own",
            "a store holds nothing for them; leave them out",
        )
    if "reward" in held:
        yield from spotted(
            np.isnan(held["reward"]) & ~root, "nodes have no reward", "what ranks by it must place them; give them one"
        )
