"""Prefix caches of the plain model of servers, and the policies that rule them and the tiers; slow and plain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import getattr_static, signature
from typing import Any, Protocol

__all__ = ["Fifo", "Lfu", "Lru", "Policy", "PrefixCache", "Verbs"]


class Policy(Protocol):
    """Who leaves a prefix cache; ``now`` counts what it was told."""

    def touch(self, x: int, now: int) -> None: ...
    def insert(self, x: int, now: int) -> None: ...
    def victim(self, asked: int, now: int) -> int: ...
    def evict(self, x: int, now: int) -> None: ...
    def remove(self, x: int, now: int) -> None: ...


class Lru:
    """Blocks in a list, the one used longest ago first."""

    def __init__(self) -> None:
        self.held: list[int] = []

    def touch(self, x: int, now: int) -> None:
        self.held.remove(x)
        self.held.append(x)

    def insert(self, x: int, now: int) -> None:
        assert x not in self.held
        self.held.append(x)

    def victim(self, asked: int, now: int) -> int:
        return self.held[0]

    def evict(self, x: int, now: int) -> None:
        self.held.remove(x)

    remove = evict


class Fifo(Lru):
    """Blocks in a list, the one that entered longest ago first."""

    def touch(self, x: int, now: int) -> None:
        assert x in self.held


class Lfu:
    """Uses since the entry and the last one, by block."""

    def __init__(self) -> None:
        self.uses: dict[int, tuple[int, int]] = {}

    def touch(self, x: int, now: int) -> None:
        self.uses[x] = (self.uses[x][0] + 1, now)

    def insert(self, x: int, now: int) -> None:
        assert x not in self.uses
        self.uses[x] = (1, now)

    def victim(self, asked: int, now: int) -> int:
        return min(self.uses, key=lambda x: self.uses[x])

    def evict(self, x: int, now: int) -> None:
        del self.uses[x]

    remove = evict


class Verbs:
    """Any policy of the package by its own verbs, run as plain Python.

    Blocks are numbered by first entry; when there are no more numbers, one that enters takes that of the block that has
    left for longest.
    """

    def __init__(self, policy: Any, objects: int, capacity: int, seed: int) -> None:
        given = {"objects": objects, "capacity": capacity, "most": max(1, min(objects, capacity)), "seed": seed}
        given |= {"requests": (1 << 31) - 1, "unit": True}
        state = policy.state(*(given[name] for name in signature(policy.state).parameters))
        self.known = {name: array.reshape(-1).tolist() for name, array in state.items()}
        self.known |= vars(policy) | {"objects": objects, "capacity": capacity, "size": 1, "cost": 1.0}
        self.known["sizes"] = [1] * objects
        self.cls, self.count = type(policy), 0
        self.names: dict[int, int] = {}
        self.gone: list[int] = []

    def left(self, block: int) -> None:
        self.gone.append(block)

    def name(self, block: int) -> int:
        if block in self.gone:
            self.gone.remove(block)
        elif block not in self.names:
            free = len(self.names) < self.known["objects"]
            self.names[block] = len(self.names) if free else self.names.pop(self.gone.pop(0))
        return self.names[block]

    def call(self, verb: str, block: int, now: int) -> Any:
        held = getattr_static(self.cls, verb, None)
        if held is None:
            return None
        x = self.name(block) if block >= 0 else -1
        known = self.known | {"x": x, "v": x, "now": now, "used": self.count}
        return held.__func__(*(known[name] for name in signature(held.__func__).parameters))

    def touch(self, x: int, now: int) -> None:
        self.call("touch", x, now)

    def insert(self, x: int, now: int) -> None:
        self.call("insert", x, now)
        self.count += 1

    def miss(self, x: int, now: int) -> None:
        self.call("miss", x, now)

    def victim(self, asked: int, now: int) -> int:
        name = self.call("victim", asked, now)
        return next(block for block, held in self.names.items() if held == name)

    def evict(self, x: int, now: int) -> None:
        self.call("evict" if hasattr(self.cls, "evict") else "remove", x, now)
        self.count -= 1

    def remove(self, x: int, now: int) -> None:
        self.call("remove", x, now)
        self.count -= 1


class PrefixCache:
    """The cached blocks of one instance; ``room`` is how many it may hold, where it has memory of its own."""

    def __init__(self, policy: Policy | None, room: int | None) -> None:
        self.policy, self.room = policy, room
        self.parent: dict[int, int] = {}  # of the cached blocks, in the order in which they entered
        self.users: dict[int, int] = {}
        self.withheld: set[int] = set()
        self.now = 0
        self.left: Callable[[int], None] = getattr(policy, "left", lambda x: None)
        self.leaves: Callable[[int], None] = lambda x: None

    def run(self, blocks: Sequence[int]) -> int:
        """How many of these, from the first on, are cached."""
        return next((k for k, x in enumerate(blocks) if x not in self.parent), len(blocks))

    def touch(self, x: int) -> None:
        if x not in self.withheld:
            assert self.policy is not None
            self.policy.touch(x, self.now)
            self.now += 1

    def enter(self, x: int, parent: int) -> None:
        assert self.policy is not None
        if hasattr(self.policy, "miss"):
            self.policy.miss(x, self.now)
        if self.room is not None:
            while len(self.parent) >= self.room:
                if not self.evict(x):
                    self.now += 1
                    self.leave_behind(x)
                    self.left(x)
                    return
        self.policy.insert(x, self.now)
        self.now += 1
        self.parent[x] = parent

    def evict(self, asked: int = -1) -> bool:
        """A block leaves, and all behind it; not if the policy would rather not have what is asked for."""
        assert self.policy is not None
        while True:
            x = self.policy.victim(asked, self.now)
            if x == asked and x not in self.parent:
                return False
            assert x in self.parent
            if x not in self.users:
                break
            self.policy.remove(x, self.now)
            self.withheld.add(x)
        self.leave_behind(x)
        self.policy.evict(x, self.now)
        del self.parent[x]
        self.left(x)
        self.leaves(x)
        return True

    def leave_behind(self, x: int) -> None:
        """All behind a block leave: of two branches the one that entered later first, of each the last block first."""
        assert self.policy is not None
        for child in reversed([child for child, parent in self.parent.items() if parent == x]):
            assert child not in self.users
            self.leave_behind(child)
            self.policy.remove(child, self.now)
            del self.parent[child]
            self.left(child)
            self.leaves(child)

    def pin(self, x: int) -> None:
        self.users[x] = self.users.get(x, 0) + 1

    def unpin(self, x: int) -> None:
        self.users[x] -= 1
        if not self.users[x]:
            del self.users[x]
            if x in self.withheld:
                self.withheld.remove(x)
                assert self.policy is not None
                if hasattr(self.policy, "miss"):
                    self.policy.miss(x, self.now)
                self.policy.insert(x, self.now)
                self.now += 1
