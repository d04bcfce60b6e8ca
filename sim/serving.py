"""Servers of language models: continuous batching with prefix caches, compiled, for many instances at once.

What they do is specified in docs/explanation/serving.md and serving-tiers.md; `tiersim.sim.serving_loop` writes the
loop.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, PolicyError, StudyError
from tiersim._base.registry import build
from tiersim.sim import serving_loop
from tiersim.sim.object_replay import state_of
from tiersim.sim.prompts import Prompts
from tiersim.sim.serving_loop import CACHE, FAULTS, INSTANCE, LOG, NEVER, REQUEST, SETTINGS, SPLIT, VIEW
from tiersim.sim.serving_tiers import EXTRA, LINK, TIER, Beyond

__all__ = ["Engines", "Iterations", "Link", "Seen", "Served", "Server", "Tier"]

Numbers = NDArray[np.int64]

KEPT = 4  # names of blocks for each that the prefix cache may hold: what left is known for so long
LOG_ROOM, LOGGED, HALF, ENDED, FIRSTS, WRONG, WHOSE, FAULT, MASKS = map(
    SETTINGS.index, ("log_room", "logged", "half", "ended", "firsts", "wrong", "whose", "fault", "masked")
)
MASKED = 62  # instances that a mask has bits for
EVENTS = (1 << 31) - 1  # that a policy is told of, as far as its keys need to know
LOG_ROWS = 1 << 13
COLUMNS = {name: slice(place, None, len(VIEW)) for place, name in enumerate(VIEW)}
TIER_HEADER = (*INSTANCE, *TIER)
DAY = 86_400 * 10**12
# of headers, when an instance begins anew
KEPT_WORDS = {"bit", "seen", "fetched", "put", "gone", "loaded", "stored", "load_busy", "store_busy"}
ADVANCE, TO_AN_END, ROUTE, LOOK, HITS, COMPUTED, RELEASE, COMING, FAIL, DRAIN = range(
    10
)  # what `run` of the loop is asked


@dataclass(frozen=True)
class Link:
    """A way of pages to what lies behind the memory: picoseconds of a page each way, and until the last one is there.

    With ``shared`` all instances have one, else each has its own.
    """

    load: int
    store: int
    latency: int = 0
    shared: bool = False


@dataclass(frozen=True)
class Tier:
    """A cache behind the memory of so many blocks, over a link, which is its place among those of the server."""

    blocks: int
    link: int
    shared: bool = False


@dataclass(frozen=True)
class Server:
    """What one instance is: its memory in pages of so many tokens, its scheduler, its prefix cache.

    ``prefix`` says where the prefix cache lies: in this memory, or apart in memory of its own, which holds ``blocks``.
    ``tiers`` lie behind it, nearest first, and get blocks when they are computed or when they leave the memory
    (``write``). Preempted requests are swapped to ``swap`` pages over a link, or computed anew.
    With ``max_waiting`` a request is refused where so many wait. With ``hold`` it only computes prompts: answers have
    one token, and the memory of requests that have more of them elsewhere stays until it is released.
    """

    pages: int
    page: int = 16
    max_requests: int = 256
    budget: int = 512
    chunked: bool = True
    reserve: int = 0
    prefix: Literal["none", "memory", "apart"] = "none"
    blocks: int = 0
    links: tuple[Link, ...] = ()
    tiers: tuple[Tier, ...] = ()
    write: Literal["through", "eviction"] = "through"
    swap: int = 0
    swap_link: int = 0
    max_waiting: int = 0
    hold: bool = False


@dataclass(frozen=True)
class Served:
    """What became of the requests, a word for each; times are in picoseconds, and -1 where it never happened.

    ``hit`` is the tokens that were cached when a request was admitted first, ``fetched`` those of them that came from
    tiers, and ``ready`` when all were in the memory. ``swaps`` are among the ``preemptions``. A request that could
    never be served is ``rejected``, one that was sent away ``refused``. One that came over is ``routed`` when it came.
    """

    instance: Numbers
    routed: Numbers
    admitted: Numbers
    first: Numbers
    end: Numbers
    hit: Numbers
    preemptions: Numbers
    ready: Numbers
    fetched: Numbers
    swaps: Numbers
    rejected: NDArray[np.bool_]
    refused: NDArray[np.bool_]


class Iterations:
    """The log of iterations: rows of `tiersim.sim.serving_loop.LOG`, in the order of their ends at each instance.

    A row is ``count`` iterations, of which the first takes ``took``, and each ``slope`` more than the one before.
    Rows with a ``count`` of 0 are about the request ``chunks``: it was preempted, its last token at ``start``, where
    ``took`` is -1, or else had its next one ``took`` later. With ``begun`` it had come over, and made none here before:
    the next one is then also among those of the row of iterations that follows.
    """

    def __init__(self, rows: Numbers, served: Served, chunked: bool, came: NDArray[np.bool_]) -> None:
        self.rows, self.served, self.chunked, self.came = rows, served, chunked, came
        self.columns = {name: rows[:, place] for place, name in enumerate(LOG)}

    def gaps(self) -> tuple[Numbers, Numbers]:
        """All times between two tokens of a request, and how many had each: exact, in no order."""
        rows = self.columns
        resumed = (rows["count"] == 0) & (rows["took"] >= 0)
        gaps, many = [rows["took"][resumed]], [np.ones(int(resumed.sum()), np.int64)]
        made = np.flatnonzero(rows["decodes"])
        count = rows["count"][made]
        row = np.repeat(made, count)
        inside = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        took = rows["took"][row] + inside * rows["slope"][row]
        if self.chunked:
            fresh = np.zeros(len(took), np.int64)
            joined = resumed & (rows["begun"] > 0)
            if joined.any():  # what the row of iterations says of their first ones is no gap of theirs
                starts = np.cumsum(count) - count
                np.add.at(fresh, starts[np.searchsorted(made, np.flatnonzero(joined))], 1)
            return np.concatenate([*gaps, took]), np.concatenate([*many, rows["decodes"][row] - fresh])
        later = inside > 0
        first = np.array(list(self._first_gaps()), np.int64).reshape(-1, 2)
        gaps += [took[later], first[:, 0]]
        many += [rows["decodes"][row][later], first[:, 1]]
        return np.concatenate(gaps), np.concatenate(many)

    def _first_gaps(self) -> Iterator[tuple[int, int]]:
        """The times before the first iteration of each row of decodes: prefills may have come between."""
        last: dict[int, int] = {}
        begun: defaultdict[int, Counter[int]] = defaultdict(Counter)
        joined = 0
        for instance, start, count, took, slope, decodes, _, _, more in self.rows.tolist():
            fresh = begun[instance]
            if count == 0:
                joined += more and took >= 0
                if took < 0 and not more and start in fresh:
                    fresh[start] -= 1
            elif not decodes:
                fresh[start + took] += more
            else:
                for when, many in fresh.items():
                    yield start + took - when, many
                yield start + took - last.get(instance, start), decodes - fresh.total() - joined
                fresh.clear()
                joined = 0
                last[instance] = start + _sum(took, slope, count)

    def tokens(self, request: int) -> list[int]:
        """When each token of a request was there."""
        served = self.served
        if served.first[request] < 0:
            return []
        end, made = int(served.end[request]), [int(served.first[request])]
        there = not self.came[request]
        rows = self.columns
        own = (rows["count"] == 0) & (rows["chunks"] == request)
        places = [*rows["instance"][own].tolist(), int(served.instance[request])]
        at = places[0]
        for instance, start, count, took, slope, decodes, who, _, more in self._of(places):
            if count == 0:
                if who == request:
                    there, at = took >= 0, instance
                    made += [start + took] * (there and not more)
            elif decodes and there and instance == at and start >= made[-1] and (end < 0 or start < end):
                made += [start + _sum(took, slope, k) for k in range(1, count + 1)]
        return made

    def _of(self, instances: Sequence[int]) -> list[list[int]]:
        rows: list[list[int]] = self.rows[np.isin(self.columns["instance"], instances)].tolist()
        return rows


class Seen(dict[str, list[int]]):
    """Instances as they were at one time: for each of `tiersim.sim.serving_loop.VIEW` a number for each instance.

    ``prompts`` is the tokens of prompts that are to be computed, or computed anew, ``pending`` those of them that are
    neither computed nor cached; of a request that waits, as it was when it was routed. Requests that have come over
    wait with nothing to compute.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __missing__(self, name: str) -> list[int]:
        """Most ask for one or two of them, so that a list is made when it is asked for."""
        column = self.rows[COLUMNS[name]]
        found: list[int] = column if type(column) is list else column.tolist()
        self[name] = found
        return found


def _sum(took: int, slope: int, count: int) -> int:
    """What the first so many iterations of a row take."""
    return count * took + slope * (count * (count - 1) // 2)


class Engines:
    """Some instances of a server that serve the requests of a trace, routed by whoever calls.

    Call ``advance(time)``, look at what ``view`` and ``hits`` say, and ``submit``; times never go back. ``clock`` is a
    class with static functions ``step`` and ``line`` (see the specification), and ``arrays`` what they ask for by name.
    ``policy`` says what leaves the prefix caches, ``tier_policies`` has one for each tier. With ``fast`` unset each
    iteration is planned by itself: slower, and with the same results. ``audited`` derives all books again after every
    event.

    Raises StudyError where the server cannot be, PolicyError where the policy cannot rule a prefix cache.
    """

    def __init__(
        self,
        prompts: Prompts,
        server: Server,
        count: int,
        clock: Any,
        arrays: Mapping[str, NDArray[Any]],
        *,
        policy: Any = None,
        tier_policies: Sequence[Any] = (),
        seed: int = 0,
        log: bool = True,
        fast: bool = True,
        audited: bool = False,
        compiled: bool = True,
    ) -> None:
        cached = server.prefix != "none" and prompts.block > 0
        _check(prompts, server, policy, cached)
        _check_beyond(server, tier_policies, cached)
        self.prompts, self.server, self.count = prompts, server, count
        # one loop serves all that cache nothing
        self.policy = policy if cached else build("object-replacement", "lru")
        self.audited = audited
        self.tier_policies = tuple(tier_policies)
        self.compiled = compiled and all(getattr(held, "compiled", True) for held in (self.policy, *tier_policies))
        self._beyond = beyond = _beyond(server, self.tier_policies)
        self.loop = serving_loop.make_loop(self.policy, clock, beyond, audited=audited, compiled=self.compiled)
        share = prompts.block // server.page if cached and server.prefix == "memory" else 0
        distinct = max(1, len(prompts.parent))
        room = max(1, min(server.pages // share if share else server.blocks, distinct))
        names = min(distinct, KEPT * room + 1) if cached else 1
        said = {
            "pages": server.pages,
            "page": server.page,
            "most": server.max_requests,
            "budget": server.budget,
            "chunked": server.chunked,
            "reserve": server.reserve,
            "block": prompts.block,
            "share": share,
            "room": room,
            "names": names,
            "table": 1 << (2 * names).bit_length(),
            "fast": fast,
            "count": count,
            "max_waiting": server.max_waiting,
            "swap": server.swap,
            "through": server.write == "through",
            "ordered": any([link.shared for link in server.links] + [tier.shared for tier in server.tiers]),
            "half": len(prompts) + 1,
            "masked": cached and count <= MASKED and not server.tiers,
            "none": -1,
        }
        self._sizes = room, names, distinct, int(said["table"])
        self._seed = seed
        self._places: list[int] = []  # of links, and of headers of tiers, among the arrays of instances
        own = self._fresh(count, seed)
        if said["masked"]:
            own[0][:, INSTANCE.index("bit")] = 1 << np.arange(count)
        # all look at the same place where there is one for all
        steps = [array.shape[1] if len(array) > 1 else 0 for array in own]
        settings = np.array([*(said.get(name, 0) for name in SETTINGS), *steps], np.int64)
        # without a log the one row takes what nobody reads
        self._log = self._given(np.zeros((LOG_ROWS if log else 1, len(LOG)), np.int64))
        settings[LOG_ROOM] = LOG_ROWS if log else 0
        view = np.zeros((count, len(VIEW)), np.int64)
        blocks = prompts.blocks.values.astype(np.int64)
        given = [view, np.zeros(2 * (len(prompts) + 1), np.int64), settings, _rows(prompts, cached, server.hold)]
        self._view, self._ended, self._settings, self._requests = map(self._given, given)
        times = [np.ascontiguousarray(arrays[name]).reshape(-1) for name in self.loop.clock]
        self._own = [self._given(array) for array in own]
        self._masks = self._given(np.zeros(distinct if said["masked"] else 1, np.int64))
        self._before = (self._view, self._ended, self._settings, self._requests, self._given(blocks), self._masks)
        self._extra: list[Any] = []
        if beyond:
            longest = int(np.diff(prompts.blocks.offsets).max(initial=1))
            extra = [np.zeros((len(prompts), len(EXTRA)), np.int64), np.zeros(longest, np.int64), _tree(count)]
            self._extra = [self._given(array) for array in extra]
        self._after = (*self._extra, *times, *self._own)
        self._given_all = (*self._before, self._log, *self._after)
        self._hits = self._view[:count] if self.compiled else self._view

    def _fresh(self, count: int, seed: int) -> list[NDArray[Any]]:
        """The arrays of some instances at first, each with a row for each, or one where all share it."""
        server, (room, names, distinct, table) = self.server, self._sizes
        header = np.zeros((count, len(INSTANCE)), np.int64)
        first = dict.fromkeys(("ready", "end", "run_end", "soonest"), NEVER) | {"free": server.pages}
        lists = [f"{name}{end}" for name in ("", "came_", "held_", "left_") for end in ("head", "tail")]
        for name, value in (first | dict.fromkeys(lists, -1)).items():
            header[:, INSTANCE.index(name)] = value
        owned: list[NDArray[Any]] = [
            header,
            np.zeros((count, server.max_requests * self.loop.slot), np.int64),
            np.zeros((count, server.page), np.int64),
            np.zeros((count, table), np.int64),
            np.zeros((count, names * len(CACHE)), np.int64),
        ]
        owned += self._states(self.policy, self.loop.policy, room, names, range(seed, seed + count))
        self._places = []
        self._shared: set[int] = set()  # places of arrays that all share
        return owned + (self._behind(count, names, distinct, seed, len(owned)) if self._beyond else [])

    def _given(self, array: NDArray[Any]) -> Any:
        """An array as the loop takes it: flat, and in plain Python as a list, whose integers do not wrap."""
        return array.reshape(-1) if self.compiled else array.reshape(-1).tolist()

    def _states(
        self, policy: Any, wanted: Sequence[str], room: int, names: int, seeds: Sequence[int]
    ) -> list[NDArray[Any]]:
        """The arrays of a policy, each with a row for each seed."""
        given = {"objects": names, "capacity": room, "most": min(names, room), "requests": EVENTS, "unit": True}
        made = [state_of(policy, given | {"seed": seed}, wanted) for seed in seeds]
        return [np.stack([state[name] for state in made]) for name in wanted]

    def _behind(self, instances: int, names: int, distinct: int, seed: int, place: int) -> list[NDArray[Any]]:
        """The arrays of links and tiers, which lie from this place on."""
        server = self.server
        made: list[NDArray[Any]] = [np.zeros((instances, names), np.int64)]
        for link in server.links:
            self._places.append(place + len(made))
            if link.shared:
                self._shared.add(place + len(made))
            row = np.zeros((1 if link.shared else instances, len(LINK)), np.int64)
            row[:, :3] = link.load, link.store, link.latency
            made.append(row)
        for tier, policy, wanted in zip(server.tiers, self.tier_policies, self.loop.tiers, strict=True):
            self._places.append(place + len(made))
            before = place + len(made)
            count = 1 if tier.shared else instances
            room = min(tier.blocks, distinct)
            known = min(distinct, KEPT * room + 1)
            table = 1 << (2 * known).bit_length()
            header = np.zeros((count, len(TIER_HEADER)), np.int64)
            first = {"left_head": -1, "left_tail": -1, "room": room, "names": known, "mask": table - 1}
            for name, value in first.items():
                header[:, TIER_HEADER.index(name)] = value
            made += [header, np.zeros((count, table), np.int64), np.zeros((count, known * len(CACHE)), np.int64)]
            made += self._states(policy, wanted, room, known, range(seed, seed + count))
            if tier.shared:
                self._shared |= set(range(before, place + len(made)))
        return made

    def _run(self, what: int, first: int, second: int = 0, third: int = 0) -> int:
        """A call of the loop, with a longer log if it wants one."""
        while True:
            made = int(self.loop.module.run(what, first, second, third, *self._given_all))
            if made >= 0:
                return made
            if made < -1:
                self._explain()
            self._more_log()
            second = 1

    def _more_log(self) -> None:
        more = np.zeros(len(self._log), np.int64)
        self._log = np.concatenate([self._log, more]) if self.compiled else [*self._log, *more.tolist()]
        self._given_all = (*self._before, self._log, *self._after)
        self._settings[LOG_ROOM] *= 2

    def submit(self, request: int, instance: int, now: int) -> bool:
        """Route a request to an instance at a time, up to which all have advanced; False if it is not taken."""
        return self._sent(ROUTE, request, instance, now)

    def computed(self, request: int, instance: int, now: int, first: int | None = None) -> bool:
        """The same with a request whose prompt another server has computed; its first token was there at ``first``."""
        self._requests[request * len(REQUEST) + REQUEST.index("first")] = now if first is None else first
        return self._sent(COMPUTED, request, instance, now)

    def _sent(self, how: int, request: int, instance: int, now: int) -> bool:
        if not 0 <= instance < self.count:
            raise PolicyError(f"request {request} is sent to instance {instance}, and there are {self.count}")
        return self._run(how, request, instance, now) > 0

    def refuse(self, request: int, now: int) -> None:
        """A request is sent away at a time, before any instance saw it."""
        row = request * len(REQUEST)
        self._requests[row + REQUEST.index("routed")] = now
        self._requests[row + REQUEST.index("refused")] = 1

    def made(self, request: int) -> int:
        """The tokens of its answer that a request has which is at no instance."""
        return int(self._requests[request * len(REQUEST) + REQUEST.index("made")])

    def drain(self, instance: int, now: int) -> list[int]:
        """Take away who waits at an instance, in order; they may be submitted anew. `ended` is told no more."""
        return self._away(DRAIN, instance, now)

    def fail(self, instance: int, now: int) -> list[int]:
        """Begin with an instance anew: nothing is cached, and an iteration under way does not end.

        Returns the requests that were there, which may be submitted anew and keep their tokens: those that ran in the
        order of admission, then those that waited. What was summed and counted stays, and what instances share.
        `ended` is told no more.
        """
        requests = self._away(FAIL, instance, now)
        for place in self._places[len(self.server.links) :]:
            if place not in self._shared:
                self._see_tier(place, instance, now)
        places = self._places
        for place, array in enumerate(self._fresh(1, self._seed + instance)):
            if place in self._shared:
                continue
            names = {0: INSTANCE} | {
                at: LINK if k < len(self.server.links) else TIER_HEADER for k, at in enumerate(places)
            }
            kept = [
                k for k, name in enumerate(names.get(place, ())) if name in KEPT_WORDS or name[:4] in ("sum_", "rest")
            ]
            held, row = self._own[place], array[0].tolist() if not self.compiled else array[0]
            begin = instance * len(row)
            for k in kept:
                row[k] = held[begin + k]
            held[begin : begin + len(row)] = row
        bit = int(self._own[0][instance * len(INSTANCE) + INSTANCE.index("bit")])
        for block in np.flatnonzero(np.asarray(self._masks) & bit).tolist():
            self._masks[block] ^= bit
        return requests

    def _away(self, what: int, instance: int, now: int) -> list[int]:
        while not self._run(what, 0, instance, now):
            self._more_log()
        requests = self.ended
        self._settings[ENDED] = self._settings[FIRSTS] = 0
        if self.server.swap:
            words, width = self._extra[0], len(EXTRA)
            for request in requests:
                place = request * width + EXTRA.index("swapped")
                self._own[0][instance * len(INSTANCE) + INSTANCE.index("swapped")] -= words[place]
                words[place] = 0
        return requests

    def _see_tier(self, place: int, instance: int, now: int) -> None:
        """Sum the blocks that a tier of its own had until it is emptied."""
        held, begin = self._own[place], instance * len(TIER_HEADER)
        seen, high, low, blocks = (
            begin + TIER_HEADER.index(name) for name in ("seen", "sum_blocks", "rest_blocks", "cached")
        )
        total = (int(held[high]) << SPLIT) + int(held[low]) + int(held[blocks]) * (now - int(held[seen]))
        held[high], held[low], held[seen] = total >> SPLIT, total & (1 << SPLIT) - 1, now

    def release(self, request: int, now: int) -> None:
        """Give back the memory of a request that is finished and holds it. Raises AuditError if it holds none."""
        instance = int(self._requests[request * len(REQUEST) + REQUEST.index("instance")])
        if instance < 0 or not self._run(RELEASE, request, instance, now):
            raise AuditError(f"request {request} holds no memory that could be released")

    def advance(
        self,
        until: int | None = None,
        *,
        until_end: bool = False,
        with_ends: bool = False,
        until_first: bool = False,
    ) -> int | None:
        """Let all happen that happens before a time, or all there is; the time of the first end if it is to stop there.

        Whoever stops there may submit at that time, before he goes on: nothing was planned at it yet. Then iterations
        that end at the time itself may happen too, `with_ends`. With ``until_first`` it stops at first tokens as well.
        """
        what = TO_AN_END if until_end or until_first else ADVANCE
        made = self._run(what, NEVER if until is None else until, 0, with_ends + 2 * until_first)
        if self.audited:
            self._audit()
        return made if made < NEVER else None

    def coming(self) -> tuple[int, bool]:
        """When the next event is at which a request may end or a plan is made, and whether it is a plan."""
        self._run(COMING, 0)
        return int(self._view[0]), bool(self._view[1])

    @property
    def ended(self) -> list[int]:
        """The requests that ended in the last `advance`, in no order of time between instances."""
        ended: list[int] = np.asarray(self._ended[: self._settings[ENDED]]).tolist()
        return ended

    @property
    def firsts(self) -> list[int]:
        """The requests that made the first token since they were routed in the last `advance`, in the same order."""
        half = self._settings[HALF]
        firsts: list[int] = np.asarray(self._ended[half : half + self._settings[FIRSTS]]).tolist()
        return firsts

    def view(self) -> Seen:
        """What there is at each instance now."""
        self._run(LOOK, 0)
        return Seen(self._view.copy())

    def hits(self, request: int) -> list[int]:
        """How many tokens of the prompt of a request each instance has cached."""
        self._run(HITS, request)
        held: list[int] = self._hits.tolist() if self.compiled else self._hits[: self.count]
        return held

    @property
    def served(self) -> Served:
        """What became of the requests so far."""
        server = self.server
        word = _columns(self._requests, REQUEST)
        most = word["prompt"] + word["answer"] - 1
        refused = word["refused"] > 0
        rejected = (word["routed"] >= 0) & (-(-most // server.page) > server.pages) & ~refused
        names = ("instance", "routed", "admitted", "first", "end", "hit", "preemptions")
        nothing = np.zeros_like(refused, np.int64)
        beyond = {"ready": word["admitted"], "fetched": nothing, "swaps": nothing}
        if self._extra:
            beyond = {name: column for name, column in _columns(self._extra[0], EXTRA).items() if name in beyond}
            beyond["ready"][word["admitted"] < 0] = -1
        return Served(**{name: word[name] for name in names}, **beyond, rejected=rejected, refused=refused)

    @property
    def iterations(self) -> Iterations:
        """The log so far."""
        rows = np.reshape(self._log, (-1, len(LOG)))[: self._settings[LOGGED]]
        came = _columns(self._requests, REQUEST)["came"] > 0
        return Iterations(rows, self.served, self.server.chunked, came)

    def occupancy(self) -> dict[str, list[int]]:
        """For each instance, the sums over time of requests that wait, run and load, and of pages and blocks taken.

        In picoseconds times the number, up to its last event. Those that load are among those that run.
        """
        word = _columns(self._own[0], INSTANCE)
        return {name: _summed(word, name) for name in ("waiting", "running", "pages", "blocks", "loading")}

    def swapped(self) -> list[int]:
        """For each instance, the sum over time of pages in the swap, as `occupancy`."""
        return _summed(_columns(self._own[0], INSTANCE), "swapped")

    def moved(self) -> list[dict[str, list[int]]]:
        """For each link, what went over it: pages and busy picoseconds each way, by instance where each has its own."""
        words = [_columns(self._own[place], LINK) for place in self._places[: len(self.server.links)]]
        if not words:  # there are links, and nothing behind them
            words = [
                _columns(np.zeros((1 if link.shared else self.count, len(LINK))), LINK) for link in self.server.links
            ]
        return [{name: word[name].tolist() for name in LINK[-4:]} for word in words]

    def tiers(self) -> list[dict[str, list[int]]]:
        """For each tier, by instance where each has its own, what became of blocks.

        The sum over time of those that it had, as `occupancy`; those that it holds now, and those that were fetched,
        put in, and left.
        """
        seen = _columns(self._own[0], INSTANCE)["seen"]
        told = []
        for place in self._places[len(self.server.links) :]:
            word = _columns(self._own[place], TIER_HEADER)
            last = seen if len(word["seen"]) == self.count else seen.max(keepdims=True)
            since = zip(word["cached"].tolist(), (last - word["seen"]).tolist(), strict=True)
            blocks = [sum_ + held * time for sum_, (held, time) in zip(_summed(word, "blocks"), since, strict=True)]
            counts = {"held": "cached", "fetched": "fetched", "put": "put", "left": "gone"}
            told.append({"blocks": blocks} | {name: word[named].tolist() for name, named in counts.items()})
        return told

    def _explain(self) -> None:
        """Raise what the loop has found to be wrong."""
        if wrong := int(self._settings[WRONG]):
            whose = (self.policy, *self.tier_policies)[self._settings[WHOSE]]
            raise PolicyError(
                f"{type(whose).__name__}.victim gave {wrong >> 1}, which is no block in the prefix cache",
                None,
                "it must give the number of an object for which `lookup` says yes",
            )
        raise AuditError(f"an instance's books do not balance: {FAULTS[self._settings[FAULT]]}")

    def _audit(self) -> None:
        """No request is lost or counted twice."""
        served = self.served
        open_ = int(((served.routed >= 0) & (served.end < 0) & ~served.rejected & ~served.refused).sum())
        seen = self.view()
        waiting, running = sum(seen["waiting"]), sum(seen["running"])
        if open_ != waiting + running:
            raise AuditError(f"of {open_} requests that are not finished {waiting} wait and {running} run")
        if self._settings[MASKS]:
            masks = np.asarray(self._masks)
            held = [int(np.count_nonzero(masks >> instance & 1)) for instance in range(self.count)]
            if held != seen["blocks"]:
                raise AuditError(f"instances hold {seen['blocks']} blocks, and masks of blocks say {held}")


def _tree(count: int) -> Numbers:
    """Whose event is next, by parts of a tree over instances: nobody's, so that the first of each part will do."""
    leaves = 1 << max(1, (count - 1).bit_length())
    tree = np.arange(2 * leaves) - leaves
    for place in range(leaves - 1, 0, -1):
        tree[place] = tree[2 * place]
    tree[0] = leaves
    return tree


def _summed(word: Mapping[str, Numbers], name: str) -> list[int]:
    """A sum over time of each row, put together."""
    both = zip(word[f"sum_{name}"].tolist(), word[f"rest_{name}"].tolist(), strict=True)
    return [(high << SPLIT) + low for high, low in both]


def _beyond(server: Server, policies: tuple[Any, ...]) -> Beyond | None:
    """What lies behind the memory, if anything does."""
    if not server.tiers and not server.swap:
        return None
    links = tuple(tier.link for tier in server.tiers)
    return Beyond(policies, links, len(server.links), server.swap_link if server.swap else -1)


def _columns(rows: Any, names: Sequence[str]) -> dict[str, Numbers]:
    """Copies of the columns of rows that lie one after another."""
    table = np.array(rows, np.int64).reshape(-1, len(names))
    return {name: table[:, place].copy() for place, name in enumerate(names)}


def _rows(prompts: Prompts, cached: bool, hold: bool) -> Numbers:
    """A row for each request."""
    rows = np.zeros((len(prompts), len(REQUEST)), np.int64)
    starts = prompts.blocks.offsets[:-1]
    whole = np.zeros(len(prompts), np.int64)
    if cached:
        whole = np.minimum(np.diff(prompts.blocks.offsets), prompts.input // prompts.block)
    said = {"prompt": prompts.input, "answer": prompts.output, "blocks": starts, "whole": whole}
    if hold:
        said |= {"answer": np.ones_like(prompts.output), "holds": (prompts.output > 1).astype(np.int64)}
    unknown = dict.fromkeys(("next", "instance", "routed", "admitted", "first", "end"), -1)
    for name, column in (said | unknown).items():
        rows[:, REQUEST.index(name)] = column
    return rows


def _check(prompts: Prompts, server: Server, policy: Any, cached: bool) -> None:
    least = {"pages": 1, "page": 1, "max_requests": 1, "budget": 1, "reserve": 0, "max_waiting": 0}
    for name, bound in least.items():
        if getattr(server, name) < bound:
            raise _wrong(name, f"it is {getattr(server, name)} and must be at least {bound}")
    if server.chunked and server.budget < server.max_requests:
        raise _wrong(
            "budget",
            f"an iteration of {server.budget} tokens has no room for a token of each of {server.max_requests} requests",
            "let it be at least max_requests",
        )
    if len(prompts) and int(prompts.arrival.max()) >= NEVER >> 1:
        raise _wrong("", f"the requests come over more than {(NEVER >> 1) / DAY:.0f} days", "take a part of the trace")
    if not cached:
        return
    if policy is None:
        raise _wrong("prefix", "a prefix cache needs a policy")
    if server.prefix == "apart" and server.blocks < 1:
        raise _wrong("blocks", "a prefix cache apart must hold at least one block")
    if server.prefix == "memory" and prompts.block % server.page:
        raise _wrong(
            "page",
            f"the blocks of the trace have {prompts.block} tokens, which are no whole pages of {server.page}",
            "take a page that divides them, or a prefix cache apart",
        )
    if server.prefix == "memory" and getattr(policy, "may_refuse", False):
        raise PolicyError(
            f"{type(policy).__name__} may refuse what enters, and what is in the memory already cannot be refused",
            None,
            "take another policy, or a prefix cache apart",
        )


def _check_beyond(server: Server, policies: Sequence[Any], cached: bool) -> None:
    for place, link in enumerate(server.links):
        for name in ("load", "store", "latency"):
            if getattr(link, name) < 0:
                raise _wrong("links", f"{name} of link {place} is {getattr(link, name)} and must be at least 0")
    for place, tier in enumerate(server.tiers):
        if tier.blocks < 1:
            raise _wrong("tiers", f"tier {place} must hold at least one block")
    over = [("tiers", tier.link) for tier in server.tiers] + [("swap_link", server.swap_link)] * (server.swap > 0)
    for name, link_ in over:
        if not 0 <= link_ < len(server.links):
            raise _wrong(name, f"it is behind link {link_}, and there are {len(server.links)}", "name one of `links`")
    if server.swap < 0:
        raise _wrong("swap", f"it is {server.swap} and must be at least 0")
    if len(policies) != len(server.tiers):
        raise _wrong("tiers", f"there are {len(server.tiers)} tiers and {len(policies)} policies for them")
    if server.tiers and server.prefix != "memory":
        raise _wrong("prefix", "tiers need a prefix cache in the memory", "let prefix be memory, or take no tiers")
    if server.tiers and not cached:
        raise _wrong("tiers", "the trace knows no blocks of prompts", "take a trace with blocks, or no tiers")


def _wrong(name: str, message: str, remedy: str = "") -> StudyError:
    error = StudyError(message, None, remedy)
    error.path = (name,) if name else ()
    return error
