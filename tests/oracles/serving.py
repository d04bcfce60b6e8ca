"""Servers of language models, one iteration at a time, as docs/explanation/serving.md says it; slow and plain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import getattr_static, signature
from typing import Any, Protocol

__all__ = ["Cluster", "Fifo", "Job", "Lfu", "Lru", "Memory", "Policy", "Verbs"]

Clock = Callable[[int, int, int, int, int, int, int], int]


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


@dataclass
class Memory:
    """What one instance is. ``apart`` is the capacity of a prefix cache of its own, None for one in the memory."""

    pages: int
    page: int
    max_requests: int
    budget: int
    chunked: bool = True
    reserve: int = 0
    block: int = 0
    apart: int | None = None


@dataclass
class Job:
    """A request, what it has, and what becomes of it."""

    number: int
    arrival: int
    prompt: int
    answer: int
    blocks: list[int] = field(default_factory=list)
    made: int = 0  # tokens of the answer
    done: int = 0  # tokens of the prompt, made ones included, that are computed or were hit
    complete: bool = False
    own: int = 0  # pages
    pins: list[int] = field(default_factory=list)
    hit: int = 0  # blocks, at the admission that counts now
    routed_hit: int = 0  # tokens
    instance: int = -1
    routed: int = -1
    admitted: int = -1
    first: int = -1
    end: int = -1
    hit_tokens: int = 0
    preemptions: int = 0
    rejected: bool = False
    tokens: list[int] = field(default_factory=list)  # when each was there

    @property
    def whole(self) -> int:
        """The tokens that are to be computed before the next one is made."""
        return self.prompt + self.made


class PrefixCache:
    """The cached blocks of one instance; ``room`` is how many it may hold, where it has memory of its own."""

    def __init__(self, policy: Policy | None, room: int | None) -> None:
        self.policy, self.room = policy, room
        self.parent: dict[int, int] = {}  # of the cached blocks, in the order in which they entered
        self.users: dict[int, int] = {}
        self.withheld: set[int] = set()
        self.now = 0
        self.left: Callable[[int], None] = getattr(policy, "left", lambda x: None)

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


class Instance:
    """One server."""

    def __init__(self, memory: Memory, clock: Clock, policy: Policy | None) -> None:
        self.memory, self.clock = memory, clock
        self.cache = PrefixCache(policy, memory.apart)
        self.cached = policy is not None
        self.inside = self.cached and memory.apart is None
        self.running: list[Job] = []
        self.waiting: list[Job] = []
        self.ready: int | None = None  # when it plans next
        self.busy: tuple[int, int] | None = None  # the iteration under way: its start and its end
        self.decodes: list[Job] = []
        self.prefills: list[tuple[Job, int]] = []
        self.seen = 0
        self.sums = {"waiting": 0, "running": 0, "pages": 0, "blocks": 0}  # over time

    def see(self, now: int) -> None:
        """Sum what there was since the last event."""
        view = self.view()
        for name in self.sums:
            self.sums[name] += view[name] * (now - self.seen)
        self.seen = now

    # memory

    def pages_of(self, tokens: int) -> int:
        return -(-tokens // self.memory.page)

    @property
    def a_block(self) -> int:
        return self.memory.block // self.memory.page if self.inside else 0

    @property
    def taken(self) -> int:
        """Pages that requests and cached blocks take."""
        return sum(job.own for job in self.running) + len(self.cache.parent) * self.a_block

    @property
    def free(self) -> int:
        return self.memory.pages - self.taken

    @property
    def evictable(self) -> int:
        """Pages of blocks that nobody uses."""
        return (len(self.cache.parent) - len(self.cache.users)) * self.a_block

    def take(self, job: Job, pages: int) -> None:
        """Pages for a request, for which blocks are evicted; there are enough of both."""
        while self.free < pages:
            self.cache.evict()
        job.own += pages

    def own_tokens(self, job: Job, tokens: int) -> int:
        """Those of its tokens that lie in pages of its own."""
        return tokens - len(job.pins) * self.memory.block

    # hits

    def hit_of(self, job: Job) -> int:
        """Blocks that it would hit now."""
        if not self.cached:
            return 0
        most = min(job.prompt, job.whole - 1) // self.memory.block
        return self.cache.run(job.blocks[:most])

    # planning

    def plan(self, now: int) -> None:
        self.see(now)
        self.decodes, self.prefills = [], []
        if self.memory.chunked:
            preempted = self.plan_decodes()
            left = self.plan_prefills(self.memory.budget - len(self.decodes))
            if not preempted:
                self.admit(now, left)
        else:
            self.admit(now, self.memory.budget)
            if not self.prefills:
                self.plan_decodes()
        self.ready = None
        if self.decodes or self.prefills:
            self.busy = (now, now + self.duration())
        else:
            assert not self.running
            assert not self.waiting

    def plan_decodes(self) -> bool:
        preempted: list[Job] = []
        for job in [job for job in self.running if job.complete]:
            if job in preempted:
                continue
            more = self.pages_of(self.own_tokens(job, job.prompt + job.made)) - job.own
            while job not in preempted and self.free + self.evictable < more:
                last = self.running[-1]
                preempted.append(last)
                self.preempt(last)
            if job not in preempted:
                self.take(job, more)
                self.decodes.append(job)
        return bool(preempted)

    def preempt(self, job: Job) -> None:
        self.give_back(job)
        self.running.remove(job)
        self.waiting.insert(0, job)
        job.done, job.complete, job.hit = 0, False, 0
        job.preemptions += 1

    def plan_prefills(self, left: int) -> int:
        for job in self.running:
            if not job.complete:
                part = min(left, job.whole - job.done)
                if part:
                    self.prefills.append((job, part))
                left -= part
        return left

    def admit(self, now: int, left: int) -> None:
        while left > 0 and len(self.running) < self.memory.max_requests and self.waiting:
            job = self.waiting[0]
            hit = self.hit_of(job)
            rest = job.whole - hit * self.memory.block
            if not self.memory.chunked and rest > left and self.prefills:
                return
            pages = self.pages_of(rest if self.inside else job.whole)
            fresh = sum(x not in self.cache.users for x in job.blocks[:hit]) * self.a_block
            reserve = self.memory.reserve if self.running else 0
            if pages + reserve > self.free + self.evictable - fresh:
                return
            self.waiting.pop(0)
            for x in reversed(job.blocks[:hit]):
                self.cache.touch(x)
                if self.inside:
                    self.cache.pin(x)
            if self.inside:
                job.pins = job.blocks[:hit]
            self.running.append(job)
            self.take(job, pages)
            job.hit, job.done = hit, hit * self.memory.block
            if job.admitted < 0:
                job.admitted, job.hit_tokens = now, job.done
            part = min(left, rest) if self.memory.chunked else rest
            self.prefills.append((job, part))
            left -= part

    def duration(self) -> int:
        return self.clock(
            len(self.prefills),
            sum(part for _, part in self.prefills),
            sum(part * (job.done + part) for job, part in self.prefills),
            sum(part * part for _, part in self.prefills),
            sum(job.done + part for job, part in self.prefills),
            len(self.decodes),
            sum(job.prompt + job.made for job in self.decodes),
        )

    # the end of an iteration

    def finish(self) -> list[Job]:
        """What an iteration has done; returns the requests that are finished."""
        assert self.busy is not None
        now, self.busy = self.busy[1], None
        self.see(now)
        parts = {job.number: part for job, part in self.prefills}
        over = []
        for job in list(self.running):
            made = job in self.decodes
            if job.number in parts:
                job.done += parts[job.number]
                if job.done == job.whole:
                    job.complete = made = True
                    self.keep_prompt(job)
            if made:
                job.made += 1
                job.tokens.append(now)
                job.first = now if job.made == 1 else job.first
            if job.made == job.answer:
                job.end = now
                self.give_back(job)
                self.running.remove(job)
                over.append(job)
        if self.running or self.waiting:
            self.ready = now
        return over

    def keep_prompt(self, job: Job) -> None:
        """The whole blocks of a prompt go to the prefix cache."""
        if not self.cached:
            return
        whole = job.blocks[: job.prompt // self.memory.block]
        for k in range(len(whole) - 1, -1, -1):
            x, parent = whole[k], whole[k - 1] if k else -1
            if x in self.cache.parent:
                if k >= job.hit:
                    self.cache.touch(x)
            elif self.memory.apart != 0:
                if self.inside:
                    job.own -= self.a_block
                self.cache.enter(x, parent)
                if self.inside:
                    self.cache.pin(x)
                continue
            if self.inside and k >= job.hit:
                self.cache.pin(x)
                job.own -= self.a_block
        if self.inside:
            job.pins = whole

    def give_back(self, job: Job) -> None:
        job.own = 0
        for x in reversed(job.pins):
            self.cache.unpin(x)
        job.pins = []

    def view(self) -> dict[str, int]:
        before = [job for job in self.running if not job.complete]
        return {
            "waiting": len(self.waiting),
            "running": len(self.running),
            "prompts": sum(job.whole for job in [*self.waiting, *before]),
            "pending": sum(job.whole - job.routed_hit for job in self.waiting)
            + sum(job.whole - job.done for job in before),
            "pages": self.taken,
            "blocks": len(self.cache.parent),
        }


class Cluster:
    """Some instances; ``advance`` lets all that happens before a time happen, in the order of time."""

    def __init__(self, memory: Memory, count: int, clock: Clock, policy: Callable[[int], Policy | None]) -> None:
        self.instances = [Instance(memory, clock, policy(k)) for k in range(count)]
        self.jobs: list[Job] = []

    def submit(self, job: Job, instance: int, now: int) -> None:
        where = self.instances[instance]
        job.instance, job.routed, job.number = instance, now, len(self.jobs)
        self.jobs.append(job)
        if where.pages_of(job.prompt + job.answer - 1) > where.memory.pages:
            job.rejected = True
            return
        job.routed_hit = where.hit_of(job) * where.memory.block
        where.see(now)
        where.waiting.append(job)
        if where.busy is None and where.ready is None:
            where.ready = now

    def cached(self, job: Job) -> list[int]:
        """How many tokens of a request each instance has cached."""
        return [where.hit_of(job) * where.memory.block for where in self.instances]

    def advance(self, until: int | None, until_end: bool = False) -> int | None:
        """All that happens before a time (None: all); or up to the first end of a request, which is returned."""
        while True:
            coming: list[tuple[int, int, int]] = []
            for k, where in enumerate(self.instances):
                if where.busy is not None:
                    coming.append((where.busy[1], 0, k))
                elif where.ready is not None:
                    coming.append((where.ready, 1, k))
            if not coming or (until is not None and min(coming)[0] >= until):
                return None
            now, plans, k = min(coming)
            if plans:
                self.instances[k].plan(now)
            elif self.instances[k].finish() and until_end:
                return now

    def view(self) -> list[dict[str, int]]:
        return [where.view() for where in self.instances]
