"""What lies behind the memory of a server: links and tiers, as docs/explanation/serving-tiers.md says it; plain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.oracles.serving_cache import Policy

__all__ = ["Behind", "Link", "LinkSaid", "Tier", "TierSaid"]


@dataclass
class LinkSaid:
    """What a link is: the times of a page towards the memory and away from it."""

    load: int
    store: int
    latency: int = 0
    shared: bool = False


@dataclass
class TierSaid:
    """What a tier is: how many blocks it may hold, and its link's place among those of the server."""

    blocks: int
    link: int
    shared: bool = False


def both() -> dict[str, int]:
    return {"load": 0, "store": 0}


@dataclass
class Link:
    """A link; what it has moved and how long that took."""

    said: LinkSaid
    free: dict[str, int] = field(default_factory=both)  # when, each way
    pages: dict[str, int] = field(default_factory=both)
    busy: dict[str, int] = field(default_factory=both)
    waits: int = 0  # how often it was not free

    def ask(self, way: str, pages: int, at: int) -> int:
        """When so many pages that are asked for at a time are there."""
        self.waits += at < self.free[way]
        took = pages * (self.said.load if way == "load" else self.said.store)
        self.free[way] = max(at, self.free[way]) + took
        self.pages[way] += pages
        self.busy[way] += took
        return self.free[way] + self.said.latency


class Tier:
    """A cache of blocks that knows no tree."""

    def __init__(self, said: TierSaid, policy: Policy) -> None:
        self.said, self.policy = said, policy
        self.come: dict[int, int] = {}  # when each block has come, or will have
        self.now = 0  # what the policy was told
        self.left: Callable[[int], None] = getattr(policy, "left", lambda x: None)
        self.seen = self.sum = 0
        self.counts = {"fetched": 0, "put": 0, "left": 0}
        self.waits = 0  # fetches of what had not come yet

    def see(self, now: int) -> None:
        self.sum += len(self.come) * (now - self.seen)
        self.seen = now

    def touch(self, x: int) -> None:
        self.policy.touch(x, self.now)
        self.now += 1

    def make_room(self, x: int) -> int | None:
        """Who leaves for a block: it may be the block itself."""
        if len(self.come) < self.said.blocks:
            return None
        victim = self.policy.victim(x, self.now)
        if victim == x:
            self.now += 1
        else:
            assert victim in self.come
            self.policy.evict(victim, self.now)
            del self.come[victim]
            self.counts["left"] += 1
        self.left(victim)
        return victim

    def insert(self, x: int, come: int) -> None:
        self.policy.insert(x, self.now)
        self.now += 1
        self.come[x] = come
        self.counts["put"] += 1
        assert len(self.come) <= self.said.blocks


class Behind:
    """The tiers that an instance has, nearest first, and its links; either may be those of others too."""

    def __init__(self, tiers: Sequence[Tier], links: Sequence[Link], pages: int) -> None:
        self.tiers, self.links, self.pages = tiers, links, pages  # of a block

    def nearest(self, x: int) -> Tier | None:
        return next((tier for tier in self.tiers if x in tier.come), None)

    def run(self, blocks: Sequence[int]) -> int:
        """How many of these, from the first on, are in tiers."""
        return next((k for k, x in enumerate(blocks) if self.nearest(x) is None), len(blocks))

    def fetch(self, blocks: Sequence[int], now: int) -> dict[int, int]:
        """Blocks, first to last, that are all in tiers: when each is in the memory."""
        here: dict[int, int] = {}
        for tier in self.tiers:
            found = [x for x in reversed(blocks) if self.nearest(x) is tier]
            if not found:
                continue
            for x in found:
                tier.touch(x)
            at = max(now, *(tier.come[x] for x in found))
            tier.waits += at > now
            here |= dict.fromkeys(found, self.links[tier.said.link].ask("load", len(found) * self.pages, at))
            tier.counts["fetched"] += len(found)
        return here

    def put(self, x: int, now: int, place: int = 0) -> None:
        """A block goes to a tier, or, if that would not have it, to one behind it."""
        if place == len(self.tiers):
            return
        tier = self.tiers[place]
        if x in tier.come:
            tier.touch(x)
            return
        if hasattr(tier.policy, "miss"):
            tier.policy.miss(x, tier.now)
        while (leaves := tier.make_room(x)) is not None:
            self.put(leaves, now, place + 1)
            if leaves == x:
                return
        tier.insert(x, self.links[tier.said.link].ask("store", self.pages, now))

    def see(self, now: int) -> None:
        for tier in self.tiers:
            tier.see(now)
