"""Measured times of a model, as time models and their calibration take them from a trace of kind profile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from statistics import median
from typing import Any, Final

import numpy as np

from tiersim._base.errors import StudyError
from tiersim._base.registry import nearest
from tiersim.traces.load import load_trace
from tiersim.traces.ragged import Ragged, joined

__all__ = ["PARTS", "WHOLE", "Measured", "Profile", "profile_of"]

WHOLE: Final = ("prompt", "token")
"""Operations of a whole model: a batch of prompts, and a token of each request of a batch."""
ONCE: Final = "emb"
PARTS: Final = (
    "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj", "post_attention_layernorm",
    "mlp_up_proj", "mlp_act", "mlp_down_proj", "add",
)  # fmt: skip
"""Operations of a layer but attention, by Vidur's names; `emb` is there once."""


@dataclass(frozen=True)
class Measured:
    """How long an operation took in a configuration: the median of its runs, in picoseconds."""

    operation: str
    tokens: int
    context: int
    output: int
    batch: int
    workers: int
    model: str
    hardware: str
    time: int = 0

    @property
    def attended(self) -> int:
        """Tokens in the caches of all requests of a batch, on average over the tokens that they make."""
        return self.batch * (self.context + self.tokens + self.output // 2)


@dataclass(frozen=True)
class Profile:
    """Measured times: one for each configuration."""

    name: str
    rows: tuple[Measured, ...]
    fingerprint: str = ""

    def only(self, model: str | None, hardware: str | None, workers: int) -> Profile:
        """Those of one model on so many devices of one kind. Raises StudyError with what there is."""
        rows = self.rows
        for key, wanted, form in (("model", model, "of"), ("hardware", hardware, "on")):
            there = sorted({getattr(row, key) for row in rows})
            if wanted is None and len(there) > 1:
                raise self.wrong(f"it is of several: say `{form}`, one of {', '.join(there)}")
            if wanted is not None and wanted not in there:
                hint = nearest(wanted, there) or f"there are: {', '.join(held or 'none named' for held in there)}"
                raise self.wrong(f"no {key} in it is called {wanted!r}; {hint}")
            rows = tuple(row for row in rows if wanted is None or getattr(row, key) == wanted)
        counts = sorted({row.workers for row in rows})
        if workers not in counts:
            shown = ", ".join(map(str, counts))
            raise self.wrong(f"it has no times of {workers} devices (`tensor`), but of {shown}")
        return replace(self, rows=tuple(row for row in rows if row.workers == workers))

    def layers(self, layers: int) -> dict[int, int]:
        """The time of a model's parts but attention and output, by the number of tokens."""
        made: dict[int, int] = defaultdict(int)
        seen: dict[int, set[str]] = defaultdict(set)
        for row in self.rows:
            if row.operation in (ONCE, *PARTS):
                made[row.tokens] += row.time * (1 if row.operation == ONCE else layers)
                seen[row.tokens].add(row.operation)
        missing = sorted(set(PARTS) - {part for parts in seen.values() for part in parts})
        if missing:
            raise self.wrong(f"it has neither prompts and tokens nor all parts of a layer: {missing[0]} is missing")
        return {tokens: time for tokens, time in sorted(made.items()) if seen[tokens] >= set(PARTS)}

    def wrong(self, what: str) -> StudyError:
        return StudyError(f"the profile {self.name}: {what}")


@cache
def profile_of(name: str) -> Profile:
    """The measured times of a trace. Raises StudyError for a trace of another kind, and TraceError as `load_trace`."""
    trace = load_trace(name)
    if trace.schema != "profile":
        raise StudyError(f"{name} is a {trace.schema} trace, and no profile of measured times")
    pieces = list(trace.chunks())
    columns = {column: joined([piece[column] for piece in pieces]) for column in pieces[0]}
    return Profile(name, tuple(_medians(columns)), trace.fingerprint)


def _medians(columns: dict[str, Any]) -> Iterable[Measured]:
    """The median time of each configuration."""
    count = len(columns["mean"])
    times = columns["median"] if "median" in columns else columns["mean"]

    def held(name: str, default: Any) -> list[Any]:
        if name not in columns:
            return [default] * count
        column = columns[name]
        return column.strings if isinstance(column, Ragged) else np.asarray(column).tolist()

    names = ("operation", "tokens", "context", "output", "batch", "workers", "model", "hardware")
    defaults = ("", 0, 0, 0, 1, 1, "", "")
    found: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for row, time in zip(zip(*(held(name, default) for name, default in zip(names, defaults))), times.tolist()):
        found[row].append(time)
    for row, runs in found.items():
        yield Measured(**dict(zip(names, row)), time=round(median(runs) * 1000))
