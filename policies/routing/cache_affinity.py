"""By a hash of how the prompt begins."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View


@register(
    "cache-affinity",
    family="routing",
    aliases=("consistent-hash",),
    paper="Karger et al., Consistent hashing and random trees, STOC 1997, doi:10.1145/258533.258660",
)
class CacheAffinity:
    """Sends equal beginnings of prompts to the same instance, by consistent hashing, whatever the load.

    The key is the first blocks of the prompt; without blocks it is the session, and without that the request.
    """

    prefix: Annotated[int, Param("blocks of the key", unit="count", ge=1, source="most of DualMap's requests")] = 2
    points: Annotated[int, Param("of each instance on the ring", unit="count", ge=1, source="libketama")] = 160

    def start(self, instances: int, seed: int) -> None:
        self.ring = sorted(
            (_hash(f"{node} {point}"), node) for node in range(instances) for point in range(self.points)
        )

    def route(self, request: Asked, view: View) -> int:
        blocks = request.blocks[: self.prefix]
        if len(blocks):
            key = f"blocks {' '.join(map(str, blocks))}"
        else:
            key = f"session {request.session}" if request.session >= 0 else f"request {request.number}"
        return self.ring[bisect_left(self.ring, (_hash(key), -1)) % len(self.ring)][1]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
