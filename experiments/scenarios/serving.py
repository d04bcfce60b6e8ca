"""Requests to language models, served by a cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config, dump
from tiersim._base.registry import build, register
from tiersim.experiments.scenario import Measured, Metric, OfTrace, Progress
from tiersim.experiments.statistics import Estimate, ratio_of_sums
from tiersim.experiments.trace_use import TraceParam, TraceUse
from tiersim.models.cluster import Cluster, drives
from tiersim.models.prompts import poisson, prompts_of, rated, tied
from tiersim.models.routed import SAMPLE, Driver
from tiersim.models.serving import ServingSystem, limits_of, server_of, write_timeline
from tiersim.sim.prompts import Prompts
from tiersim.sim.queued import SECOND
from tiersim.sim.serving import Engines, Server
from tiersim.traces import Trace
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import REQUEST

if TYPE_CHECKING:
    from tiersim.sim.queued.timeline import Timeline

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

WINDOWS = 100
WHOLE = 10**9
MILLI = SECOND // 1000
FEWEST = 8  # sessions

SPANS = {
    "ttft": "from arrival to the first token",
    "tpot": "of a token after the first: mean of a request",
    "itl": "between two tokens of a request, of the whole run",
    "e2e": "from arrival to the last token",
    "queue": "from arrival to admission",
}
POINTS = {"mean": "mean", "p50": "median", "p90": "90th percentile", "p95": "95th percentile", "p99": "99th percentile"}
METRICS = {
    **{
        f"{span}.{point}": ("ms", f"{doc}: {word}", "less")
        for span, doc in SPANS.items()
        for point, word in POINTS.items()
    },
    "slo_attainment": ("ratio", "of the requests: served within `slo`", "more"),
    "goodput": ("1/s", "requests served within `slo`", "more"),
    "throughput": ("1/s", "requests served", "more"),
    "throughput.input": ("tokens/s", "of prompts that were served", "more"),
    "throughput.output": ("tokens/s", "of answers", "more"),
    "requests": ("requests", "in the measured part of the trace", ""),
    "rejected": ("requests", "that no instance has memory for", "less"),
    "preemptions": ("preemptions", "of requests that lost their memory to others", "less"),
    "prefix_hit_ratio.tokens": ("ratio", "of the tokens of prompts, at admission", "more"),
    "prefix_hit_ratio.blocks": ("ratio", "of the blocks of prompts, at admission", "more"),
    "prefix_hit_ratio.bound": (
        "ratio",
        "of the tokens of prompts: hits of one server with endless memory that takes one request after the other",
        "",
    ),
    "prefix_hit_ratio.shared": (
        "ratio",
        "of the tokens of prompts: what they share with those before them, partial blocks and last tokens too",
        "",
    ),
    "load_cv": (
        "ratio",
        "standard deviation by mean of the prompt tokens that instances still have to compute",
        "less",
    ),
    "waiting": ("requests", "that wait at an instance: mean over time", "less"),
    "running": ("requests", "that run at an instance: mean over time", ""),
    "energy": ("J", "that accelerators draw which work, at full power: of an output token", "less"),
    "cost": ("price", "of accelerators, by `price`: of 1,000,000 output tokens", "less"),
    "busy": ("ratio", "of the time that an instance works on an iteration: mean", ""),
    "memory_used": ("ratio", "of the pages of an instance: mean over time", ""),
    "cached": ("tokens", "in the prefix cache of an instance: mean over time", ""),
    "capacity": ("1/s", "the largest rate of arrivals that keeps `slo`; all other metrics are at that rate", "more"),
    "capacity.low": ("1/s", "the largest rate that keeps it with 95 % confidence", "more"),
    "capacity.high": ("1/s", "the lowest rate that does not keep it with 95 % confidence", "more"),
    "capacity.probes": ("runs", "at different rates, which the search took", ""),
    "duration": ("s", "from the first arrival to the last token, of the whole run", "less"),
}


@config
class RequestTrace(TraceUse):
    """Requests to a language model."""

    truncate: Annotated[int | None, Param("prompts are cut to so many tokens", unit="count", ge=1)] = None

    def to_data(self) -> dict[str, Any]:
        more = {} if self.truncate is None else {"truncate": str(self.truncate)}
        return super().to_data() | more


@config
class Load:
    """How requests arrive."""

    rate: Annotated[
        int | None, Param("arrivals are stretched to this mean; unless said, they are as recorded", unit="rate", ge=1)
    ] = None
    arrivals: Annotated[
        Literal["recorded", "poisson", "even"],
        Param("`poisson` and `even` draw them instead, at `rate`, in the order of the trace"),
    ] = "recorded"
    ties: Annotated[
        Literal["recorded", "drawn", "spread"],
        Param("`drawn`: those of one time come in an order that is drawn; `spread`: and evenly up to the next time"),
    ] = "recorded"
    sessions: Annotated[
        Literal["recorded", "wait"],
        Param("`wait`: a turn of a session comes only when the one before it has ended, and as much later as recorded"),
    ] = "recorded"
    think: Annotated[
        int | None, Param("with `wait`: from an end to the next turn, instead of what was recorded", unit="time", ge=0)
    ] = None


@config
class Slo:
    """What a request must keep to count as served well; what is left out is not asked."""

    ttft: Annotated[int | None, Param("from arrival to the first token, at most", unit="time", ge=1)] = None
    tpot: Annotated[int | None, Param("of a token after the first: mean of a request, at most", unit="time", ge=1)] = (
        None
    )
    e2e: Annotated[int | None, Param("from arrival to the last token, at most", unit="time", ge=1)] = None


@config
class Capacity:
    """A search for the largest rate of arrivals at which enough requests are served within `slo`."""

    least: Annotated[int, Param("the lowest rate that is looked at", unit="rate", ge=1)]
    most: Annotated[int, Param("the highest", unit="rate", ge=1)]
    attainment: Annotated[int, Param("requests that must be served within `slo`", unit="ratio", ge=1, le=WHOLE)] = (
        9 * WHOLE // 10
    )
    within: Annotated[int, Param("how near two rates are that are told apart", unit="ratio", ge=10**6, le=WHOLE)] = (
        2 * WHOLE // 100
    )

    @property
    def rates(self) -> list[int]:
        """The rates that are told apart, in equal ratios."""
        steps = max(1, math.ceil(math.log(self.most / self.least) / math.log1p(self.within / WHOLE)))
        return [round(self.least * (self.most / self.least) ** (k / steps)) for k in range(steps + 1)]


@dataclass
class Found:
    """The capacity and what bounds it with confidence, as places among the rates: -1 below the first."""

    capacity: int
    low: int
    high: int
    probes: int


@dataclass
class Simulated:
    """The course of each request of the trace in the order of arrival, and what was summed; times in picoseconds."""

    prompts: Prompts
    arrival: Numbers
    instance: Numbers
    admitted: Numbers
    first: Numbers
    end: Numbers
    hit: Numbers
    preemptions: Numbers
    gaps: dict[str, float]
    sums: dict[str, int]
    loads: Floats
    outside: dict[str, int]
    warm_up: int
    found: Found | None = None


@register("serving", family="scenario")
class Serving(OfTrace):
    """How requests to language models fare on servers: times to tokens, batches, prefix caches, routing."""

    trace: Annotated[RequestTrace, TraceParam("the requests to serve", reads_all=True, form=RequestTrace)]
    system: Annotated[ServingSystem, Param("the cluster")]
    load: Annotated[Load, Param("how requests arrive")] = field(default_factory=Load)
    policy: Annotated[Any, Param("which instance takes a request", family="routing")] = field(
        default_factory=partial(build, "routing", "round-robin")
    )
    slo: Annotated[Slo, Param("when a request counts as served well")] = field(default_factory=Slo)
    capacity: Annotated[Capacity | None, Param("search for the largest rate that keeps `slo`")] = None

    records: ClassVar[str] = REQUEST.name
    steps: ClassVar[str] = "requests"

    def check(self) -> None:
        self.trace.demand(self.records)
        if self.load.think is not None and self.load.sessions != "wait":
            raise _at(
                StudyError("who does not wait for an answer does not think", None, "sessions: wait"), "load", "think"
            )
        if self.load.sessions == "wait" and not self.has_sessions():
            raise _at(StudyError(f"{self.trace.open().name} does not know sessions"), "load", "sessions")
        if self.load.arrivals != "recorded" and self.load.rate is None and self.capacity is None:
            raise _at(StudyError("what is drawn has a rate", None, "say it: rate: 4 /s"), "load", "arrivals")
        if self.load.arrivals == "recorded" and not self._has("arrival"):
            message = f"{self.trace.open().name} does not say when its requests come"
            raise _at(StudyError(message, None, "load: {rate: 4 /s, arrivals: poisson}"), "trace", "use")
        if (search := self.capacity) is not None:
            if search.most <= search.least:
                raise _at(StudyError("the highest rate must be above the lowest"), "capacity", "most")
            if self.load.rate is not None:
                raise _at(StudyError("the search sets the rate: say `load.rate` or `capacity`"), "load", "rate")
            if self.slo == Slo():
                raise _at(StudyError("`slo` says nothing that could be kept", None, "slo: {ttft: 1 s}"), "capacity")
        try:
            server_of(self.system.instance, 0)
            self._arrays()
        except StudyError as error:
            error.path = ("system", "instance", *error.path)
            raise

    def refuses(self) -> str:
        return ""

    def is_random(self) -> bool:
        cache = self.system.instance.prefix_cache
        parts = [self.policy, *([cache.policy] if cache else [])]
        drawn = self.load.arrivals == "poisson" or self.load.ties != "recorded"
        return drawn or any(getattr(part, "random", False) for part in parts)

    def has_sessions(self) -> bool:
        return self._has("session")

    def _has(self, column: str) -> bool:
        return column in _columns(self.trace.open())

    def structure(self) -> Mapping[str, Any]:
        names = ["trace", "system", "load", "policy", *([] if self.capacity is None else ["capacity", "slo"])]
        return {name: dump(getattr(self, name)) for name in names}

    def modules(self) -> list[str]:
        instance = self.system.instance
        parts = [self.policy, instance.time_model, *([instance.prefix_cache.policy] if instance.prefix_cache else [])]
        return [type(self).__module__, *dict.fromkeys(type(part).__module__ for part in parts)]

    def _prompts(self) -> Prompts:
        use = self.trace
        return _prepared(use.open(), use.skip, use.limit, use.truncate)

    def preparation(self) -> str:
        return f"requests {self.trace_fingerprint()} {self.trace.skip} {self.trace.limit} {self.trace.truncate}"

    def prepare(self, progress: Progress) -> None:
        progress(len(self._prompts()))

    def streams(self) -> bool:
        return True

    def _arrays(self) -> dict[str, NDArray[Any]]:
        instance = self.system.instance
        made: dict[str, NDArray[Any]] = instance.time_model.compiled(
            instance.model, instance.accelerator, instance.parallel
        )
        return made

    def _engines(self, prompts: Prompts, server: Server, seed: int, count: int) -> Engines:
        instance = self.system.instance
        policy = instance.prefix_cache.policy if instance.prefix_cache else None
        return Engines(prompts, server, count, instance.time_model, self._arrays(), policy=policy, seed=seed)

    def loop(self) -> str:
        instance = self.system.instance
        return f"{instance.time_model} {instance.prefix_cache and instance.prefix_cache.policy}"

    def warm(self, note: Callable[[str], None]) -> None:
        note("compiling")
        one = np.ones(1, np.int64)
        nothing = Prompts(
            one * 0, one, one, Ragged(np.zeros(0, np.int64), np.zeros(2, np.int64)), one[:0], 0, -one, -one
        )
        engines = self._engines(nothing, Server(1), 0, 1)
        engines.submit(0, 0, 0)
        engines.advance()
        note("")

    @cached_property
    def _server(self) -> Server:
        try:
            return server_of(self.system.instance, self._prompts().block)
        except StudyError as error:
            error.path = ("system", "instance", *error.path)
            raise

    def size(self) -> int:
        """Of a search about as many steps as it takes."""
        probes = 1 if self.capacity is None else 3 + len(self.capacity.rates).bit_length()
        return self.trace.length() * probes

    def simulate(self, seed: int, progress: Progress) -> Simulated:
        if self.capacity is None:
            return self._at_rate(self.load.rate, seed, progress)
        return self._search(self.capacity, seed, progress)

    def _search(self, search: Capacity, seed: int, progress: Progress) -> Simulated:
        """Bisections for the rate that just keeps the objective, and for those that surely do and surely do not."""
        rates, wanted = search.rates, search.attainment / WHOLE
        probes: dict[int, tuple[Simulated, Estimate]] = {}

        def probe(place: int) -> Estimate:
            if place not in probes:
                made = self._at_rate(rates[place], seed, progress)
                probes[place] = made, self._attainment(made)
            return probes[place][1]

        def first(fails: Callable[[Estimate], bool]) -> int:
            low, high = 0, len(rates)
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if fails(probe(middle)) else (middle + 1, high)
            return low

        capacity = first(lambda held: held.value < wanted) - 1
        sure = first(lambda held: not held.low >= wanted) - 1
        over = first(lambda held: held.high < wanted)
        probe(max(capacity, 0))
        made, _ = probes[max(capacity, 0)]
        return replace(made, found=Found(capacity, sure, over, len(probes)))

    def _attainment(self, simulated: Simulated) -> Estimate:
        table = self._requests(simulated)
        parts = _parts(table, _ends(len(table["input"])), simulated.warm_up)
        weights = parts["slo_attainment.weight"]
        return ratio_of_sums(np.nan_to_num(parts["slo_attainment"]) * weights, weights)

    def _run(self, rate: int | None, seed: int, progress: Progress) -> tuple[Engines, Numbers, list[float]]:
        """What served all requests, when each came, and how uneven the loads were now and then."""
        prompts = self._prompts()
        if self.load.ties != "recorded":
            prompts = tied(prompts, seed, spread=self.load.ties == "spread")
        if rate is not None:
            prompts = replace(prompts, arrival=self._arrivals(prompts, rate, seed))
        engines = self._engines(prompts, self._server, seed, self.system.cluster.instances)
        driver = (Cluster if drives(self.policy) else Driver)(engines, self.policy, seed, progress)
        waits = self.load.sessions == "wait"
        arrival = driver.in_turn(self.load.think) if waits else driver.as_recorded()
        return engines, arrival, driver.loads

    def _arrivals(self, prompts: Prompts, rate: int, seed: int) -> Numbers:
        if self.load.arrivals == "poisson":
            return poisson(len(prompts), rate, seed)
        if self.load.arrivals == "even":
            return np.arange(len(prompts)) * (WHOLE * SECOND // rate)
        return rated(prompts, rate)

    def _at_rate(self, rate: int | None, seed: int, progress: Progress) -> Simulated:
        engines, arrival, loads = self._run(rate, seed, progress)
        served, log = engines.served, engines.iterations
        last = int(served.end.max(initial=0))
        sums = {name: sum(held) for name, held in engines.occupancy().items()}
        rows = log.columns
        busy = rows["count"] * rows["took"] + rows["slope"] * (rows["count"] * (rows["count"] - 1) // 2)
        return Simulated(
            engines.prompts,
            arrival,
            served.instance,
            served.admitted,
            served.first,
            served.end,
            served.hit,
            served.preemptions,
            _points(*log.gaps()),
            sums | {"time": last * engines.count, "busy": sum(busy.tolist())},
            np.array(loads, float),
            self._outside(rows),
            min(self.trace.warm_up_records(), len(engines.prompts)),
        )

    def keeps_time(self) -> bool:
        return True

    def draw(self, timeline: Timeline, seed: int, progress: Progress) -> None:
        rate = self.load.rate if self.capacity is None else self.capacity.least
        engines, arrival, _ = self._run(rate, seed, progress)
        write_timeline(engines, arrival, timeline)

    def _outside(self, rows: Mapping[str, Numbers]) -> dict[str, int]:
        """Iterations with more than the time model was measured with, by what there was more of."""
        count = rows["count"]
        out = {}
        for name, (_, most) in limits_of(self.system.instance).items():
            if name in rows and (beyond := int(count[rows[name] > most].sum())):
                out[name] = beyond
        return out

    def measure(self, simulated: Simulated) -> Measured:
        table = self._requests(simulated)
        measured = slice(simulated.warm_up, None)
        own = {name: held[measured] for name, held in table.items()}
        metrics: dict[str, int | float] = {}
        for name in ("ttft", "tpot", "e2e", "queue"):
            known = own[name][~np.isnan(own[name])]
            metrics |= {f"{name}.{point}": held for point, held in _points(known).items()}
        metrics |= {f"itl.{point}": held / MILLI for point, held in simulated.gaps.items()}
        served = own["served"] > 0
        span = (simulated.end[measured].max() - simulated.arrival[measured].min()) / SECOND if served.any() else 0
        metrics["requests"] = len(served)
        metrics["rejected"] = int((~served).sum())
        metrics["preemptions"] = int(simulated.preemptions[measured].sum())
        metrics["slo_attainment"] = float(own["slo_attainment"].mean())
        if span > 0:
            metrics["goodput"] = float(own["slo_attainment"].sum()) / span
            metrics["throughput"] = int(served.sum()) / span
            metrics["throughput.input"] = float(own["input"][served].sum()) / span
            metrics["throughput.output"] = float(own["output"][served].sum()) / span
        if self.system.instance.prefix_cache is not None and simulated.prompts.block:
            metrics["prefix_hit_ratio.tokens"] = float(own["hit"].sum() / own["input"].sum())
            if blocks := int(np.diff(simulated.prompts.blocks.offsets)[measured].sum()):
                metrics["prefix_hit_ratio.blocks"] = float(own["hit"].sum() / simulated.prompts.block / blocks)
            metrics["prefix_hit_ratio.bound"] = float(own["bound"].sum() / own["input"].sum())
            metrics["prefix_hit_ratio.shared"] = float(own["shared"].sum() / own["input"].sum())
        if len(loads := simulated.loads[-(-simulated.warm_up // SAMPLE) :]):
            metrics["load_cv"] = float(loads.mean())
        if time := simulated.sums["time"]:
            metrics["waiting"] = simulated.sums["waiting"] / time
            metrics["running"] = simulated.sums["running"] / time
            metrics["busy"] = simulated.sums["busy"] / time
            metrics |= self._costs(simulated)
            metrics["memory_used"] = simulated.sums["pages"] / time / self._server.pages
            metrics["cached"] = simulated.sums["blocks"] / time * simulated.prompts.block
            metrics["duration"] = time / self.system.cluster.instances / SECOND
        notes = [
            f"extrapolating: {count:,} iterations had more {name} than the time model was measured with"
            for name, count in simulated.outside.items()
        ]
        if self.capacity is not None and simulated.found is not None:
            more, told = _found(self.capacity.rates, simulated.found)
            metrics |= more
            notes += told
        ends = _ends(len(table["input"]))
        windows = {"end": ends / ends[-1]} | _parts(table, ends, simulated.warm_up)
        return Measured(metrics, windows, notes, self._sessions(simulated, own), requests=table)

    def _costs(self, simulated: Simulated) -> dict[str, float]:
        """What output tokens cost over the whole run, as far as that is said."""
        instance, tokens = self.system.instance, int(simulated.prompts.output[simulated.end >= 0].sum())
        count = instance.parallel.gpus
        out = {}
        gpu = instance.accelerator
        if gpu is not None and tokens and (energy := gpu.energy(simulated.sums["busy"])) is not None:
            out["energy"] = energy * count / tokens
        if instance.price is not None and tokens:
            hours = simulated.sums["time"] / SECOND / 3600 * count
            out["cost"] = hours * instance.price / tokens * 10**6
        return out

    def _requests(self, simulated: Simulated) -> dict[str, Floats]:
        """A row for each request, in the order of arrival; times in milliseconds, not-a-number where there is none."""
        prompts = simulated.prompts
        served = simulated.end >= 0
        late = np.where(served, simulated.first - simulated.arrival, np.nan) / MILLI
        made = np.where(served & (prompts.output > 1), simulated.end - simulated.first, np.nan)
        table = {
            "arrival": simulated.arrival / MILLI,
            "input": prompts.input.astype(float),
            "output": prompts.output.astype(float),
            "instance": simulated.instance.astype(float),
            "ttft": late,
            "tpot": made / np.maximum(prompts.output - 1, 1) / MILLI,
            "e2e": np.where(served, simulated.end - simulated.arrival, np.nan) / MILLI,
            "queue": np.where(served, simulated.admitted - simulated.arrival, np.nan) / MILLI,
            "hit": np.maximum(simulated.hit, 0).astype(float),
            "bound": _bound(prompts).astype(float),
            "shared": _shared(prompts).astype(float),
            "served": served.astype(float),
        }
        kept = served
        for name in ("ttft", "tpot", "e2e"):
            most = getattr(self.slo, name)
            if most is not None:  # an answer of one token has no time between tokens
                kept = kept & ~(table[name] > most / MILLI)
        return table | {"slo_attainment": kept.astype(float)}

    def _sessions(self, simulated: Simulated, own: Mapping[str, Floats]) -> dict[str, NDArray[Any]]:
        sessions = simulated.prompts.session[simulated.warm_up :]
        if len(sessions) == 0 or sessions[0] < 0:
            return {}
        order = np.argsort(sessions, kind="stable")
        names, counts = np.unique(sessions, return_counts=True)
        if len(names) < FEWEST:
            return {}
        sorted_ = {name: held[order] for name, held in own.items()}
        return {"session": names, **_parts(sorted_, np.cumsum(counts), 0)}

    def memory(self) -> int:
        return 150_000_000 + 600 * self.size() + 10_000 * self.system.cluster.instances

    def shown(self) -> list[str]:
        hits = ["prefix_hit_ratio.tokens"] if self.system.instance.prefix_cache else []
        kept = ["slo_attainment"] if dump(self.slo) else []
        if self.capacity is not None:
            return ["capacity", "capacity.low", "capacity.high", "ttft.p99", *hits]
        return ["ttft.mean", "ttft.p90", "itl.p99", "throughput", *hits, *kept]

    @staticmethod
    def metrics() -> list[Metric]:
        return [Metric(name, *said) for name, said in METRICS.items()]

    def describe(self, name: str) -> Metric | None:
        return Metric(name, *METRICS[name]) if name in METRICS else None

    def metric_names(self) -> list[str]:
        """Every metric that this config can give, whether or not the trace allows it."""
        return list(METRICS)


@lru_cache(maxsize=64)
def _columns(trace: Trace) -> frozenset[str]:
    """The columns that a trace has, which its first record tells."""
    return frozenset(next(iter(trace.chunks(1, 0, 1)), {}))


@lru_cache(maxsize=4)
def _prepared(trace: Trace, skip: int, limit: int | None, truncate: int | None) -> Prompts:
    made = prompts_of(trace.chunks(1 << 14, skip, limit), truncate=truncate)
    if not len(made):
        error = StudyError("no request is left: all have failed")
        error.path = ("trace",)
        raise error
    return made


def _ends(requests: int) -> Numbers:
    """Where windows of the run end."""
    ends = np.arange(1, WINDOWS + 1) * requests // WINDOWS
    return np.unique(ends[ends > 0])


def _found(rates: Sequence[int], found: Found) -> tuple[dict[str, float], list[str]]:
    """The metrics of a search, and what is to be said where it came to an end of its rates."""
    said = [0.0, *(rate / 10**9 for rate in rates), math.inf]
    metrics = {"capacity": said[found.capacity + 1], "capacity.low": said[found.low + 1]}
    notes = []
    if found.high < len(rates):
        metrics["capacity.high"] = said[found.high + 1]
    if found.capacity < 0:
        notes.append(f"the capacity is below {said[1]:g} /s, the lowest rate that was looked at")
    if found.capacity == len(rates) - 1:
        notes.append(f"the capacity is {said[-2]:g} /s or more, the highest rate that was looked at")
    return metrics | {"capacity.probes": float(found.probes)}, notes


def _at(error: StudyError, *path: str) -> StudyError:
    error.path = path
    return error


def _points(values: NDArray[Any], counts: NDArray[Any] | None = None) -> dict[str, float]:
    """The mean and the percentiles of values, each of which there is so many times; empty where there is none.

    A percentile is the least value that so many do not exceed.
    """
    if not len(values):
        return {}
    order = np.argsort(values)
    held = np.asarray(values, float)[order]
    many = np.ones(len(held)) if counts is None else np.asarray(counts, float)[order]
    below = np.cumsum(many)
    out = {"mean": float(np.average(held, weights=many))}
    for name in list(POINTS)[1:]:
        at = int(np.searchsorted(below, int(name[1:]) / 100 * below[-1] * (1 - 1e-12)))
        out[name] = float(held[min(at, len(held) - 1)])
    return out


def _shared(prompts: Prompts) -> Numbers:
    """Tokens of each prompt that a cache would have which has all prompts before it."""
    counts = np.diff(prompts.blocks.offsets)
    return np.minimum(_found_before(prompts, counts, counts) * prompts.block, prompts.input)


def _bound(prompts: Prompts) -> Numbers:
    """Tokens of each prompt that a server with endless memory hits if it serves those before it first.

    It keeps whole blocks, and computes the last token of each prompt.
    """
    size = max(prompts.block, 1)
    return _found_before(prompts, prompts.input // size, (prompts.input - 1) // size) * prompts.block


def _found_before(prompts: Prompts, kept: Numbers, used: Numbers) -> Numbers:
    """How many of the first blocks that each prompt may use are among those that one before it keeps of its own."""
    counts = np.diff(prompts.blocks.offsets)
    request = np.repeat(np.arange(len(counts)), counts)
    depth = np.arange(len(request)) - np.repeat(prompts.blocks.offsets[:-1], counts)
    first = np.full(len(prompts.parent), len(counts), np.int64)
    held = depth < kept[request]
    np.minimum.at(first, prompts.blocks.values[held], request[held])
    hits = (first[prompts.blocks.values] < request) & (depth < used[request])
    return np.bincount(request[hits], minlength=len(counts))


def _parts(table: Mapping[str, Floats], ends: Numbers, warm_up: int) -> dict[str, Floats]:
    """The metrics that are means over requests in each part of the table, and their denominators where measured."""
    starts = np.concatenate([[0], ends[:-1]])
    measured = np.arange(len(table["input"])) >= warm_up
    out: dict[str, Floats] = {}
    for name in ("ttft", "tpot", "e2e", "queue", "slo_attainment", "prefix_hit_ratio.tokens"):
        values = table["hit"] if name.startswith("prefix") else table[name]
        weights = table["input"] if name.startswith("prefix") else (~np.isnan(values)).astype(float)
        over = np.add.reduceat(np.nan_to_num(values), starts)
        under = np.add.reduceat(weights, starts)
        key = name if name in METRICS else f"{name}.mean"
        out[key] = np.divide(over, under, out=np.full(len(ends), np.nan), where=under > 0)
        out[f"{key}.weight"] = np.add.reduceat(weights * measured, starts)
    return out
