"""One server of the plain model, one iteration at a time; slow and plain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.oracles.serving_cache import Policy, PrefixCache
from tests.oracles.serving_tiers import Behind, LinkSaid, TierSaid

__all__ = ["Clock", "Instance", "Job", "Memory"]

Clock = Callable[[int, int, int, int, int, int, int], int]


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
    links: Sequence[LinkSaid] = ()
    tiers: Sequence[TierSaid] = ()
    write: Literal["through", "eviction"] = "through"
    swap: int = 0
    swap_link: int = 0
    max_waiting: int = 0
    hold: bool = False


@dataclass(eq=False)
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
    loading: bool = False
    ready_at: int = 0  # when what it loads is here
    swapped: int = 0  # pages that it has elsewhere
    come: int = 0  # when they have come there
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
    ready: int = -1
    fetched: int = 0  # tokens
    preemptions: int = 0
    swaps: int = 0
    rejected: bool = False
    refused: bool = False
    tokens: list[int] = field(default_factory=list)  # when each was there

    @property
    def whole(self) -> int:
        """The tokens that are to be computed before the next one is made."""
        return self.prompt + self.made


class Instance:
    """One server."""

    def __init__(self, memory: Memory, clock: Clock, policy: Policy | None, behind: Behind | None = None) -> None:
        self.memory, self.clock = memory, clock
        self.cache = PrefixCache(policy, memory.apart)
        self.cached = policy is not None
        self.inside = self.cached and memory.apart is None
        self.behind = behind if behind is not None else Behind([], [], 0)
        self.cache.leaves = self.block_leaves
        self.here: dict[int, int] = {}  # when fetched blocks are in the memory
        self.running: list[Job] = []  # those that load among them
        self.waiting: list[Job] = []
        self.moved: list[Job] = []  # have come over, and wait
        self.held: list[Job] = []
        self.ready: int | None = None  # when it plans next
        self.busy: tuple[int, int] | None = None  # the iteration under way: its start and its end
        self.decodes: list[Job] = []
        self.prefills: list[tuple[Job, int]] = []
        self.seen = 0  # when something happened last
        self.sums = dict.fromkeys(("waiting", "running", "loading", "pages", "blocks", "swapped"), 0)  # over time
        self.happened: Counter[str] = Counter()

    def see(self, now: int) -> None:
        """Sum what there was since the last event."""
        there = self.view() | {"loading": sum(job.loading for job in self.running), "swapped": self.swapped}
        for name in self.sums:
            self.sums[name] += there[name] * (now - self.seen)
        self.behind.see(now)
        self.seen = now
        assert self.free >= 0
        assert self.swapped <= self.memory.swap

    def wake(self, now: int) -> None:
        """It plans at a time, if no iteration is under way."""
        if self.busy is None:
            self.ready = now if self.ready is None else min(now, self.ready)

    # memory

    def pages_of(self, tokens: int) -> int:
        return -(-tokens // self.memory.page)

    @property
    def a_block(self) -> int:
        return self.memory.block // self.memory.page if self.inside else 0

    @property
    def taken(self) -> int:
        """Pages that requests and cached blocks take."""
        return sum(job.own for job in [*self.running, *self.held]) + len(self.cache.parent) * self.a_block

    @property
    def free(self) -> int:
        return self.memory.pages - self.taken

    @property
    def evictable(self) -> int:
        """Pages of blocks that nobody uses."""
        return (len(self.cache.parent) - len(self.cache.users)) * self.a_block

    @property
    def swapped(self) -> int:
        """Pages that are elsewhere."""
        return sum(job.swapped for job in [*self.running, *self.waiting])

    def has_room(self, pages: int, used: int = 0) -> bool:
        """Whether a request may be admitted that needs pages, and uses some that could be evicted otherwise."""
        reserve = self.memory.reserve if self.running else 0
        return pages + reserve <= self.free + self.evictable - used

    def take(self, job: Job, pages: int) -> None:
        """Pages for a request, for which blocks are evicted; there are enough of both."""
        while self.free < pages:
            self.cache.evict()
        job.own += pages

    def own_tokens(self, job: Job, tokens: int) -> int:
        """Those of its tokens that lie in pages of its own."""
        return tokens - len(job.pins) * self.memory.block

    def block_leaves(self, x: int) -> None:
        self.here.pop(x, None)
        if self.memory.write == "eviction":
            self.behind.put(x, self.seen)

    # hits

    def hit_of(self, job: Job) -> tuple[int, int]:
        """Blocks that it would hit now: those that are cached, and all."""
        if not self.cached or job.swapped:
            return 0, 0
        blocks = job.blocks[: min(job.prompt, job.whole - 1) // self.memory.block]
        near = self.cache.run(blocks)
        return near, near + self.behind.run(blocks[near:])

    # planning

    def plan(self, now: int) -> None:
        self.see(now)
        self.decodes, self.prefills = [], []
        self.come_back(now)
        self.admit_moved(now)
        if self.memory.chunked:
            preempted = self.plan_decodes()
            left = self.plan_prefills(self.memory.budget - len(self.decodes))
            left = self.begin(now, left)
            if not preempted:
                self.admit(now, left)
        else:
            self.admit(now, self.begin(now, self.memory.budget))
            if not self.prefills:
                self.plan_decodes()
        self.ready = None
        loading = [job.ready_at for job in self.running if job.loading]
        if self.decodes or self.prefills:
            self.busy = (now, now + self.duration())
        elif loading:
            self.ready = max(now, min(loading))
        else:
            assert not self.running
            assert not self.moved
            assert not self.waiting or self.held

    def come_back(self, now: int) -> None:
        """Those that were swapped, and are here again, go on."""
        for job in self.running:
            if job.swapped and job.ready_at <= now:
                job.swapped, job.loading, job.complete = 0, False, True

    def admit_moved(self, now: int) -> None:
        """Those that have come over are in decode at once."""
        while self.moved and len(self.running) < self.memory.max_requests:
            job = self.moved[0]
            pages = self.pages_of(job.prompt)
            if not self.has_room(pages):
                return
            self.moved.pop(0)
            self.running.append(job)
            self.take(job, pages)
            job.complete = True
            job.admitted = job.ready = now

    def plan_decodes(self) -> bool:
        preempted: list[Job] = []
        for job in [job for job in self.running if job.complete]:  # a swapped one is not, while it loads
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
        stored = self.pages_of(job.prompt + job.made - 1)
        if job.complete and self.swapped + stored <= self.memory.swap:
            job.swapped = stored
            job.come = self.behind.links[self.memory.swap_link].ask("store", stored, self.seen)
            job.swaps += 1
        elif job.complete and self.memory.swap:
            self.happened["no room in the swap"] += 1
        self.happened["preempted while it loads"] += job.loading and not job.swapped
        self.happened["preempted while it comes back"] += job.loading and job.swapped > 0
        self.give_back(job)
        self.running.remove(job)
        self.waiting.insert(0, job)
        job.done, job.complete, job.loading, job.hit = 0, False, False, 0
        job.preemptions += 1

    def plan_prefills(self, left: int) -> int:
        for job in self.running:
            if not job.complete and not job.loading:
                part = min(left, job.whole - job.done)
                if part:
                    self.prefills.append((job, part))
                left -= part
        return left

    def begin(self, now: int, left: int) -> int:
        """Those whose hits are here begin to run."""
        for job in self.running:
            if not job.loading or job.swapped or job.ready_at > now:
                continue
            rest = job.whole - job.done
            if left <= 0 or (not self.memory.chunked and rest > left and self.prefills):
                self.happened["ready, and no budget"] += 1
                break
            job.loading = False
            part = min(left, rest) if self.memory.chunked else rest
            self.prefills.append((job, part))
            left -= part
        return left

    def admit(self, now: int, left: int) -> None:
        while left > 0 and len(self.running) < self.memory.max_requests and self.waiting:
            job = self.waiting[0]
            if not (self.may_return(job) if job.swapped else self.may_enter(job, now, left)):
                self.happened["waited for memory that was held"] += bool(self.held)
                return
            self.waiting.pop(0)
            if job.swapped:
                self.return_(job, now)
            else:
                self.enter(job, now)
            if job.admitted < 0:
                job.admitted, job.hit_tokens, job.ready = now, job.done, job.ready_at
            if not job.loading:
                rest = job.whole - job.done
                part = min(left, rest) if self.memory.chunked else rest
                self.prefills.append((job, part))
                left -= part

    def may_return(self, job: Job) -> bool:
        return self.has_room(job.swapped)

    def return_(self, job: Job, now: int) -> None:
        """One that was swapped is admitted again."""
        self.running.append(job)
        self.take(job, job.swapped)
        link = self.behind.links[self.memory.swap_link]
        job.loading, job.ready_at = True, link.ask("load", job.swapped, max(now, job.come))

    def must_load(self, job: Job, now: int) -> bool:
        """Whether it would fetch something, or what it hits is not here yet."""
        near, hit = self.hit_of(job)
        return hit > near or any(self.here.get(x, now) > now for x in job.blocks[:near])

    def pages_for(self, job: Job) -> int:
        """Pages that it needs, behind the blocks of its hit that are in the memory."""
        return self.pages_of(job.whole - (self.hit_of(job)[0] * self.memory.block if self.inside else 0))

    def may_enter(self, job: Job, now: int, left: int) -> bool:
        near, hit = self.hit_of(job)
        fits = job.whole - hit * self.memory.block <= left or not self.prefills
        if not self.memory.chunked and not fits and not self.must_load(job, now):
            return False
        unused = sum(x not in self.cache.users for x in job.blocks[:near])
        return self.has_room(self.pages_for(job), unused * self.a_block)

    def enter(self, job: Job, now: int) -> None:
        """A request is admitted whose prompt is to be computed, behind its hit."""
        near, hit = self.hit_of(job)
        pages, job.loading = self.pages_for(job), self.must_load(job, now)
        for x in reversed(job.blocks[:near]):
            self.cache.touch(x)
            if self.inside:
                self.cache.pin(x)
        if self.inside:
            job.pins = job.blocks[:near]
        here = self.behind.fetch(job.blocks[near:hit], now)
        self.running.append(job)
        self.take(job, pages)
        for k in range(hit - 1, near - 1, -1):
            self.own_enters(job, k)
        if self.inside:
            job.pins = job.blocks[:hit]
        self.here |= here
        job.ready_at = max([now, *(self.here.get(x, now) for x in job.blocks[:hit])])
        self.happened["hits what another one fetches"] += any(self.here.get(x, now) > now for x in job.blocks[:near])
        job.hit, job.done = hit, hit * self.memory.block
        if job.admitted < 0:
            job.fetched = (hit - near) * self.memory.block

    def own_enters(self, job: Job, k: int) -> None:
        """A block that lies in a request's own pages enters the prefix cache, and is pinned."""
        job.own -= self.a_block
        self.cache.enter(job.blocks[k], job.blocks[k - 1] if k else -1)
        self.cache.pin(job.blocks[k])

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
        parts = dict(self.prefills)
        over = []
        for job in list(self.running):
            made = job in self.decodes
            if job in parts:
                job.done += parts[job]
                if job.done == job.whole:
                    job.complete = made = True
                    self.keep_prompt(job)
            if made:
                job.made += 1
                job.tokens.append(now)
                job.first = now if job.made == 1 else job.first
            if job.made == (1 if self.memory.hold else job.answer):
                assert job.end < 0
                job.end = now
                self.running.remove(job)
                if job.made < job.answer:
                    self.held.append(job)
                else:
                    self.give_back(job)
                over.append(job)
        if self.running or self.waiting or self.moved:
            self.ready = now
        return over

    def keep_prompt(self, job: Job) -> None:
        """The whole blocks of a prompt go to the prefix cache."""
        if not self.cached:
            return
        whole = job.blocks[: job.prompt // self.memory.block]
        if self.memory.write == "through":
            for x in reversed(whole):
                self.behind.put(x, self.seen)
        for k in range(len(whole) - 1, -1, -1):
            x = whole[k]
            if x not in self.cache.parent:
                if self.inside:
                    self.own_enters(job, k)
                else:
                    self.cache.enter(x, whole[k - 1] if k else -1)
            elif k >= job.hit:
                self.cache.touch(x)
                if self.inside:
                    self.cache.pin(x)
                    job.own -= self.a_block
        if self.inside:
            job.pins = whole

    def give_back(self, job: Job) -> None:
        job.own = 0
        for x in reversed(job.pins):
            self.cache.unpin(x)
        job.pins = []

    def release(self, job: Job, now: int) -> None:
        """The memory of a request that has moved is given back."""
        self.see(now)
        self.held.remove(job)
        self.give_back(job)
        self.wake(now)

    def view(self) -> dict[str, int]:
        waiting = [job for job in self.waiting if not job.swapped]
        before = [job for job in self.running if not job.complete and not job.swapped]
        return {
            "waiting": len(self.waiting) + len(self.moved),
            "running": len(self.running),
            "prompts": sum(job.whole for job in [*waiting, *before]),
            "pending": sum(job.whole - job.routed_hit for job in waiting) + sum(job.whole - job.done for job in before),
            "pages": self.taken,
            "blocks": len(self.cache.parent),
        }
