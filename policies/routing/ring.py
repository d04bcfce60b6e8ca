"""Consistent hashing: instances on a ring, and keys that belong to them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b
from typing import Annotated

from tiersim._base.params import Param
from tiersim.policies.routing.contract import Asked

__all__ = ["Points", "Ring", "hashed", "hashes", "key_of", "key_of_blocks", "owner_key"]

Points = Annotated[int, Param("of each instance on the ring", unit="count", ge=1, source="libketama")]


class Ring:
    """Instances at several points each; a key belongs to the first point at or after its own.

    Who joins takes keys from others and moves none between them; who leaves gives away only his own (Karger et al.,
    STOC 1997). With one point each, of eight instances one would own a quarter of the keys.
    """

    def __init__(self, members: Sequence[int], points: int) -> None:
        placed = sorted((hashed(f"{member} {point}"), member) for member in members for point in range(points))
        self.places = [place for place, _ in placed]
        self.owners = [member for _, member in placed]
        place = {member: place for place, member in enumerate(members)}
        self.numbers = [place[member] for member in self.owners]

    def owner(self, key: str, draw: int = 0) -> int:
        """Whose a key is; other draws put it at other points, independently."""
        return self.owners[self._at(key, draw)]

    def place(self, key: str, draw: int = 0) -> int:
        """Which of the members that is, by its place among them."""
        return self.numbers[self._at(key, draw)]

    def _at(self, key: str, draw: int) -> int:
        return bisect_left(self.places, hashed(key, draw)) % len(self.places)


def hashed(text: str, draw: int = 0) -> int:
    """64 bits that are the same in every process, unlike Python's own hash of a text."""
    held = _salted(draw).copy()
    held.update(text.encode())
    return int.from_bytes(held.digest(), "big")


def hashes(text: str, ends: Iterable[bytes]) -> list[bytes]:
    """The same, as eight bytes, of a text with each of these ends."""
    begun, found = _salted(0).copy(), []
    begun.update(text.encode())
    another = begun.copy
    for end in ends:
        held = another()
        held.update(end)
        found.append(held.digest())
    return found


@cache
def _salted(draw: int) -> blake2b:
    """To be copied: to begin anew takes twice as long."""
    return blake2b(digest_size=8, salt=draw.to_bytes(8, "big"))


def key_of(request: Asked, prefix: int) -> str:
    """The first blocks of a prompt; without blocks who sent it."""
    blocks = request.blocks
    return key_of_blocks(blocks[:prefix]) if len(blocks) else owner_key(request)


def key_of_blocks(blocks: Sequence[int]) -> str:
    """The same of these blocks."""
    return f"blocks {' '.join(map(str, blocks))}"


def owner_key(request: Asked) -> str:
    """The session of a request; where it is not known, the request itself."""
    return f"session {request.session}" if request.session >= 0 else f"request {request.number}"
