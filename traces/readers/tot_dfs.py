"""Depth-first searches of Tree of Thoughts."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Annotated, Any, ClassVar, Final

from tiersim._base.errors import TraceError
from tiersim._base.registry import register
from tiersim.traces.readers.arrays import Element, elements
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import Row, gathered
from tiersim.traces.readers.trees import CHARACTERS, estimated
from tiersim.traces.schema import KEPT, PRUNED, TREE, Chunk

KEYS: Final = (b'"total_step"', b'"actions"')
EXPECTED: Final = (
    'expected [{"total_step": number, "actions": [texts, from the root to the node], '
    '"count": {"impossible": number}}], each node once and after its parent'
)


@register("tot-dfs", family="reader", paper="https://doi.org/10.48550/arXiv.2305.10601")
class TotDfs:
    """Tree of Thoughts' logs of depth-first search (crosswords): a JSON array of puzzles, each the nodes visited.

    A node's ``actions`` are the path to it, of which the last is its own text; its parent has the others, and must be
    visited before. The log has no root, since no action leads to it: one without text is made, number 0 of each tree,
    as the clues are not in the log. Trees are numbered as the puzzles are, from 0; ``step`` is ``total_step`` plus 1,
    and 0 for the root. Pruned are the nodes that the model held ``impossible``, unless the search went on from one of
    them, for then it did not prune. The shares of right letters and words are no ``reward``: the search did not know
    them. Tokens are an estimate: characters over ``characters_per_token``, rounded up.
    """

    schema: ClassVar[str] = TREE.name

    characters_per_token: Annotated[float, CHARACTERS] = 4.0

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether an array of arrays begins here that have visited nodes."""
        inner = head.lstrip().removeprefix(b"[").lstrip()
        return head.lstrip().startswith(b"[") and inner.startswith(b"[") and all(key in head for key in KEYS)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every node. Raises TraceError with element, byte offset and what is wrong with which node."""
        yield from gathered(self._rows(stream, source), TREE)
        return 0

    def _rows(self, stream: ByteStream, source: str) -> Iterator[Row]:
        for element in elements(stream, source):
            for row in _nodes(element):
                yield row | {"tokens": estimated(row["text"], self.characters_per_token)}


def _nodes(element: Element) -> list[Row]:
    """The root of a puzzle, and its nodes in order."""
    if not isinstance(element.value, list):
        raise _wrong(element, "it is no list of nodes")
    tree = element.number - 1
    made: list[Row] = [{"tree": tree, "node": 0, "parent": -1, "step": 0, "text": "", "fate": KEPT}]
    places: dict[tuple[str, ...], int] = {(): 0}
    for number, held in enumerate(element.value):
        path, impossible = _path(held), _impossible(held)
        if path is None or impossible is None or held.get("total_step") != number:
            raise _wrong(element, f"its node {number:,} is none, or not numbered so")
        if path in places:
            raise _wrong(element, f"its node {number:,} was visited before")
        if path[:-1] not in places:
            raise _wrong(element, f"the parent of its node {number:,} was not visited before")
        parent = places[path[:-1]]
        places[path] = len(made)
        row = {"tree": tree, "node": len(made), "parent": parent, "step": number + 1, "text": path[-1]}
        made.append(row | {"fate": PRUNED if impossible else KEPT})
    if any(made[row["parent"]]["fate"] == PRUNED for row in made[1:]):
        made = [row | {"fate": KEPT} for row in made]
    return made


def _wrong(element: Element, why: str) -> TraceError:
    return element.wrong(f"a puzzle that was searched, for {why}", EXPECTED)


def _path(held: Any) -> tuple[str, ...] | None:
    path = held.get("actions") if isinstance(held, dict) else None
    if not isinstance(path, list) or not path or not all(isinstance(text, str) for text in path):
        return None
    return tuple(path)


def _impossible(held: Any) -> bool | None:
    count = held.get("count") if isinstance(held, dict) else None
    verdicts = count.get("impossible") if isinstance(count, dict) else None
    return verdicts > 0 if type(verdicts) is int else None
