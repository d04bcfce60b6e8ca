"""How many blocks of a prompt make its key: more where a prefix is hot."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

__all__ = ["PrefixTable"]

WINDOW = 200  # observations
LEAST = 20  # observations, up to which nothing is hot
CAPACITY = 10_000  # prefixes of each depth


class PrefixTable:
    """Prefixes that are extended by a block, because they were hot, and what was seen of prefixes lately.

    A prefix is known by its last block, since equal blocks follow equal prompts. Where a prefix has at least the share
    `hot` of what was seen lately it is extended. There are two ways to count (DualMap, arXiv 2602.06502):

    - `whole`, of the paper: a request is one observation, and counts for each prefix up to its key. Hot is a share
      above `hot`; an extended prefix whose share is below `cold` when a longer one is asked for is extended no more.
    - as the artifact does: a request counts for its key, and as a second observation for the prefix that is a block
      shorter. If that one is below `cold`, the key itself is extended no more. As it is no key where it is extended,
      this happens only to prompts that end with it: in practice nothing ever shrinks.
    """

    def __init__(self, hot: float, cold: float, *, whole: bool) -> None:
        self.hot, self.cold, self.whole = hot, cold, whole
        self.extended: list[OrderedDict[int, None]] = []  # by depth, the one used longest ago first
        self.seen: deque[Sequence[int]] = deque()
        self.counts: dict[int, int] = {}

    def key(self, blocks: Sequence[int]) -> int:
        """How many of the blocks are the key of a request, at least one; the request counts from now on."""
        depth = self._depth(blocks)
        (self._of_paper if self.whole else self._of_artifact)(blocks, depth)
        return depth

    def _depth(self, blocks: Sequence[int]) -> int:
        for depth, held in enumerate(self.extended[: len(blocks)]):
            if (last := blocks[depth]) not in held:
                return depth + 1
            held.move_to_end(last)
        return min(len(self.extended) + 1, len(blocks))

    def _of_paper(self, blocks: Sequence[int], depth: int) -> None:
        self._observe(blocks[:depth])
        if depth < len(blocks) and self._share(blocks[depth - 1]) > self.hot:
            self._extend(blocks[depth - 1], depth)
        if depth > 1 and self._share(blocks[depth - 2]) < self.cold:
            self.extended[depth - 2].pop(blocks[depth - 2], None)

    def _of_artifact(self, blocks: Sequence[int], depth: int) -> None:
        last = blocks[depth - 1]
        self._observe((last,))
        if depth < len(blocks) and self._share(last) >= self.hot:
            self._extend(last, depth)
        if depth > 1:
            self._observe((blocks[depth - 2],))
            if self._share(blocks[depth - 2]) < self.cold and depth <= len(self.extended):
                self.extended[depth - 1].pop(last, None)

    def _observe(self, prefixes: Sequence[int]) -> None:
        seen, counts = self.seen, self.counts
        seen.append(prefixes)
        for prefix in prefixes:
            counts[prefix] = counts.get(prefix, 0) + 1
        if len(seen) > WINDOW:
            for prefix in seen.popleft():
                left = counts[prefix] - 1
                if left:
                    counts[prefix] = left
                else:
                    del counts[prefix]

    def _share(self, prefix: int) -> float:
        return self.counts.get(prefix, 0) / len(self.seen) if len(self.seen) > LEAST else 0.0

    def _extend(self, prefix: int, depth: int) -> None:
        if depth > len(self.extended):
            self.extended.append(OrderedDict())
        held = self.extended[depth - 1]
        held[prefix] = None
        if len(held) > CAPACITY:
            held.popitem(last=False)
