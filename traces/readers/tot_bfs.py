"""Breadth-first searches of Tree of Thoughts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Annotated, Any, ClassVar, Final, TypeGuard

from tiersim._base.errors import TraceError
from tiersim._base.registry import register
from tiersim.traces.readers.arrays import Element, elements
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import Row, gathered
from tiersim.traces.readers.trees import CHARACTERS, estimated
from tiersim.traces.schema import KEPT, PRUNED, TREE, Chunk

LARGEST: Final = 1e308
KEYS: Final = (b'"steps"', b'"new_ys"')
EXPECTED: Final = (
    'expected {"idx": number, "steps": [{"step": number, "x": text, "ys": [texts], "new_ys": [texts], "values": [a '
    'number each], "select_new_ys": [texts]}]}'
)


@register("tot-bfs", family="reader", paper="https://doi.org/10.48550/arXiv.2305.10601")
class TotBfs:
    """Tree of Thoughts' logs of breadth-first search: a JSON array of problems, each with its ``steps``.

    A node is a text of ``new_ys``; the root, number 0 of each tree, is the question ``x``, and the tree is ``idx``. The
    parent is the longest of the ``ys`` that a node's text begins with, the first where some are equal; the node's own
    text is what comes after. ``reward`` is the value, by position. Kept are the nodes in ``select_new_ys``: of equal
    texts as many as are there, those of the highest value first, then those made first, as the search sorts them.
    ``step`` is that of the log plus 1, and 0 for the root. Tokens are an estimate: characters over
    ``characters_per_token``, rounded up.
    """

    schema: ClassVar[str] = TREE.name

    characters_per_token: Annotated[float, CHARACTERS] = 4.0

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether an array of objects begins here that have steps with new texts."""
        inner = head.lstrip().removeprefix(b"[").lstrip()
        return head.lstrip().startswith(b"[") and inner.startswith(b"{") and all(key in head for key in KEYS)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every node. Raises TraceError with element, byte offset and what is wrong in which step."""
        yield from gathered(self._rows(stream, source), TREE)
        return 0

    def _rows(self, stream: ByteStream, source: str) -> Iterator[Row]:
        seen: set[int] = set()
        for element in elements(stream, source):
            rows = _nodes(element)
            tree = rows[0]["tree"]
            if tree in seen:
                raise element.wrong("a problem of its own", f'"idx": {tree} was there before; leave one of them out')
            seen.add(tree)
            for row in rows:
                yield row | {"tokens": estimated(row["text"], self.characters_per_token)}


def _nodes(element: Element) -> list[Row]:
    """The root of a problem, and its nodes in order."""
    held = element.value if isinstance(element.value, dict) else {}
    tree, steps = held.get("idx"), held.get("steps")
    if type(tree) is not int or not 0 <= tree < 1 << 64:
        raise _wrong(element, "it has no number idx")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise _wrong(element, "it has no list of steps")
    question = steps[0].get("x")
    if not isinstance(question, str):
        raise _wrong(element, "its step 0 has no question x")
    root: Row = {"tree": tree, "node": 0, "parent": -1, "step": 0, "reward": math.nan, "text": question, "fate": KEPT}
    made = [root]
    nodes = {"": 0}  # the texts that the next step goes on from
    for number, step in enumerate(steps):
        before, new, values, kept = (step.get(name) for name in ("ys", "new_ys", "values", "select_new_ys"))
        if step.get("step") != number or step.get("x") != question:
            raise _wrong(element, f"its step {number:,} is not numbered so, or has another question x")
        if not (_texts(before) and _texts(new) and _texts(kept)):
            raise _wrong(element, f"its step {number:,} has no texts ys, new_ys and select_new_ys")
        if not isinstance(values, list) or len(values) != len(new) or not all(map(_value, values)):
            raise _wrong(element, f"its step {number:,} has not one number in values for each of its new_ys")
        if not set(before) <= nodes.keys():
            raise _wrong(element, f"its step {number:,} goes on from ys that the step before has not kept")
        if not set(kept) <= set(new):
            raise _wrong(element, f"its step {number:,} keeps what is not among its new_ys")
        parents = {text: nodes[text] for text in before}
        lengths = sorted({len(text) for text in parents}, reverse=True)
        chosen = _chosen(new, values, kept)
        nodes = {}
        for place, text in enumerate(new):
            length = next((each for each in lengths if text[:each] in parents), None)
            if length is None:
                raise _wrong(
                    element, f"text {place:,} among the new_ys of its step {number:,} begins as none of the ys"
                )
            row = {"tree": tree, "node": len(made), "parent": parents[text[:length]], "step": number + 1}
            made.append(
                row
                | {
                    "reward": float(values[place]),
                    "text": text[length:],
                    "fate": KEPT if place in chosen else PRUNED,
                }
            )
            if place in chosen:
                nodes.setdefault(text, row["node"])
    return made


def _chosen(new: list[str], values: list[float], kept: list[str]) -> set[int]:
    """The places of the new texts that were kept."""
    left = Counter(kept)
    chosen = set()
    for place in sorted(range(len(new)), key=lambda place: -values[place]):  # stable, as that of the search is
        if left[new[place]] > 0:
            left[new[place]] -= 1
            chosen.add(place)
    return chosen


def _wrong(element: Element, why: str) -> TraceError:
    return element.wrong(f"a problem that was searched, for {why}", EXPECTED)


def _texts(held: Any) -> TypeGuard[list[str]]:
    return isinstance(held, list) and all(isinstance(text, str) for text in held)


def _value(held: Any) -> bool:
    return type(held) in (int, float) and abs(held) <= LARGEST  # and no NaN
