"""The instances that a prompt may go to in DualMap: a key that adapts, hashed several times onto a ring."""

from __future__ import annotations

from collections.abc import Sequence

from tiersim.policies.routing.contract import Asked
from tiersim.policies.routing.prefix_table import PrefixTable
from tiersim.policies.routing.ring import Ring, key_of_blocks, owner_key

__all__ = ["Candidates"]


class Candidates:
    """So many different instances for each key, as places among the members, the first hash's first.

    A hash that falls on an instance that is there already is moved to the next one.
    """

    def __init__(self, members: Sequence[int], count: int, points: int, table: PrefixTable) -> None:
        self.members, self.count, self.table = len(members), min(count, len(members)), table
        self.ring = Ring(members, points)
        self.known: dict[int, list[int]] = {}  # by the last block of the key

    def of(self, request: Asked) -> list[int]:
        """The candidates of a request, which counts as one more with its key."""
        blocks = request.blocks
        if not len(blocks):
            return self._hashed(owner_key(request))
        depth = self.table.key(blocks)
        last = blocks[depth - 1]
        found = self.known.get(last)
        if found is None:
            found = self.known[last] = self._hashed(key_of_blocks(blocks[:depth]))
        return found

    def _hashed(self, key: str) -> list[int]:
        found: list[int] = []
        for draw in range(self.count):
            place = self.ring.place(key, draw)
            while place in found:
                place = (place + 1) % self.members
            found.append(place)
        return found
