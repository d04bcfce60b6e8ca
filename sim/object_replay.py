"""Runs requests for objects through one cache and gives back what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, PolicyError
from tiersim.sim import object_loop
from tiersim.sim.object_loop import HEADER, HIT, LOG, MISS, Shape
from tiersim.sim.plain_objects import is_plain, plain_outcomes
from tiersim.sim.requests import Requests

__all__ = ["Known", "Life", "Outcome", "Totals", "explained", "replay_objects", "settle", "state_of"]

CHUNK = 1 << 20


@dataclass
class Totals:
    """What became of a stretch of requests; deletions and pins are no requests. Bytes are those asked for."""

    requests: int = 0
    hits: int = 0
    bytes: int = 0
    hit_bytes: int = 0

    @property
    def misses(self) -> int:
        return self.requests - self.hits

    @property
    def byte_misses(self) -> int:
        return self.bytes - self.hit_bytes

    def add(self, other: Totals) -> None:
        self.requests += other.requests
        self.hits += other.hits
        self.bytes += other.bytes
        self.hit_bytes += other.hit_bytes


@dataclass
class Life:
    """One event of an object that is watched: at which request, for which object, from where to where."""

    request: int
    asked: int
    outcome: int
    before: str
    after: str


@dataclass
class Outcome:
    """One replay: totals after the warm-up, by window and by tenant, and the engine's counters at the end."""

    totals: Totals
    windows: list[tuple[int, Totals]]
    tenants: dict[int, Totals]
    counters: dict[str, int]
    life: list[Life] = field(default_factory=list)


def replay_objects(
    policy: Any,
    capacity: int,
    requests: Requests,
    *,
    admission: Any = None,
    seed: int = 0,
    warm_up: int = 0,
    cuts: Sequence[int] = (),
    watch: int | None = None,
    compiled: bool = True,
    outcomes: list[NDArray[np.uint8]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Replay all requests through a cache of this capacity under a policy.

    `capacity` is in bytes, or in objects where the requests have no sizes. The first `warm_up` requests are not
    counted; `cuts` are positions at which a window ends. `watch` follows the object of that number. `outcomes`
    collects the outcome of every request (`tiersim.sim.object_loop`: MISS, HIT, OTHER). Raises PolicyError when the
    policy cannot work with the trace or gives a victim that is none, AuditError when the books do not balance.
    """
    if capacity < 1:
        raise PolicyError(f"a cache needs room for something, and has a capacity of {capacity}")
    if not is_plain(policy):
        run: _Run | Known = _Run(policy, admission, capacity, requests, seed, watch, compiled)
    elif admission is not None:
        raise PolicyError(f"{type(policy).__name__} has on_access only, and takes no admission in front of it")
    elif watch is not None:
        raise PolicyError(f"{type(policy).__name__} has on_access only, and cannot say where an object is")
    else:
        run = Known(plain_outcomes(policy, capacity, requests, progress))
        progress = None  # it is told already
    return settle(run, requests, warm_up=warm_up, cuts=cuts, outcomes=outcomes, progress=progress)


def settle(
    run: _Run | Known,
    requests: Requests,
    *,
    warm_up: int = 0,
    cuts: Sequence[int] = (),
    outcomes: list[NDArray[np.uint8]] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Let a replay go from cut to cut, and count what becomes of the requests."""
    wanted = sorted({cut for cut in (*cuts, warm_up) if 0 < cut < len(requests)} | {len(requests)})
    out = Outcome(Totals(), [], {}, {})
    begin = 0
    for end in wanted:
        window = Totals()
        for start in range(begin, end, CHUNK):
            stop = min(start + CHUNK, end)
            outcome = run.go(start, stop, out.life)
            window.add(_totals(outcome, requests, start, stop))
            if requests.tenant is not None and start >= warm_up:
                _by_tenant(out.tenants, outcome, requests, start, stop)
            if outcomes is not None:
                outcomes.append(outcome)
            if progress:
                progress(stop - start)
        out.windows.append((end, window))
        if begin >= warm_up:
            out.totals.add(window)
        begin = end
    out.counters = run.audit(sum(window.misses for _, window in out.windows))
    return out


def _totals(outcome: NDArray[np.uint8], requests: Requests, start: int, stop: int) -> Totals:
    hits = int(np.count_nonzero(outcome == HIT)) if requests.op is not None else int(np.count_nonzero(outcome))
    asked = stop - start
    if requests.op is not None:
        asked = hits + int(np.count_nonzero(outcome == MISS))
    if requests.size is None:
        return Totals(asked, hits, asked, hits)
    size = requests.size[start:stop]
    hit = outcome == HIT
    demanded = int(size.sum()) if requests.op is None else int(size[outcome <= HIT].sum())
    return Totals(asked, hits, demanded, int(size.sum(where=hit)))


def _by_tenant(
    tenants: dict[int, Totals], outcome: NDArray[np.uint8], requests: Requests, start: int, stop: int
) -> None:
    assert requests.tenant is not None
    names, place = np.unique(requests.tenant[start:stop], return_inverse=True)
    asked, hit = outcome <= HIT, outcome == HIT
    size = np.ones(stop - start) if requests.size is None else requests.size[start:stop]
    weights = (asked, hit, np.where(asked, size, 0), np.where(hit, size, 0))
    rows = [np.bincount(place, weight, len(names)).astype(np.int64) for weight in weights]  # exact up to 2**53
    for name, *held in zip(names.tolist(), *(row.tolist() for row in rows), strict=True):
        tenants.setdefault(name, Totals()).add(Totals(*held))


@dataclass
class Known:
    """A replay whose outcomes are known already."""

    outcome: NDArray[np.uint8]
    counters: dict[str, int] = field(default_factory=dict)

    def go(self, start: int, stop: int, life: list[Life]) -> NDArray[np.uint8]:
        return self.outcome[start:stop]

    def audit(self, misses: int) -> dict[str, int]:
        return self.counters


class _Run:
    """The arrays of one replay, and the calls of its loop."""

    def __init__(
        self,
        policy: Any,
        admission: Any,
        capacity: int,
        requests: Requests,
        seed: int,
        watch: int | None,
        compiled: bool,
    ) -> None:
        unit = requests.size is None
        if hasattr(policy, "unit_only") and not unit:
            raise PolicyError(str(policy.unit_only), None, "take every size as one, with a capacity as in 1000obj")
        self.compiled = compiled and getattr(policy, "compiled", True) and getattr(admission, "compiled", True)
        self.shape = Shape(
            unit=unit,
            ops=requests.op is not None,
            ttl=requests.ttl is not None,
            time=requests.time is not None,
            cost=requests.cost is not None,
            watch=watch is not None,
        )
        self.loop = object_loop.make_loop(policy, self.shape, admission, compiled=self.compiled)
        self.policy, self.requests, self.capacity = policy, requests, capacity
        self.objects, self.watched = requests.objects, -1 if watch is None else watch
        given = {
            "objects": self.objects,
            "capacity": capacity,
            "most": max(1, min(self.objects, capacity // requests.least if requests.least else self.objects)),
            "seed": seed,
            "requests": len(requests),
            "unit": unit,
        }
        state = state_of(policy, given, self.loop.arrays)
        arrays = [state[name] for name in self.loop.arrays]
        if admission is not None:
            state = state_of(admission, given | {"seed": seed + 1}, self.loop.admission_arrays)
            arrays += [state[name] for name in self.loop.admission_arrays]
        own: list[Any] = [np.zeros(self.objects, np.int64)] if not unit else []
        own += [np.zeros(self.objects, np.int64)] if self.shape.ttl else []
        own += [np.zeros(self.objects, np.uint8)] if self.shape.ops else []
        header: Any = np.zeros(len(HEADER), np.int64)
        # plain lists are faster than arrays one by one, and their integers do not wrap
        self.header, self.own, self.arrays = self._given(header), [*map(self._given, own)], [*map(self._given, arrays)]
        self.log = np.zeros(CHUNK * LOG, np.int64) if watch is not None else None
        self.places = getattr(policy, "places", ("out", "in"))
        self.whole = {name: requests.column(name) for name in self.loop.columns}

    def _given(self, array: NDArray[Any]) -> Any:
        return array if self.compiled else array.tolist()

    def _extra(self, start: int, stop: int) -> list[Any]:
        held = [column if name == "stream" else column[start:stop] for name, column in self.whole.items()]
        log = [] if self.log is None else [self.log]
        return [*self.own, *log, *map(self._given, held), *self.arrays]

    def go(self, start: int, stop: int, life: list[Life]) -> NDArray[np.uint8]:
        outcome = np.zeros(stop - start, np.uint8)
        given = (self.header, self._given(self.requests.ids[start:stop]), outcome, *self._extra(start, stop))
        try:
            logged = self.loop.module.run(start, stop - start, self.objects, self.capacity, self.watched, *given)
        except Exception as error:
            raise explained(error, self.policy) from None
        self._check_victim()
        if self.log is not None:
            for row in self.log[: logged * LOG].reshape(-1, LOG).tolist():
                life.append(Life(row[0], row[1], row[2], self.places[row[3]], self.places[row[4]]))
        return outcome

    def counters(self) -> dict[str, int]:
        return dict(zip(HEADER, map(int, self.header), strict=True))

    def _check_victim(self) -> None:
        wrong = self.counters()["wrong"]
        if wrong:
            raise PolicyError(
                f"{type(self.policy).__name__}.victim gave {wrong >> 1}, which is no object in the cache",
                None,
                "it must give the number of an object for which `lookup` says yes",
            )

    def audit(self, misses: int) -> dict[str, int]:
        """Derive what the cache holds again, and compare it with what was counted."""
        own = self.counters()
        if not self.shape.ops:  # else a set of a new size enters too, and an object out of time may be pinned
            entered = own["inserted"] + own["rejected"] + own["too_large"]
            _equal("misses", misses, "inserted, rejected and too large", entered)
        nothing = (self._given(np.zeros(0, np.int32)), np.zeros(0, np.uint8))
        held, used = self.loop.module.audit(self.objects, self.header, *nothing, *self._extra(0, 0))
        pins = 0
        if self.shape.ops:
            flags = np.asarray(self.own[-1])
            pins = int(np.count_nonzero(flags))
            used += pins if self.shape.unit else int(np.asarray(self.own[0])[flags > 0].sum())
        _equal("objects that the policy says it holds", held, "counted", own["held"])
        _equal("pinned objects", pins, "counted", own["pinned"])
        _equal("bytes of the objects held", used, "counted", own["used"])
        _equal(
            "inserted - evicted - expired - removed",
            own["inserted"] - own["evicted"] - own["expired"] - own["removed"],
            "objects held and pinned",
            held + pins,
        )
        if used > self.capacity:
            raise AuditError(f"the cache holds {used:,} and has room for {self.capacity:,}")
        return own


def state_of(
    maker: Any, given: dict[str, Any], wanted: Iterable[str], contract: str = "tiersim.policies.object"
) -> dict[str, NDArray[Any]]:
    """The arrays that verbs want, as a policy makes them. Raises PolicyError where it asks for, or lacks, something."""
    who = type(maker).__name__
    if not hasattr(maker, "state"):
        raise PolicyError(f"{who} has no method state(self, objects, capacity) that gives its arrays")
    names = list(signature(maker.state).parameters)
    if unknown := [name for name in names if name not in given]:
        raise PolicyError(f"{who}.state asks for {unknown[0]!r}; it may ask for {', '.join(given)}")
    made: dict[str, NDArray[Any]] = maker.state(*(given[name] for name in names))
    if missing := [name for name in wanted if name not in made]:
        raise PolicyError(
            f"a verb of {who} asks for {missing[0]!r}, which is no array of its state "
            f"({', '.join(made) or 'none'}), no field and nothing that the engine gives",
            None,
            f"the names are listed in {contract}",
        )
    return {name: np.ascontiguousarray(array).reshape(-1) for name, array in made.items()}


def explained(error: Exception, policy: Any) -> Exception:
    """What a policy's author is told of an error in its verbs; what is told already stays as it is."""
    if isinstance(error, PolicyError | AuditError | MemoryError):
        return error
    who = type(policy).__name__
    if type(error).__module__.startswith("numba"):
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        return PolicyError(
            f"{who} cannot be compiled: {said[0] if said else type(error).__name__}",
            None,
            "keep its verbs to numbers, loops and arrays, or set `compiled = False` in the class",
        )
    return PolicyError(f"{who} fails: {type(error).__name__}: {error}", None, "mend the class")


def _equal(left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise AuditError(
            f"{left}: {a:,}, but {right}: {b:,}", None, "a verb of the policy lets an object in or out on its own"
        )
