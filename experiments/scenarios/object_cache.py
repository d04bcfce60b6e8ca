"""A trace of requests for objects through one cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, dump
from tiersim._base.registry import build, register
from tiersim.experiments.scenario import Addends, Measured, Metric, OfTrace, Progress
from tiersim.experiments.trace_use import TraceParam, TraceUse
from tiersim.models.object_cache import ObjectCache, simulate_objects, unit_sizes
from tiersim.sim.object_replay import Outcome, Totals
from tiersim.sim.plain_objects import is_plain
from tiersim.sim.requests import Requests, prepare_requests, requests_from
from tiersim.traces import Trace
from tiersim.traces.schema import OBJECT

WINDOWS = 100
TENANTS = 1_000  # of more there are no metrics of each
SESSIONS = 10_000  # of more tenants several make a session, by their number; they stay independent of each other
FEWEST = 8  # sessions

METRICS = {
    "miss_ratio": ("ratio", "requests that the cache could not serve", "less"),
    "byte_miss_ratio": ("ratio", "bytes asked for that the cache could not serve", "less"),
    "requests": ("requests", "in the measured part of the trace", ""),
    "hits": ("requests", "that the cache served", "more"),
    "misses": ("requests", "that the cache could not serve", "less"),
    "bytes": ("bytes", "asked for in the measured part of the trace", ""),
    "byte_misses": ("bytes", "asked for that the cache could not serve", "less"),
    "inserted": ("objects", "that entered the cache", ""),
    "evicted": ("objects", "that made room for others", ""),
    "expired": ("objects", "that were asked for too late", ""),
    "rejected": ("objects", "that the admission did not let in", ""),
    "too_large": ("objects", "larger than the cache, or than what is not pinned", ""),
    "regret": ("ratio", "miss ratio above that of Belady's policy, which knows the future and admits all", "less"),
}
COUNTED = ("inserted", "evicted", "expired", "rejected", "too_large")  # over the whole trace, with the warm-up


@register("object-cache", family="scenario")
class ObjectCacheScenario(OfTrace):
    """How requests for objects fare in one cache: misses and bytes missed, by policy, size, admission and quota."""

    trace: Annotated[TraceUse, TraceParam("the requests to replay", reads_all=True)]
    cache: Annotated[ObjectCache, Param("how large, and who stays")]
    regret: Annotated[bool, Param("also run Belady's policy, and give the metric `regret`")] = False

    records: ClassVar[str] = OBJECT.name
    steps: ClassVar[str] = "requests"

    def check(self) -> None:
        self.trace.demand(self.records)
        found = self.trace.open()
        if self.cache.capacity.dimension == "bytes" and self.cache.sizes == "trace" and not _has(found, "size"):
            raise _at(
                StudyError(f"a capacity of {self.cache.capacity} needs object sizes, which {found.name} does not have"),
                "cache",
                "capacity",
            )
        if self.cache.quotas is not None and not _has(found, "tenant"):
            raise _at(StudyError(f"quotas need tenants, which {found.name} does not have"), "cache", "quotas")
        if is_plain(self.cache.policy) and self.cache.admission is not None:
            raise _at(StudyError("a class with on_access takes no admission in front of it"), "cache", "admission")

    def refuses(self) -> str:
        policy = self.cache.policy
        if hasattr(policy, "unit_only") and not unit_sizes(self.cache) and _has(self.trace.open(), "size"):
            return f"{policy.unit_only}; give the capacity in objects, or `sizes: one`"
        return ""

    def is_random(self) -> bool:
        return any(getattr(part, "random", False) for part in (self.cache.policy, self.cache.admission))

    def has_sessions(self) -> bool:
        return _has(self.trace.open(), "tenant")

    def structure(self) -> Mapping[str, Any]:
        return {"trace": dump(self.trace), "cache": dump(self.cache), "regret": self.regret}

    def modules(self) -> list[str]:
        parts = (self.cache.policy, self.cache.admission, *([_belady()] if self.regret else []))
        return [type(self).__module__, *(type(part).__module__ for part in parts if part is not None)]

    def preparation(self) -> str:
        return f"{self.trace_fingerprint()} {self.trace.skip} {self.trace.limit}"

    def _requests(self, progress: Progress | None = None) -> Requests:
        return prepare_requests(self.trace.open(), self.trace.skip, self.trace.limit, progress)

    def prepare(self, progress: Progress) -> None:
        self._requests(progress)

    def streams(self) -> bool:
        return False

    def _columns(self) -> dict[str, Any]:
        """One request that has the columns of the trace, so that its loop is the trace's."""
        names = ("size", "time", "op", "ttl", "cost", "tenant")
        return {name: [int(name in ("size", "cost")) + 1] for name in names if _has(self.trace.open(), name)}

    def loop(self) -> str:
        return f"{self.cache.policy} {self.cache.admission} {sorted(self._columns())} {unit_sizes(self.cache)}"

    def warm(self, note: Callable[[str], None]) -> None:
        if not is_plain(self.cache.policy):
            note("compiling")
            simulate_objects(_small(self.cache), requests_from([1], **self._columns()))
            note("")

    def simulate(self, seed: int, progress: Progress) -> tuple[Outcome, Outcome | None]:
        requests, warm_up = self._requests(), self.trace.warm_up_records()
        cuts = [len(requests) * step // WINDOWS for step in range(1, WINDOWS)]
        done = simulate_objects(self.cache, requests, seed=seed, warm_up=warm_up, cuts=cuts, progress=progress)
        if not self.regret:
            return done, None
        return done, simulate_objects(_with(self.cache, _belady()), requests, warm_up=warm_up, cuts=cuts)

    def measure(self, simulated: tuple[Outcome, Outcome | None]) -> Measured:
        done, best = simulated
        totals = done.totals
        metrics: dict[str, int | float] = {
            "requests": totals.requests,
            "hits": totals.hits,
            "misses": totals.misses,
            "bytes": totals.bytes,
            "byte_misses": totals.byte_misses,
        }
        for name, (over, under) in _ratios(totals, best.totals if best else None).items():
            if under:
                metrics[name] = over / under
        metrics |= {name: done.counters[name] for name in COUNTED if name in done.counters}
        notes = []
        if len(done.tenants) > TENANTS:
            notes.append(f"the trace has {len(done.tenants):,} tenants: metrics of each are for up to {TENANTS:,}")
        for tenant, held in sorted(done.tenants.items()) if len(done.tenants) <= TENANTS else []:
            if held.requests:
                metrics[f"tenants.{tenant}.requests"] = held.requests
                metrics[f"tenants.{tenant}.miss_ratio"] = held.misses / held.requests
        return Measured(metrics, self._windows(done, best), notes, _sessions(done, best))

    def _windows(self, done: Outcome, best: Outcome | None) -> dict[str, NDArray[np.float64]]:
        ends = np.array([end for end, _ in done.windows])
        others = [held for _, held in best.windows] if best else [None] * len(ends)
        parts = [_ratios(held, other) for (_, held), other in zip(done.windows, others, strict=True)]
        return {"end": ends / ends[-1]} | _columns_of(parts, ends > self.trace.warm_up_records())

    def memory(self) -> int:
        return 150_000_000 + 40 * self.size()

    def shown(self) -> list[str]:
        return ["miss_ratio", *(["byte_miss_ratio"] if _has(self.trace.open(), "size") else [])]

    @staticmethod
    def parts(metric: str, names: Collection[str]) -> Addends:
        if metric == "miss_ratio" and "regret" in names:
            return Addends(("regret",), "what Belady's policy misses too")
        return Addends()

    @staticmethod
    def metrics() -> list[Metric]:
        own = [Metric(name, *said) for name, said in METRICS.items()]
        return own + [Metric(f"tenants.NAME.{name}", *METRICS[name]) for name in ("requests", "miss_ratio")]

    def describe(self, name: str) -> Metric | None:
        if name in METRICS:
            return Metric(name, *METRICS[name])
        parts = name.split(".")
        if (
            len(parts) == 3
            and parts[0] == "tenants"
            and parts[1].isdecimal()
            and parts[2] in ("requests", "miss_ratio")
        ):
            unit, doc, better = METRICS[parts[2]]
            return Metric(name, unit, f"{doc}, of one tenant", better)
        return None

    def metric_names(self) -> list[str]:
        """Every metric that this config can give, whether or not the trace allows it."""
        return list(METRICS)


def _ratios(held: Totals, best: Totals | None) -> dict[str, tuple[int, int]]:
    """The metrics that are ratios of sums over requests: numerator and denominator."""
    regret = {} if best is None else {"regret": (held.misses - best.misses, held.requests)}
    return {
        **regret,
        "byte_miss_ratio": (held.byte_misses, held.bytes),
        "miss_ratio": (held.misses, held.requests),
    }


def _columns_of(parts: list[dict[str, tuple[int, int]]], measured: Any = True) -> dict[str, NDArray[np.float64]]:
    """Each ratio in each part, and its denominator where it is measured."""
    columns: dict[str, NDArray[np.float64]] = {}
    for name in parts[0]:
        over, under = np.array([held[name] for held in parts], float).T
        columns[name] = np.divide(over, under, out=np.full(len(parts), np.nan), where=under > 0)
        columns[f"{name}.weight"] = under * measured
    return columns


def _sessions(done: Outcome, best: Outcome | None) -> dict[str, NDArray[Any]]:
    """Tenants as sessions, where they are enough to tell anything."""
    if len(done.tenants) < FEWEST:
        return {}
    many = len(done.tenants) > SESSIONS
    parts: dict[int, tuple[Totals, Totals | None]] = {}
    for tenant in sorted(done.tenants):
        session = tenant % SESSIONS if many else tenant
        held, other = parts.setdefault(session, (Totals(), Totals() if best else None))
        held.add(done.tenants[tenant])
        if best is not None and other is not None:
            other.add(best.tenants[tenant])
    return {"session": np.array([*parts])} | _columns_of([_ratios(*both) for both in parts.values()])


def _belady() -> Any:
    return build("object-replacement", "belady")


def _with(cache: ObjectCache, policy: Any) -> ObjectCache:
    held = {name: getattr(cache, name) for name in ("capacity", "sizes", "quotas")}
    return ObjectCache(policy=policy, **held)


def _small(cache: ObjectCache) -> ObjectCache:
    """The same loop for one request: nobody shares it."""
    held = {name: getattr(cache, name) for name in ("capacity", "policy", "admission", "sizes")}
    return ObjectCache(**held)


_columns: dict[str, frozenset[str]] = {}


def _has(trace: Trace, column: str) -> bool:
    """Whether a trace has a column, which its first record tells."""
    if trace.fingerprint not in _columns:
        _columns[trace.fingerprint] = frozenset(next(iter(trace.chunks(1, 0, 1)), {}))
    return column in _columns[trace.fingerprint]


def _at(error: StudyError, *path: str) -> StudyError:
    error.path = path
    return error
