"""Requests to language models, served by a cluster."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, StudyError
from tiersim._base.params import Param, config, dump
from tiersim._base.registry import build, register
from tiersim.experiments.scenario import Addends, Measured, Metric, OfTrace, Progress
from tiersim.experiments.serving_metrics import (
    LINK_METRICS,
    LOAD_METRICS,
    TIER_METRICS,
    link_metrics,
    load_metrics,
    sums_of,
    tier_metrics,
)
from tiersim.experiments.statistics import Estimate, ratio_of_sums
from tiersim.experiments.trace_use import TraceParam, TraceUse
from tiersim.models.apart import Apart
from tiersim.models.cluster import Cluster, drives
from tiersim.models.members import Members
from tiersim.models.prompts import poisson, prompts_of, rated, tied
from tiersim.models.routed import Driver, Look
from tiersim.models.serving import (
    Instance,
    ServingSystem,
    bytes_of_token,
    check_decode,
    limits_of,
    links_of,
    policies_of,
    server_of,
    transfer_of,
    write_timeline,
)
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

SPANS = {  # of requests
    "ttft": "from arrival to the first token",
    "tpot": "of a token after the first: mean of a request",
    "itl": "between two tokens of a request, of the whole run",
    "e2e": "from arrival to the last token",
    "queue": "from arrival to admission",
    "loading": "from admission to when all of the hit is here, of requests that load",
    "transfer_wait": "from the first token to when keys and values begin to move to where it decodes",
    "transfer": "from then to when they are there",
    "decode_queue": "from then to admission there",
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
    "refused": ("requests", "that found too many waiting, or that the router refused", "less"),
    "lost": ("requests", "that were at an instance that failed, or that nobody was there for", "less"),
    "rerouted": ("times", "that requests left an instance which failed or drained, and were routed anew", "less"),
    "preemptions": ("preemptions", "of requests that lost their memory to others", "less"),
    "swaps": ("swaps", "of requests that lost their memory, and what they had was kept in the swap", "less"),
    "prefix_hit_ratio.tokens": ("ratio", "of the tokens of prompts, at admission", "more"),
    "prefix_hit_ratio.blocks": ("ratio", "of the blocks of prompts, at admission", "more"),
    "prefix_hit_ratio.fetched": ("ratio", "of the tokens of prompts: fetched from tiers, at admission", "more"),
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
    **LOAD_METRICS,
    "waiting": ("requests", "that wait at an instance: mean over time", "less"),
    "running": ("requests", "that run at an instance: mean over time", ""),
    "loading": ("requests", "that wait for what they fetch from tiers: mean over time", "less"),
    "up": ("instances", "that are there, those that drain among them: mean over time", ""),
    "swap_used": ("ratio", "of the pages of the swap of an instance: mean over time", ""),
    "energy": ("J", "that accelerators draw which work, at full power: of an output token", "less"),
    "cost": ("price", "of accelerators, by `price`: of 1,000,000 output tokens", "less"),
    "busy": ("ratio", "of the time that an instance works on an iteration: mean", ""),
    "transfer.bytes": ("bytes", "of keys and values that moved to where they decode, in the whole run", ""),
    "transfer.busy": ("ratio", "of the time that these links move something: mean", ""),
    "decode.waiting": ("requests", "that have come over and wait at an instance that decodes: mean over time", "less"),
    "decode.running": ("requests", "that run at an instance that decodes: mean over time", ""),
    "decode.busy": ("ratio", "of the time that an instance that decodes works on an iteration: mean", ""),
    "decode.memory_used": ("ratio", "of the pages of an instance that decodes: mean over time", ""),
    "decode.swap_used": ("ratio", "of the pages of the swap of an instance that decodes: mean over time", ""),
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
class Ran:
    """What served all requests, when each came, its course, how uneven the loads were now and then, and what moved."""

    kinds: list[Engines]
    arrival: Numbers
    course: dict[str, NDArray[Any]]
    loads: list[Look]
    moves: dict[str, list[int]]
    members: Members | None  # if they may come and go


@dataclass
class Simulated:
    """The course of each request of the trace in the order of arrival, and what was summed; times in picoseconds."""

    prompts: Prompts
    arrival: Numbers
    course: dict[str, NDArray[Any]]
    gaps: dict[str, float]
    sums: list[dict[str, int]]  # of each kind of instances
    behind: dict[str, float]  # metrics of links and tiers
    loads: list[Look]
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
        for where, instance in self._kinds().items():
            with _inside("system", *where):
                server_of(instance, 0)
                self._arrays(instance)
        with _inside("system", "cluster"):
            self.system.cluster.check()
        if (decode := self.system.decode) is not None:
            if self.system.cluster.varies or self.system.cluster.refresh is not None:
                message = "where others decode, instances neither come nor go, and are seen as they are"
                raise _at(
                    StudyError(message, None, "say of `cluster` only how many `instances` there are"),
                    "system",
                    "cluster",
                )
            with _inside("system"):
                check_decode(self.system)
            for path, policy in ((("policy",), self.policy), (("system", "decode", "policy"), decode.policy)):
                if drives(policy):
                    message = "a router that holds requests, or asks for first tokens, knows no instances that decode"
                    raise _at(StudyError(message, None, "take another one: policy: least-loaded"), *path)

    def refuses(self) -> str:
        return ""

    def is_random(self) -> bool:
        drawn = self.load.arrivals == "poisson" or self.load.ties != "recorded"
        return drawn or any(getattr(part, "random", False) for part in self._policies())

    def _kinds(self) -> dict[tuple[str, ...], Instance]:
        """The kinds of instances, by where they are said in `system`."""
        decoder = self.system.decoder
        return {("instance",): self.system.instance} | ({} if decoder is None else {("decode", "instance"): decoder})

    def _policies(self) -> list[Any]:
        """All that decides: routers, and who leaves prefix caches and tiers."""
        decode = self.system.decode
        return [self.policy, *([] if decode is None else [decode.policy]), *policies_of(self.system.instance)]

    def has_sessions(self) -> bool:
        return self._has("session")

    def _has(self, column: str) -> bool:
        return column in _columns(self.trace.open())

    def structure(self) -> Mapping[str, Any]:
        names = ["trace", "system", "load", "policy", *([] if self.capacity is None else ["capacity", "slo"])]
        return {name: dump(getattr(self, name)) for name in names}

    def modules(self) -> list[str]:
        parts = [*self._policies(), *(instance.time_model for instance in self._kinds().values())]
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

    def _arrays(self, instance: Instance) -> dict[str, NDArray[Any]]:
        made: dict[str, NDArray[Any]] = instance.time_model.compiled(
            instance.model, instance.accelerator, instance.parallel
        )
        return made

    def _engines(self, prompts: Prompts, instance: Instance, server: Server, count: int, seed: int) -> Engines:
        policy, *tiers = policies_of(instance) or [None]
        arrays = self._arrays(instance)
        return Engines(
            prompts,
            server,
            count,
            instance.time_model,
            arrays,
            policy=policy,
            tier_policies=tiers[: len(server.tiers)],
            seed=seed,
        )

    def loop(self) -> str:
        kinds = self._kinds().values()
        return " ".join(f"{instance.time_model} {policies_of(instance)} {instance.swap}" for instance in kinds)

    def warm(self, note: Callable[[str], None]) -> None:
        note("compiling")
        one = np.ones(1, np.int64)
        blocks = Ragged(np.zeros(0, np.int64), np.zeros(2, np.int64))
        nothing = Prompts(one * 0, one, one, blocks, one[:0], self._prompts().block, -one, -one)
        for instance, server in zip(self._kinds().values(), self._servers, strict=True):
            engines = self._engines(nothing, instance, server, 1, 0)
            engines.submit(0, 0, 0)
            engines.advance()
        note("")

    @cached_property
    def _servers(self) -> list[Server]:
        """Each kind of instances in the terms of the engine."""
        made = []
        for where, instance in self._kinds().items():
            with _inside("system", *where):
                made.append(server_of(instance, self._prompts().block))
        if self.system.decode is not None:
            made[0] = replace(made[0], hold=True)
        return made

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

    def _run(self, rate: int | None, seed: int, progress: Progress) -> Ran:
        prompts = self._prompts()
        if self.load.ties != "recorded":
            prompts = tied(prompts, seed, spread=self.load.ties == "spread")
        if rate is not None:
            prompts = replace(prompts, arrival=self._arrivals(prompts, rate, seed))
        system, decode = self.system, self.system.decode
        counts = [system.cluster.instances, *([] if decode is None else [decode.instances])]
        kinds = [
            self._engines(prompts, instance, server, count, seed)
            for instance, server, count in zip(self._kinds().values(), self._servers, counts, strict=True)
        ]
        driver = self._driver(kinds, seed, progress)
        waits = self.load.sessions == "wait"
        arrival = driver.in_turn(self.load.think) if waits else driver.as_recorded()
        course = dict(vars(kinds[0].served))
        if isinstance(driver, Apart):
            later = kinds[1].served
            course |= vars(driver.course) | {"swaps": course["swaps"] + later.swaps}
        members = None
        if isinstance(driver, Cluster):
            members = driver.members
            course |= {"lost": driver.lost, "rerouted": driver.rerouted}
        return Ran(kinds, arrival, course, driver.loads, driver.carried() if isinstance(driver, Apart) else {}, members)

    def _driver(self, kinds: Sequence[Engines], seed: int, progress: Progress) -> Driver | Cluster | Apart:
        cluster, decode = self.system.cluster, self.system.decode
        if decode is not None:
            token, latency = transfer_of(self.system)
            return Apart(
                kinds[0],
                kinds[1],
                self.policy,
                decode.policy,
                token=token,
                latency=latency,
                seed=seed,
                progress=progress,
            )
        if cluster.refresh is None and not cluster.varies and not drives(self.policy):
            return Driver(kinds[0], self.policy, seed, progress)
        return cluster.driver(kinds[0], self.policy, seed, progress)

    def _arrivals(self, prompts: Prompts, rate: int, seed: int) -> Numbers:
        if self.load.arrivals == "poisson":
            return poisson(len(prompts), rate, seed)
        if self.load.arrivals == "even":
            return np.arange(len(prompts)) * (WHOLE * SECOND // rate)
        return rated(prompts, rate)

    def _at_rate(self, rate: int | None, seed: int, progress: Progress) -> Simulated:
        ran = self._run(rate, seed, progress)
        course, kinds = ran.course, ran.kinds
        _audit(course)
        last = int(course["end"].max(initial=0))
        gaps = [kind.iterations.gaps() for kind in kinds]
        outside: Counter[str] = Counter()
        for instance, kind in zip(self._kinds().values(), kinds, strict=True):
            outside.update(_outside(instance, kind.iterations.columns))
        instance = self.system.instance
        behind = link_metrics(instance, kinds[0], last) | tier_metrics(instance, kinds[0], last)
        return Simulated(
            kinds[0].prompts,
            ran.arrival,
            course,
            _points(*map(np.concatenate, zip(*gaps, strict=True))),
            [sums_of(kind, last, ran.members) for kind in kinds],
            behind | self._transfers(ran.moves, last),
            ran.loads,
            dict(outside),
            min(self.trace.warm_up_records(), len(kinds[0].prompts)),
        )

    def _transfers(self, moves: Mapping[str, list[int]], last: int) -> dict[str, float]:
        """What moved to where it was decoded, over all links together."""
        if not moves:
            return {}
        made: dict[str, float] = {"transfer.bytes": sum(moves["tokens"]) * bytes_of_token(self.system.instance)}
        return made | ({"transfer.busy": sum(moves["busy"]) / (last * len(moves["busy"]))} if last else {})

    def keeps_time(self) -> bool:
        return True

    def draw(self, timeline: Timeline, seed: int, progress: Progress) -> None:
        rate = self.load.rate if self.capacity is None else self.capacity.least
        ran = self._run(rate, seed, progress)
        write_timeline(ran.kinds, ran.arrival, ran.course, timeline)

    def measure(self, simulated: Simulated) -> Measured:
        table = self._requests(simulated)
        measured = slice(simulated.warm_up, None)
        own = {name: held[measured] for name, held in table.items()}
        metrics: dict[str, int | float] = {}
        for name in (name for name in SPANS if name in own):
            known = own[name][~np.isnan(own[name])]
            metrics |= {f"{name}.{point}": held for point, held in _points(known).items()}
        metrics |= {f"itl.{point}": held / MILLI for point, held in simulated.gaps.items()}
        served = own["served"] > 0
        last = int(simulated.course["end"][measured].max())
        span = (last - int(simulated.arrival[measured].min())) / SECOND if served.any() else 0
        metrics["requests"] = len(served)
        for name in (
            "rejected",
            "refused",
            "preemptions",
            "swaps",
            *(("lost", "rerouted") * self.system.cluster.varies),
        ):
            metrics[name] = int(simulated.course[name][measured].sum())
        metrics["slo_attainment"] = float(own["slo_attainment"].mean())
        if span > 0:
            metrics["goodput"] = float(own["slo_attainment"].sum()) / span
            metrics["throughput"] = int(served.sum()) / span
            metrics["throughput.input"] = float(own["input"][served].sum()) / span
            metrics["throughput.output"] = float(own["output"][served].sum()) / span
        if self.system.instance.prefix_cache is not None and simulated.prompts.block:
            metrics["prefix_hit_ratio.tokens"] = float(own["hit"].sum() / own["input"].sum())
            if "fetched" in own:
                metrics["prefix_hit_ratio.fetched"] = float(own["fetched"].sum() / own["input"].sum())
            if blocks := int(np.diff(simulated.prompts.blocks.offsets)[measured].sum()):
                metrics["prefix_hit_ratio.blocks"] = float(own["hit"].sum() / simulated.prompts.block / blocks)
            metrics["prefix_hit_ratio.bound"] = float(own["bound"].sum() / own["input"].sum())
            metrics["prefix_hit_ratio.shared"] = float(own["shared"].sum() / own["input"].sum())
        metrics |= load_metrics(simulated.loads, simulated.warm_up)
        metrics |= self._over_time(simulated)
        metrics |= simulated.behind
        notes = [
            f"extrapolating: {count:,} iterations had more {name} than the time model was measured with"
            for name, count in simulated.outside.items()
        ]
        if self.system.instance.tiers and not simulated.prompts.block:
            notes.append("the trace knows no blocks of prompts: prefix cache and tiers stay empty")
        if self.capacity is not None and simulated.found is not None:
            more, told = _found(self.capacity.rates, simulated.found)
            metrics |= more
            notes += told
        ends = _ends(len(table["input"]))
        windows = {"end": ends / ends[-1]} | _parts(table, ends, simulated.warm_up)
        return Measured(metrics, windows, notes, self._sessions(simulated, own), requests=table)

    def _over_time(self, simulated: Simulated) -> dict[str, float]:
        """Means over the whole run: of the instances that compute prompts, then of those that only decode."""
        made: dict[str, float] = {}
        for prefix, server, sums in zip(("", "decode."), self._servers, simulated.sums, strict=False):
            if not (time := sums["time"]):
                continue
            for name in ("waiting", "running", "busy"):
                made[f"{prefix}{name}"] = sums[name] / time
            made[f"{prefix}memory_used"] = sums["pages"] / time / server.pages
            if server.swap:
                made[f"{prefix}swap_used"] = sums["swapped"] / time / server.swap
        first = simulated.sums[0]
        if time := first["time"]:
            made["cached"] = first["blocks"] / time * simulated.prompts.block
            made["duration"] = first["last"] / SECOND
            if self.system.cluster.varies:
                made["up"] = time / first["last"]
            if self._servers[0].tiers:
                made["loading"] = first["loading"] / time
        return made | self._costs(simulated)

    def _costs(self, simulated: Simulated) -> dict[str, float]:
        """What output tokens cost over the whole run, as far as that is said of all instances."""
        tokens = int(simulated.prompts.output[simulated.course["end"] >= 0].sum())
        out: dict[str, float] = {}
        if not tokens:
            return out
        energies, prices = [], []
        for instance, sums in zip(self._kinds().values(), simulated.sums, strict=True):
            gpu, count = instance.accelerator, instance.parallel.gpus
            energies.append(None if gpu is None else gpu.energy(sums["busy"] * count))
            hours = sums["time"] / SECOND / 3600 * count
            prices.append(None if instance.price is None else hours * instance.price)
        if None not in energies:
            out["energy"] = sum(filter(None, energies)) / tokens
        if None not in prices:
            out["cost"] = sum(filter(None, prices)) / tokens * 10**6
        return out

    def _requests(self, simulated: Simulated) -> dict[str, Floats]:
        """A row for each request, in the order of arrival; times in milliseconds, not-a-number where there is none."""
        prompts, course, arrival = simulated.prompts, simulated.course, simulated.arrival
        served = course["end"] >= 0

        def span(begin: Numbers, end: Numbers, there: NDArray[np.bool_] = served) -> Floats:
            return np.where(there, end - begin, np.nan) / MILLI

        first, end, several = course["first"], course["end"], served & (prompts.output > 1)
        table = {
            "arrival": arrival / MILLI,
            "input": prompts.input.astype(float),
            "output": prompts.output.astype(float),
            "instance": course["instance"].astype(float),
            "ttft": span(arrival, first),
            "tpot": span(first, end, several) / np.maximum(prompts.output - 1, 1),
            "e2e": span(arrival, end),
            "queue": span(arrival, course["admitted"]),
            "hit": np.maximum(course["hit"], 0).astype(float),
            "bound": _bound(prompts).astype(float),
            "shared": _shared(prompts).astype(float),
            "preemptions": course["preemptions"].astype(float),
            "refused": course["refused"].astype(float),
            "served": served.astype(float),
        }
        if self.system.instance.tiers:
            loads = served & ((course["fetched"] > 0) | (course["ready"] > course["admitted"]))
            table["fetched"] = np.maximum(course["fetched"], 0).astype(float)
            table["loading"] = span(course["admitted"], course["ready"], loads)
        if self.system.cluster.varies:
            table |= {name: course[name].astype(float) for name in ("lost", "rerouted")}
        if any(instance.swap is not None for instance in self._kinds().values()):
            table["swaps"] = course["swaps"].astype(float)
        if self.system.decode is not None:
            table["decoded_on"] = course["decoded_on"].astype(float)
            table["transfer_wait"] = span(first, course["begun"], several)
            table["transfer"] = span(course["begun"], course["came"], several)
            table["decode_queue"] = span(course["came"], course["joined"], several)
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
        decode = self.system.decode
        kinds, instances = (1, 0) if decode is None else (2, decode.instances)
        return 150_000_000 + 600 * self.size() * kinds + 10_000 * (self.system.cluster.instances + instances)

    def shown(self) -> list[str]:
        hits = ["prefix_hit_ratio.tokens"] if self.system.instance.prefix_cache else []
        kept = ["slo_attainment"] if dump(self.slo) else []
        if self.capacity is not None:
            return ["capacity", "capacity.low", "capacity.high", "ttft.p99", *hits]
        return ["ttft.mean", "ttft.p90", "itl.p99", "throughput", *hits, *kept]

    @staticmethod
    def parts(metric: str, names: Collection[str]) -> Addends:
        stages = {  # all three are means over the requests that were served
            "ttft.mean": Addends(("queue.mean",), "from admission to the first token"),
            "e2e.mean": Addends(("ttft.mean",), "from the first token to the last"),
        }
        return stages.get(metric, Addends())

    @staticmethod
    def metrics() -> list[Metric]:
        named = {"links": LINK_METRICS, "tiers": TIER_METRICS}
        own = [Metric(name, *said) for name, said in METRICS.items()]
        return own + [Metric(f"{of}.NAME.{name}", *said) for of, held in named.items() for name, said in held.items()]

    def describe(self, name: str) -> Metric | None:
        said = (METRICS | self._named()).get(name)
        return None if said is None else Metric(name, *said)

    def _named(self) -> dict[str, tuple[str, str, str]]:
        """Metrics of links and tiers, which have names of the study's own."""
        instance = self.system.instance
        parts = (("links", links_of(instance), LINK_METRICS), ("tiers", instance.tiers or {}, TIER_METRICS))
        return {
            f"{of}.{part}.{name}": said for of, names, held in parts for part in names for name, said in held.items()
        }

    def metric_names(self) -> list[str]:
        """Every metric that this config can give, whether or not the trace allows it."""
        return [*METRICS, *self._named()]


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


def _audit(course: Mapping[str, NDArray[Any]]) -> None:
    """Each request is served, rejected, refused or lost, and only one of these. Raises AuditError."""
    what = (course["end"] >= 0).astype(int) + course["rejected"] + course["refused"]
    what += course.get("lost", np.zeros_like(what))
    if (wrong := np.flatnonzero(what != 1)).size:
        raise AuditError(f"request {wrong[0]} is not just one of: served, rejected, refused, lost")


def _outside(instance: Instance, rows: Mapping[str, Numbers]) -> dict[str, int]:
    """Iterations with more than the time model was measured with, by what there was more of."""
    count = rows["count"]
    out = {}
    for name, (_, most) in limits_of(instance).items():
        if name in rows and (beyond := int(count[rows[name] > most].sum())):
            out[name] = beyond
    return out


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


@contextmanager
def _inside(*path: str) -> Iterator[None]:
    """Whatever is wrong is so inside this path."""
    try:
        yield
    except StudyError as error:
        error.path = (*path, *error.path)
        raise


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
