"""A mixture-of-experts model whose experts do not all fit on its GPUs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError, TiersimError
from tiersim._base.params import Param, config, dump
from tiersim._base.registry import build, register
from tiersim._base.units import Quantity
from tiersim.experiments.scenario import Addends, Measured, Metric, OfTrace, Progress, by_record
from tiersim.experiments.trace_use import TraceParam, TraceUse
from tiersim.models.expert_queued import offload_queued
from tiersim.models.expert_trace import routed_of
from tiersim.models.experts import ExpertSystem, check_system, costs_of, placed_of, routed_layers, slots_of
from tiersim.sim.expert_offload import Machine, Offloaded, offload
from tiersim.sim.expert_rows import Costs, Rows
from tiersim.sim.expert_steps import Routed, Schedule, rows_of, schedule_of
from tiersim.sim.queued import SECOND
from tiersim.traces import Trace
from tiersim.traces.schema import ROUTING

if TYPE_CHECKING:
    from tiersim.sim.queued.timeline import Timeline

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

WINDOWS = 100
WHOLE = 10**9
MILLI = SECOND // 1000
FEWEST = 8  # sessions

POINTS = {"mean": "mean", "p50": "median", "p90": "90th percentile", "p99": "99th percentile"}
SPANS = {"tpot": "of a step that decodes: a token of each sequence in it", "prefill": "of a step that is a prompt"}
METRICS = {
    "tokens_per_second": ("tokens/s", "that are told: one of a prompt, and each that is decoded", "more"),
    **{
        f"{span}.{point}": ("ms", f"{doc}: {word}", "less")
        for span, doc in SPANS.items()
        for point, word in POINTS.items()
    },
    "hit_ratio": ("ratio", "of the experts that rows need: on the GPU when they are wanted there", "more"),
    "late_ratio": ("ratio", "of the experts that rows need: on their way to the GPU when they are wanted there", ""),
    "miss_ratio": ("ratio", "of the experts that rows need: to be loaded when they are wanted on the GPU", "less"),
    "cpu_ratio": ("ratio", "of the experts that rows need: run by the processor", ""),
    "skipped_ratio": ("ratio", "of the experts that rows need: left out", "less"),
    "needed": ("experts", "that rows need", ""),
    "misses": ("experts", "to be loaded when they are wanted on the GPU", "less"),
    "stall_time": ("ms", "of a step: that GPUs wait for loads, mean", "less"),
    "wait_time": ("ms", "of a step: that GPUs wait for the processor, mean", "less"),
    "link.busy": ("ratio", "of the time that links move experts: mean of the GPUs", ""),
    "link.bytes": ("bytes", "of experts, of a token that is told", "less"),
    "gpu.busy": ("ratio", "of the time that GPUs compute: mean", "more"),
    "cpu.busy": ("ratio", "of the time that the processor runs experts", ""),
    "loads.ahead": ("ratio", "of the loads: of what was wished for and not needed yet", ""),
    "loads.low": ("ratio", "of the loads: in low precision", ""),
    "wishes.used": ("ratio", "of the experts loaded ahead: wanted before they left; of the whole run", "more"),
    "drive.reads": ("experts", "read from the drive", "less"),
    "predictions.recall": ("ratio", "of the experts that rows need: predicted", "more"),
    "predictions.precision": ("ratio", "of the experts predicted: needed by the row", "more"),
    "energy": ("J", "that GPUs draw which compute, at full power: of a token that is told", "less"),
    "tokens": ("tokens", "that pass the model in the measured part of the trace", ""),
    "steps": ("steps", "in the measured part of the trace", ""),
    "duration": ("s", "of the measured part of the trace", "less"),
    "slots": ("experts", "that a GPU has room for", ""),
}
COUNTED = ("processed", "skipped", "loads", "loads_low", "wished", "reads", "link_time", "gpu_time", "processor_time")


@config
class ExpertTrace(TraceUse):
    """Routed tokens of sequences."""

    tokens: Annotated[
        int | None, Param("that are replayed: whole sequences, the last one cut; unless said, all", unit="count", ge=1)
    ] = None
    warm_up: Annotated[
        Quantity | None, Param("first steps, which fill the slots and are not measured", unit="count|ratio", ge=0)
    ] = None

    def to_data(self) -> dict[str, Any]:
        more = {} if self.tokens is None else {"tokens": str(self.tokens)}
        return super().to_data() | more


@dataclass
class Simulated:
    """What became of each step, and what had been counted when each window ended."""

    steps: dict[str, Numbers]  # a number for each step
    ends: Numbers  # of windows, in steps; one is that of the warm-up
    counted: dict[str, Numbers]  # when each of them ended
    counts: dict[str, int]  # of the whole
    size: tuple[int, int]  # of an expert, in full and in low precision
    slots: int
    warm_up: int


@register("expert-offload", family="scenario")
class ExpertOffload(OfTrace):
    """How fast a mixture-of-experts model runs whose experts do not all fit on its GPUs: loads, stalls, tokens."""

    trace: Annotated[ExpertTrace, TraceParam("the routed tokens to replay", reads_all=True, form=ExpertTrace)]
    system: Annotated[ExpertSystem, Param("the model, its GPUs, and what holds the experts")]
    policy: Annotated[Any, Param("what is loaded, what leaves, what the processor runs", family="experts")]
    batch: Annotated[int, Param("sequences at a time", unit="count", ge=1, le=4096)] = 1
    prompt: Annotated[int, Param("first tokens of a sequence, computed at once", unit="count", ge=0)] = 0
    predictions: Annotated[Any, Param("what is known beforehand of what rows need", family="expert-prediction")] = (
        field(default_factory=partial(build, "expert-prediction", "none"))
    )
    timing: Annotated[
        Literal["alone", "queued"],
        Param("`queued`: loads, hidden states, keys and values share links; `alone`: loads have them for themselves"),
    ] = "alone"
    learn: Annotated[
        int,
        Param(
            "of the sequences, the first ones: what is learnt is learnt of them, and they are not replayed",
            unit="ratio",
            ge=0,
            le=WHOLE - 1,
        ),
    ] = WHOLE // 10

    records: ClassVar[str] = ROUTING.name
    steps: ClassVar[str] = "routed tokens"

    def check(self) -> None:
        self.trace.demand(self.records)
        with _inside("system"):
            check_system(self.system)
        with _inside("trace", "use"):
            learnt, routed = self._routed()
        model, layers = self.system.model, routed_layers(self.system)
        assert model.experts is not None
        if routed.layers != layers or int(routed.experts.max()) >= model.experts.count:
            trace = f"{routed.layers} layers to experts up to number {routed.experts.max()}"
            error = StudyError(
                f"the trace routes at {trace}, and the model at {layers} layers to {model.experts.count} experts",
                None,
                "take the model that the trace is of",
            )
            raise _at(error, "system", "model")
        with _inside("system"):
            self._slots()
        if not learnt.tokens and self._learns():
            error = StudyError(
                f"{self.learn / 1e7:g} % of {len(routed.lengths)} sequences is none to learn of",
                None,
                "take more of the trace, or more of it to learn: learn: 50 %",
            )
            raise _at(error, "learn")
        if hasattr(self.predictions, "check"):
            with _inside("predictions"):
                self.predictions.check(routed)
        steps = self._schedule().steps
        if (warm_up := self.trace.warm_up_of(steps)) >= steps:
            error = StudyError(f"a warm-up of {warm_up:,} steps leaves nothing of {steps:,}")
            raise _at(error, "trace", "warm_up")

    def refuses(self) -> str:
        return ""

    def is_random(self) -> bool:
        parts = (self.predictions, self.policy, getattr(self.policy, "replacement", None))
        return any(getattr(part, "random", False) for part in parts)

    def has_sessions(self) -> bool:
        return self.batch == 1

    def structure(self) -> Mapping[str, Any]:
        return {name: dump(getattr(self, name)) for name in KEYS}

    def modules(self) -> list[str]:
        parts = (self.policy, getattr(self.policy, "replacement", None), self.predictions, self.system.time_model)
        return [type(self).__module__, *dict.fromkeys(type(part).__module__ for part in parts if part is not None)]

    def size(self) -> int:
        trace = self.trace
        whole = trace.open().records - trace.skip
        whole = whole if trace.limit is None else min(whole, trace.limit)
        return whole if trace.tokens is None else min(whole, trace.tokens * routed_layers(self.system))

    def _learns(self) -> bool:
        """Whether something is learnt of other sequences."""
        place = getattr(self.policy, "place", None)
        return (
            getattr(self.predictions, "learns", False)
            or getattr(getattr(self.policy, "replacement", None), "profile", False)
            or (place is not None and not {"popular", "needed_x"}.isdisjoint(signature(place).parameters))
        )

    def _routed(self) -> tuple[Routed, Routed]:
        """The sequences to learn of, and those to replay."""
        use = self.trace
        return _parts(use.open(), use.skip, use.limit, use.tokens, self.learn)

    def _schedule(self) -> Schedule:
        return schedule_of(self._routed()[1], self.batch, self.prompt)

    def _rows(self) -> Rows:
        """What is replayed, with nothing predicted."""
        use, model = self.trace, self.system.model
        assert model.experts is not None
        said = (use.skip, use.limit, use.tokens, self.learn)
        return _rows(use.open(), *said, self.batch, self.prompt, model.experts.count)

    def _slots(self) -> int:
        """Slots of each layer, or of each GPU, as the policy counts them."""
        contexts = int(np.sort(self._routed()[1].lengths)[-self.batch :].sum())
        slots, layers = slots_of(self.system, contexts), routed_layers(self.system)
        if self.policy.scope == "model":
            return slots
        if slots < layers:
            error = StudyError(
                f"there are {layers} layers, and slots for {slots} experts in all", None, "take more, or `scope: model`"
            )
            raise _at(error, "expert_slots")
        return slots // layers

    def preparation(self) -> str:
        use = self.trace
        return f"experts {self.trace_fingerprint()} {use.skip} {use.limit} {use.tokens} {self.learn}"

    def prepare(self, progress: Progress) -> None:
        self._routed()

    def streams(self) -> bool:
        return True

    def loop(self) -> str:
        return f"{self.policy}"

    def warm(self, note: Callable[[str], None]) -> None:
        if getattr(self.policy, "bound", False):
            return
        note("compiling")
        with _inside("policy"):
            rows = _first(self._rows())
            Machine(rows, self._costs(rows), self.policy, slots=self._slots(), popular=self._popular()).go()
        note("")

    def _costs(self, rows: Rows) -> Costs:
        with _inside("system"):
            return costs_of(self.system, rows)

    def _options(self, rows: Rows, seed: int) -> dict[str, Any]:
        """What the engine is told besides rows, costs and policy."""
        return {
            "slots": self._slots(),
            "gpus": self.system.gpus,
            "overlap": self.system.overlap,
            "placed": self._placed(),
            "popular": self._popular(),
            "seed": seed,
        }

    def _popular(self) -> Numbers:
        """How many tokens of the other sequences pass each expert."""
        assert self.system.model.experts is not None
        return self._routed()[0].popular(self.system.model.experts.count)

    def _placed(self) -> list[int]:
        """The experts that the policy places for good, by what it learns of the other sequences."""
        if not hasattr(self.policy, "place"):
            return []
        assert self.system.model.experts is not None
        learnt, experts = self._routed()[0], self.system.model.experts.count
        rows = rows_of(learnt, schedule_of(learnt, self.batch, self.prompt), experts)
        return placed_of(self.system, self.policy, rows, self._slots(), self._popular())

    def simulate(self, seed: int, progress: Progress) -> Simulated:
        rows = self._predicted(seed)
        warm_up = self.trace.warm_up_of(rows.steps)
        ends = np.unique([warm_up, *(rows.steps * step // WINDOWS for step in range(1, WINDOWS + 1))])
        ends = ends[ends > 0]
        told = by_record(self.size(), rows.steps * rows.layers, progress)
        costs = self._costs(rows)
        words: dict[str, list[int]] = {name: [] for name in COUNTED}

        def see(machine: Machine) -> None:
            for name, held in words.items():
                held.append(machine.word(name))

        if getattr(self.policy, "bound", False):
            slots, gpus = self._slots(), self.system.gpus
            done = offload(rows, costs, self.policy, slots=slots, gpus=gpus, placed=self._placed(), progress=told)
            counted = _of_bound(done, ends * rows.layers, costs)
        elif self.timing == "queued":
            options = self._options(rows, seed)
            done = offload_queued(
                rows, costs, self.policy, **options, progress=told, cuts=(ends[:-1] * rows.layers).tolist(), seen=see
            )
            for name in COUNTED:
                words[name].append(done.counts[name])
        else:
            machine = Machine(rows, costs, self.policy, **self._options(rows, seed))
            for place, end in enumerate(ends.tolist()):
                if end < rows.steps:
                    machine.go(upto=end * rows.layers)
                else:
                    machine.go()
                see(machine)
                told((end - (ends[place - 1] if place else 0)) * rows.layers)
            done = machine.result()
        if not getattr(self.policy, "bound", False):
            counted = {name: np.array(held, np.int64) for name, held in words.items()}
        steps = {name: _by_step(getattr(done, name), rows) for name in ("hits", "late", "misses", "stall", "wait")}
        steps |= {name: getattr(rows, name) for name in ("size", "sampled", "prefill", "sequence")}
        named, right = _found(rows)
        steps |= {
            "begin": done.step_begin,
            "end": done.step_end,
            "needed": _by_step(np.diff(rows.start), rows),
            "named": _by_step(named, rows),
            "right": _by_step(right, rows),
            "dense": costs.before + rows.layers * costs.dense + costs.after,
        }
        return Simulated(steps, ends, counted, done.counts, (costs.size, costs.size_low), self._slots(), warm_up)

    def _predicted(self, seed: int) -> Rows:
        """What is replayed."""
        learnt, routed = self._routed()
        with _inside("predictions"):
            made: Rows = self.predictions.predict(routed, self._schedule(), self._rows(), learnt, seed)
        return made

    def keeps_time(self) -> bool:
        return not getattr(self.policy, "bound", False)

    def draw(self, timeline: Timeline, seed: int, progress: Progress) -> None:
        rows = self._predicted(seed)
        options, costs = self._options(rows, seed), self._costs(rows)
        if self.timing == "queued":
            done = offload_queued(rows, costs, self.policy, **options, log=True, timeline=timeline)
        else:
            done = offload(rows, costs, self.policy, **options, log=True)
        write_timeline(rows, done, timeline)
        progress(self.size())

    def measure(self, simulated: Simulated) -> Measured:
        steps, first = simulated.steps, simulated.warm_up
        own = {name: held[first:] for name, held in steps.items()}
        place = int(np.searchsorted(simulated.ends, first)) if first else -1
        moved = {name: int(held[-1] - (held[place] if first else 0)) for name, held in simulated.counted.items()}
        gpus = self.system.gpus
        time, told, needed = int(own["end"][-1] - own["begin"][0]), int(own["sampled"].sum()), int(own["needed"].sum())
        took, decodes = own["end"] - own["begin"], own["prefill"] == 0
        metrics: dict[str, int | float] = {"tokens_per_second": told * SECOND / time}
        for name, those in (("tpot", decodes), ("prefill", ~decodes)):
            metrics |= {f"{name}.{point}": held / MILLI for point, held in _points(took[those]).items()}
        metrics |= {
            "hit_ratio": int(own["hits"].sum()) / needed,
            "late_ratio": int(own["late"].sum()) / needed,
            "miss_ratio": int(own["misses"].sum()) / needed,
            "cpu_ratio": moved["processed"] / needed,
            "skipped_ratio": moved["skipped"] / needed,
            "needed": needed,
            "misses": int(own["misses"].sum()),
            "stall_time": float(own["stall"].mean()) / MILLI,
            "wait_time": float(own["wait"].mean()) / MILLI,
            "link.busy": moved["link_time"] / (time * gpus),
            "link.bytes": _bytes(moved["loads"], moved["loads_low"], *simulated.size) / told,
            "gpu.busy": (moved["gpu_time"] / gpus + int(own["dense"].sum())) / time,
            "cpu.busy": moved["processor_time"] / time,
            "drive.reads": moved["reads"],
            "tokens": int(own["size"].sum()),
            "steps": len(took),
            "duration": time / SECOND,
            "slots": simulated.slots * (1 if self.policy.scope == "model" else routed_layers(self.system)),
        }
        if moved["loads"]:
            metrics["loads.ahead"] = moved["wished"] / moved["loads"]
            metrics["loads.low"] = moved["loads_low"] / moved["loads"]
        if simulated.counts["wished"]:
            metrics["wishes.used"] = simulated.counts["used"] / simulated.counts["wished"]
        if named := int(own["named"].sum()):
            metrics["predictions.recall"] = int(own["right"].sum()) / needed
            metrics["predictions.precision"] = int(own["right"].sum()) / named
        busy = moved["gpu_time"] + gpus * int(own["dense"].sum())
        if (energy := self.system.accelerator.energy(busy)) is not None:
            metrics["energy"] = energy / told
        notes = []
        slots = slots_of(self.system, 0) if self.system.expert_slots is not None else 0
        if self.policy.scope == "layer" and slots % routed_layers(self.system):
            notes.append(
                f"of {slots} slots {slots % routed_layers(self.system)} are left over: layers have equally many"
            )
        return Measured(metrics, self._windows(simulated), notes, self._sessions(simulated))

    def _windows(self, simulated: Simulated) -> dict[str, Floats]:
        ends = simulated.ends
        parts = {
            name: (np.diff(over, prepend=0), np.diff(under, prepend=0) * scale)
            for name, (over, under, scale) in self._busy(simulated).items()
        }
        starts = np.concatenate([[0], ends[:-1]])
        return {"end": ends / ends[-1]} | _columns(_ratios(simulated.steps, starts) | parts, ends > simulated.warm_up)

    def _busy(self, simulated: Simulated) -> dict[str, tuple[Numbers, Numbers, int]]:
        """Sums up to the end of each window that make ratios of the time."""
        last, counted, gpus = simulated.ends - 1, simulated.counted, self.system.gpus
        time = simulated.steps["end"][last]
        dense = np.cumsum(simulated.steps["dense"])[last]
        return {
            "link.busy": (counted["link_time"], time, gpus),
            "gpu.busy": (counted["gpu_time"] + gpus * dense, time, gpus),
            "cpu.busy": (counted["processor_time"], time, 1),
        }

    def _sessions(self, simulated: Simulated) -> dict[str, NDArray[Any]]:
        """Sequences, where they come one after the other and are enough to tell anything."""
        own = {name: held[simulated.warm_up :] for name, held in simulated.steps.items()}
        starts = np.flatnonzero(np.diff(own["sequence"], prepend=-1))
        if self.batch > 1 or len(starts) < FEWEST:
            return {}
        return {"session": own["sequence"][starts], **_columns(_ratios(own, starts), True)}

    def memory(self) -> int:
        return 150_000_000 + 500 * self.size()

    def shown(self) -> list[str]:
        return ["tokens_per_second", "hit_ratio", "link.busy", "stall_time"]

    @staticmethod
    def parts(metric: str, names: Collection[str]) -> Addends:
        # both waits are means over all steps, which those that decode are where no prompt is a step of its own
        if metric == "tpot.mean" and "prefill.mean" not in names:
            return Addends(("stall_time", "wait_time"), "computing and exchanging")
        return Addends()

    @staticmethod
    def metrics() -> list[Metric]:
        return [Metric(name, *said) for name, said in METRICS.items()]

    def describe(self, name: str) -> Metric | None:
        return Metric(name, *METRICS[name]) if name in METRICS else None

    def metric_names(self) -> list[str]:
        """Every metric that this config can give, whether or not the trace allows it."""
        return list(METRICS)


KEYS = ("trace", "system", "policy", "batch", "prompt", "predictions", "timing", "learn")


@lru_cache(maxsize=4)
def _parts(trace: Trace, skip: int, limit: int | None, tokens: int | None, learn: int) -> tuple[Routed, Routed]:
    whole = routed_of(trace.chunks(1 << 20, skip, limit), trace.name)
    learnt, rest = whole.split(len(whole.lengths) * learn // WHOLE)
    return learnt, rest if tokens is None else rest.cut(tokens)


@lru_cache(maxsize=2)
def _rows(
    trace: Trace, skip: int, limit: int | None, tokens: int | None, learn: int, batch: int, prompt: int, experts: int
) -> Rows:
    _, routed = _parts(trace, skip, limit, tokens, learn)
    return rows_of(routed, schedule_of(routed, batch, prompt), experts)


def _first(rows: Rows) -> Rows:
    """The first step alone."""
    count = int(rows.start[rows.layers])
    short = {name: getattr(rows, name)[:count] for name in ("expert", "tokens", "rank", "weight")}
    short |= {name: getattr(rows, name)[: rows.layers + 1] for name in ("start", "predicted_start")}
    steps = ("size", "context", "pairs", "sampled", "begins", "prefill", "sequence")
    return replace(rows, **short, **{name: getattr(rows, name)[:1] for name in steps})


def _by_step(values: Numbers, rows: Rows) -> Numbers:
    """Sums over the rows of each step."""
    made: Numbers = values.reshape(rows.steps, rows.layers).sum(axis=1)
    return made


def _found(rows: Rows) -> tuple[Numbers, Numbers]:
    """Of each row how many experts are predicted, and how many of those it needs."""
    counts = np.diff(rows.predicted_start)
    if not len(rows.predicted):
        return counts, counts
    number = np.arange(len(counts))
    needed = np.repeat(number, np.diff(rows.start)) * rows.experts + rows.expert  # in rising order
    named = np.repeat(number, counts) * rows.experts + rows.predicted
    place = np.minimum(np.searchsorted(needed, named), len(needed) - 1)
    right = np.bincount(np.repeat(number, counts), needed[place] == named, len(counts))
    return counts, right.astype(np.int64)


def _of_bound(done: Offloaded, ends: Numbers, costs: Costs) -> dict[str, Numbers]:
    """What a bound has counted up to these rows: it only loads."""
    loads = np.cumsum(done.misses)[ends - 1]
    made = {name: np.zeros(len(ends), np.int64) for name in COUNTED}
    return made | {"loads": loads, "link_time": loads * costs.load}


def _bytes(loads: int, low: int, size: int, size_low: int) -> int:
    return (loads - low) * size + low * size_low


def _points(values: Numbers) -> dict[str, float]:
    """The mean and the percentiles of values; empty where there are none. A percentile is a value that occurred."""
    if not len(values):
        return {}
    held = np.sort(values)
    shares = [float(name[1:]) / 100 for name in list(POINTS)[1:]]
    places = [max(int(np.ceil(share * len(held) * (1 - 1e-12))) - 1, 0) for share in shares]
    return {"mean": float(held.mean()), **{name: float(held[at]) for name, at in zip(list(POINTS)[1:], places)}}


def _ratios(steps: Mapping[str, Numbers], starts: Numbers) -> dict[str, tuple[Floats, Floats]]:
    """The metrics that are ratios of sums over steps, from each start to the next: numerator and denominator."""

    def sums(values: NDArray[Any]) -> Floats:
        return np.add.reduceat(values.astype(float), starts)

    took, decodes, one = steps["end"] - steps["begin"], steps["prefill"] == 0, np.ones(len(steps["end"]))
    made = {
        "tokens_per_second": (sums(steps["sampled"]), sums(took) / SECOND),
        "tpot.mean": (sums(took * decodes) / MILLI, sums(decodes)),
        "prefill.mean": (sums(took * ~decodes) / MILLI, sums(~decodes)),
        "stall_time": (sums(steps["stall"]) / MILLI, sums(one)),
        "wait_time": (sums(steps["wait"]) / MILLI, sums(one)),
    }
    for name in ("hit", "late", "miss"):
        made[f"{name}_ratio"] = (sums(steps[COUNTS[name]]), sums(steps["needed"]))
    if steps["named"].any():
        made["predictions.recall"] = (sums(steps["right"]), sums(steps["needed"]))
        made["predictions.precision"] = (sums(steps["right"]), sums(steps["named"]))
    return made


COUNTS = {"hit": "hits", "late": "late", "miss": "misses"}


def _columns(parts: Mapping[str, tuple[Any, Any]], measured: Any) -> dict[str, Floats]:
    """Each ratio in each part, and its denominator where it is measured."""
    out: dict[str, Floats] = {}
    for name, (over, under) in parts.items():
        out[name] = np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)
        out[f"{name}.weight"] = under * measured
    return out


def write_timeline(rows: Rows, done: Offloaded, timeline: Timeline) -> None:
    """Steps, rows and loads, in the order of their beginnings."""
    events: list[tuple[int, str, str, int, dict[str, int]]] = []
    ends, begins = done.row_end.tolist(), [0, *done.row_end.tolist()]
    for step, (begin, end) in enumerate(zip(done.step_begin.tolist(), done.step_end.tolist(), strict=True)):
        what = "prompt" if rows.prefill[step] else "decode"
        events.append((begin, "model/steps", f"{what} of {rows.size[step]}", end, {"step": step}))
        for row in range(step * rows.layers, (step + 1) * rows.layers):
            since = begin if row == step * rows.layers else begins[row]
            more = {name: int(getattr(done, name)[row]) for name in ("hits", "late", "misses")}
            events.append((since, "model/layers", f"layer {row % rows.layers}", ends[row], more))
    for begun, there, x, _, wish, gpu in [] if done.loads is None else done.loads.tolist():
        name = f"layer {x // rows.experts} expert {x % rows.experts}" + (", ahead" if wish else "")
        events.append((begun, f"gpu {gpu}/loads", name, there, {"expert": x}))
    for begin, track, name, end, more in sorted(events, key=lambda event: event[:2]):
        timeline.span(track, name, begin, end, more)


@contextmanager
def _inside(*path: str) -> Iterator[None]:
    """Whatever is wrong is so inside this path."""
    try:
        yield
    except TiersimError as error:
        error.path = (*path, *error.path)
        raise


def _at(error: StudyError, *path: str) -> StudyError:
    error.path = path
    return error
