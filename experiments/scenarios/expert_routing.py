"""Which experts a mixture-of-experts model uses: how cacheable they are, and how well one choice serves a segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import StudyError
from tiersim._base.params import Param, config, dump
from tiersim._base.registry import build, register
from tiersim.experiments.scenario import Measured, Metric, OfTrace, Progress, by_record
from tiersim.experiments.trace_use import TraceParam, TraceUse
from tiersim.models.expert_tokens import expert_tokens
from tiersim.sim.expert_segments import Level, Segments, count_segments
from tiersim.sim.expert_stack import StackHits, expert_hits
from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.traces import Trace
from tiersim.traces.schema import ROUTING

Numbers = NDArray[np.int64]

LONGEST = 4096  # tokens of a segment

METRICS = {
    "hit_ratio": ("ratio", "of the uses of experts: their expert is in the cache", "more"),
    "loads_per_token": ("experts", "that a token has to load: mean", "less"),
    "regret": ("ratio", "hit ratio of Belady's policy above that of this one", "less"),
    "cache.held": ("experts", "that the caches of all layers have room for", ""),
    "srp": ("ratio", "segment routing best performance: the best F1 of one choice for each segment", "more"),
    "srp.low": ("ratio", "lower end of its 95 % interval, from resampled sequences", "more"),
    "srp.high": ("ratio", "upper end of its 95 % interval, from resampled sequences", "more"),
    "srp.size_ratio": ("ratio", "experts that the best choice turns on, by those that are used", ""),
    "active": ("experts", "that a token uses, of all layers: mean", ""),
    "uses": ("uses", "of experts that are measured", ""),
    "tokens": ("tokens", "that are measured", ""),
    "sequences": ("sequences", "that are measured", ""),
}
OF_CACHE = ("hit_ratio", "loads_per_token", "cache.held")
OF_SEGMENT = ("srp", "srp.low", "srp.high", "srp.size_ratio")


@config
class RoutingTrace(TraceUse):
    """Tokens routed to experts."""

    least: Annotated[int, Param("sequences of fewer tokens are left out", unit="count", ge=1)] = 1
    cut: Annotated[int | None, Param("sequences are cut to so many tokens", unit="count", ge=1)] = None
    layers: Annotated[
        list[int] | None, Param("those that are looked at, by their numbers in the trace; unless said, all")
    ] = None

    def to_data(self) -> dict[str, Any]:
        own = {"least": str(self.least), "layers": self.layers, "cut": None if self.cut is None else str(self.cut)}
        return super().to_data() | {name: held for name, held in own.items() if held is not None}


@config
class ExpertCache:
    """A cache of experts, for all layers or for each."""

    policy: Annotated[Any, Param("who leaves", family="expert-replacement")] = field(
        default_factory=partial(build, "expert-replacement", "lru")
    )
    size: Annotated[
        float | None, Param("experts that it holds, by those that a token uses; 2 unless said", ge=1e-3, le=1e6)
    ] = None
    experts: Annotated[
        int | None, Param("how many it holds, instead; with `scope: layer` of each layer", unit="count", ge=1)
    ] = None
    scope: Annotated[
        Literal["model", "layer"], Param("one cache for the experts of all layers, or one of equal size for each")
    ] = "model"
    rule: Annotated[
        Literal["published", "cold"],
        Param("whether an expert that fills an empty slot is found there, as in the paper, or has to be loaded"),
    ] = "published"
    sequences: Annotated[
        Literal["apart", "together"], Param("caches are empty at the start of each sequence, or only of the first")
    ] = "apart"


@config
class Segment:
    """Tokens that follow each other, for which each expert is either on or off."""

    length: Annotated[int, Param("how many", unit="count", ge=1, le=LONGEST, source="the paper's m")] = 16
    level: Annotated[
        Literal["model", "layer", "expert"],
        Param("what has a threshold of its own; of layers and of experts srp is the mean"),
    ] = "model"


@dataclass
class Simulated:
    """What came out for all sizes of the cache and all levels of segments; sequences of the warm-up are left out."""

    tokens: Numbers  # of each sequence
    uses: Numbers
    layers: int
    hits: StackHits | None = None
    best: StackHits | None = None
    segments: Segments | None = None


@register("expert-routing", family="scenario")
class ExpertRouting(OfTrace):
    """How local the routing of a mixture-of-experts model is: hits of caches of experts, best choices for segments."""

    trace: Annotated[RoutingTrace, TraceParam("the tokens to replay", reads_all=True, form=RoutingTrace)]
    cache: Annotated[ExpertCache | None, Param("what holds some experts; without it none is looked at")] = None
    segment: Annotated[Segment | None, Param("what one choice must serve; without it none is looked at")] = None
    regret: Annotated[bool, Param("also run Belady's policy, and give the metric `regret`")] = False

    records: ClassVar[str] = ROUTING.name
    steps: ClassVar[str] = "routed tokens"

    def check(self) -> None:
        self.trace.demand(self.records)
        if self.cache is None and self.segment is None:
            raise StudyError(
                "nothing is asked of the trace", None, "say `cache: {policy: lru}` or `segment: {length: 16}`"
            )
        if self.cache is None and self.regret:
            raise _at(StudyError("regret is of a cache", None, "say `cache: {policy: lru}`"), "regret")
        if self.cache is not None and self.cache.size is not None and self.cache.experts is not None:
            raise _at(StudyError("say `size` or `experts`, not both"), "cache", "experts")

    def refuses(self) -> str:
        return ""

    def is_random(self) -> bool:
        return self.cache is not None and bool(getattr(self.cache.policy, "random", False))

    def has_sessions(self) -> bool:
        return self.cache is not None and _has_sequences(self.trace.open())

    def structure(self) -> Mapping[str, Any]:
        asked = {name: dump(getattr(self, name)) or {} for name in ("cache", "segment")}
        cache = {name: held for name, held in asked["cache"].items() if name not in ("size", "experts")}
        segment = {name: held for name, held in asked["segment"].items() if name != "level"}
        return {"trace": dump(self.trace), "cache": cache, "segment": segment, "regret": self.regret}

    def modules(self) -> list[str]:
        parts = [*([] if self.cache is None else [self.cache.policy]), *([_belady()] if self.regret else [])]
        return [type(self).__module__, *(type(part).__module__ for part in parts)]

    def _tokens(self) -> ExpertTokens:
        use = self.trace
        layers = None if use.layers is None else tuple(use.layers)
        return _prepared(use.open(), use.skip, use.limit, use.least, use.cut, layers)

    def preparation(self) -> str:
        use = self.trace
        return f"routing {self.trace_fingerprint()} {use.skip} {use.limit} {use.least} {use.cut} {use.layers}"

    def prepare(self, progress: Progress) -> None:
        self._tokens()
        progress(self.trace.length())

    def streams(self) -> bool:
        return True

    def loop(self) -> str:
        return "" if self.cache is None else f"{self.cache.policy} {self.cache.scope}"

    def warm(self, note: Callable[[str], None]) -> None:
        note("compiling")
        one = np.zeros(1, np.int64)
        ends = np.arange(2)
        nothing = ExpertTokens(one.astype(np.int32), ends, ends, one, one, 1)
        if self.cache is not None:
            expert_hits(self.cache.policy, nothing, by_layer=self.cache.scope == "layer")
        if self.segment is not None:
            count_segments(nothing, 1)
        note("")

    def simulate(self, seed: int, progress: Progress) -> Simulated:
        tokens = self._tokens()
        warm = int(np.searchsorted(tokens.first, self.trace.warm_up_records()))
        if warm == tokens.sequences:
            message = "the warm-up takes all sequences, and none is left to measure"
            raise StudyError(message, None, "shorten `trace.warm_up`, or replay more")
        uses = np.diff(tokens.starts[tokens.ends])
        made = Simulated(np.diff(tokens.ends)[warm:], uses[warm:], len(tokens.layers))
        if self.cache is not None:
            count = by_record(self.trace.length(), tokens.tokens, progress)
            made.hits = self._hits(self.cache.policy, tokens, warm, seed, count)
            made.best = self._hits(_belady(), tokens, warm, seed, None) if self.regret else None
        if self.segment is not None:
            made.segments = count_segments(tokens.after(warm), self.segment.length)
        return made

    def _hits(self, policy: Any, tokens: ExpertTokens, warm: int, seed: int, progress: Progress | None) -> StackHits:
        assert self.cache is not None
        together = self.cache.sequences == "together"
        popular = tokens.popular(slice(warm or None)) if getattr(policy, "profile", False) else None
        made = expert_hits(
            policy,
            tokens if together else tokens.after(warm),
            by_layer=self.cache.scope == "layer",
            cold=self.cache.rule == "cold",
            together=together,
            popular=popular,
            seed=seed,
            progress=progress,
        )
        return StackHits(made.least[warm:]) if together else made

    def measure(self, simulated: Simulated) -> Measured:
        tokens, uses = int(simulated.tokens.sum()), int(simulated.uses.sum())
        metrics: dict[str, int | float] = {
            "active": uses / tokens,
            "uses": uses,
            "tokens": tokens,
            "sequences": len(simulated.tokens),
        }
        notes: list[str] = []
        out = Measured(metrics, notes=notes)
        if self.cache is not None and simulated.hits is not None:
            caches = simulated.layers if self.cache.scope == "layer" else 1
            held = self._held(self.cache, uses / tokens / caches)
            hits = simulated.hits.hits(held)
            best = None if simulated.best is None else simulated.best.hits(held)
            columns = {
                "hit_ratio": (hits, simulated.uses),
                "loads_per_token": (simulated.uses - hits, simulated.tokens),
            }
            if best is not None:
                columns["regret"] = (best - hits, simulated.uses)
            metrics["cache.held"] = held * caches
            out.sessions = {"session": np.arange(len(hits))}
            for name, (over, under) in columns.items():
                metrics[name] = int(over.sum()) / int(under.sum())
                out.sessions[name] = np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)
                out.sessions[f"{name}.weight"] = under.astype(float)
            if held > simulated.hits.most:
                notes.append(f"a cache of {held:,} experts holds all {simulated.hits.most:,}")
            every = simulated.hits.of_all_sizes()
            size = np.arange(1, len(every) + 1)
            out.sizes = {"held": size * caches, "size": size * caches / (uses / tokens), "hit_ratio": every / uses}
        if self.segment is not None and simulated.segments is not None:
            windows = len(simulated.segments.counts)
            if windows:
                metrics |= self._srp(simulated.segments, self.segment.level)
            if windows < len(simulated.tokens):
                notes.append(
                    f"{len(simulated.tokens) - windows:,} of {len(simulated.tokens):,} sequences are shorter than a "
                    f"segment of {self.segment.length:,} tokens, and count for nothing in srp"
                )
        return out

    @staticmethod
    def _held(cache: ExpertCache, active: float) -> int:
        """Experts of one cache."""
        if cache.experts is not None:
            return cache.experts
        return max(1, round((2.0 if cache.size is None else cache.size) * active))

    @staticmethod
    def _srp(segments: Segments, level: Level) -> dict[str, int | float]:
        found = segments.srp(level)
        made = {"srp": found.value, "srp.low": found.low, "srp.high": found.high, "srp.size_ratio": found.size_ratio}
        return {name: held for name, held in made.items() if held == held}

    def memory(self) -> int:
        # histograms: of each expert a number for each token of a segment, in sequences that are as long or longer
        windows = 0 if self.segment is None else 4 * 128 * self.size()
        return 200_000_000 + 120 * self.size() + windows

    def shown(self) -> list[str]:
        return [
            *(["hit_ratio", "loads_per_token"] if self.cache is not None else []),
            *(["regret"] if self.regret else []),
            *(["srp", "srp.size_ratio"] if self.segment is not None else []),
        ]

    @staticmethod
    def metrics() -> list[Metric]:
        return [Metric(name, *said) for name, said in METRICS.items()]

    def metric_names(self) -> list[str]:
        absent = {
            *(() if self.cache is not None else OF_CACHE),
            *(() if self.regret else ("regret",)),
            *(() if self.segment is not None else OF_SEGMENT),
        }
        return [name for name in METRICS if name not in absent]

    def describe(self, name: str) -> Metric | None:
        return Metric(name, *METRICS[name]) if name in METRICS else None


@lru_cache(maxsize=4)
def _prepared(
    trace: Trace, skip: int, limit: int | None, least: int, cut: int | None, layers: tuple[int, ...] | None
) -> ExpertTokens:
    return expert_tokens(trace.chunks(skip=skip, limit=limit), least=least, cut=cut, layers=layers)


def _belady() -> Any:
    return build("expert-replacement", "belady")


def _has_sequences(trace: Trace) -> bool:
    return "sequence" in next(iter(trace.chunks(1, 0, 1)), {})


def _at(error: StudyError, *path: str) -> StudyError:
    error.path = path
    return error
