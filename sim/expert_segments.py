"""Segment routing best performance: how well one choice of experts can serve some tokens that follow each other.

SRP is the best F1 of any router that must decide for each expert and each window of so many tokens whether it is on or
off (Liang et al., ICLR 2026, arXiv:2505.16056). The best one turns an expert on where the window uses it often enough,
so that histograms of uses in windows tell it: no choice has to be tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.sim.kernels import compiled

__all__ = ["LEVELS", "Level", "Segments", "Srp", "count_segments"]

Level = Literal["model", "layer", "expert"]
LEVELS: Final[tuple[Level, ...]] = ("model", "layer", "expert")
RESAMPLES: Final = 1_000
CONFIDENCE: Final = 0.95
SEED: Final = 20_260_505  # of the resamples, so that the same trace has the same interval
FEWEST: Final = 8  # sequences, of which resampling can tell something
PIECE: Final = 1 << 22  # numbers of resampled histograms that are held at a time


@dataclass(frozen=True)
class Srp:
    """SRP of a level, with its bounds, and what the best router does.

    With several groups (layers, experts) these are means over them. ``low`` and ``high`` are a basic bootstrap interval
    of 95 % over sequences, not-a-number where there are fewer than eight. ``size_ratio`` is how many experts the router
    turns on for each that is used; ``groups`` has the SRP of each group, 0 where none of its experts is used.
    """

    value: float
    low: float
    high: float
    size_ratio: float
    groups: NDArray[np.float64]


@dataclass(frozen=True)
class Segments:
    """How often windows use experts: ``counts[s, x, f]`` windows of sequence s use expert x in f of their tokens."""

    counts: NDArray[np.uint32]
    layers: int

    @property
    def length(self) -> int:
        """Tokens of a window."""
        return int(self.counts.shape[2]) - 1

    def srp(self, level: Level = "model") -> Srp:
        """SRP with one threshold for the model, for each layer, or for each expert.

        Raises ValueError where no sequence is long enough for a window.
        """
        sequences, objects, width = self.counts.shape
        if not sequences:
            raise ValueError("no sequence has a window")
        groups = {"model": 1, "layer": self.layers, "expert": objects}[level]
        held = self.counts.reshape(sequences, groups, -1, width).sum(2, dtype=np.float64)
        value, ratio = _best(held.sum(0))
        low = high = float("nan")
        if sequences >= FEWEST:
            drawn = _resampled(held)
            tail = (1 - CONFIDENCE) / 2
            least, most = np.quantile(drawn, [tail, 1 - tail])
            low, high = 2 * value.mean() - most, 2 * value.mean() - least
        return Srp(float(value.mean()), float(low), float(high), float(ratio.mean()), value)


def count_segments(tokens: ExpertTokens, length: int) -> Segments:
    """Uses of each expert in all windows of so many tokens; sequences that are shorter have none and are left out."""
    spans = np.flatnonzero(np.diff(tokens.ends) >= length)
    counts = np.zeros((len(spans), tokens.objects, length + 1), np.uint32)
    for place, sequence in enumerate(spans.tolist()):
        begin, end = int(tokens.ends[sequence]), int(tokens.ends[sequence + 1])
        held = np.zeros(tokens.objects, np.int64)
        _count(tokens.ids, tokens.starts, begin, end, length, held, counts[place].reshape(-1))
    return Segments(counts, len(tokens.layers))


def _best(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best F1 of each histogram along the last axis, and how many uses the router foresees for each that is one."""
    length = counts.shape[-1] - 1
    uses = np.arange(length + 1) * counts
    used = uses.sum(-1, keepdims=True)
    # by threshold: what the windows above it use, and what the router turns on there
    hit = np.flip(np.flip(uses, -1).cumsum(-1), -1)
    on = length * np.flip(np.flip(counts, -1).cumsum(-1), -1)
    f1 = np.divide(2 * hit, on + used, out=np.zeros_like(hit), where=used > 0)
    at = f1.argmax(-1)[..., None]  # of equals the first
    ratio = np.divide(np.take_along_axis(on, at, -1), used, out=np.zeros_like(used), where=used > 0)
    return np.take_along_axis(f1, at, -1)[..., 0], ratio[..., 0]


def _resampled(held: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean SRP over groups where sequences are drawn anew, with replacement."""
    sequences, groups, width = held.shape
    weights = np.random.default_rng(SEED).multinomial(sequences, np.full(sequences, 1 / sequences), RESAMPLES)
    total = np.zeros(RESAMPLES)
    step = max(PIECE // (RESAMPLES * width), 1)
    for at in range(0, groups, step):
        part = held[:, at : at + step].reshape(sequences, -1)
        value, _ = _best((weights @ part).reshape(RESAMPLES, -1, width))
        total += value.sum(1)
    made: NDArray[np.float64] = total / groups
    return made


@compiled
def _count(
    ids: NDArray[np.int32],
    starts: NDArray[np.int64],
    begin: int,
    end: int,
    length: int,
    held: NDArray[np.int64],
    out: NDArray[np.uint32],
) -> None:
    """Add the windows of one sequence to the histogram of each expert, one after the other in `out`."""
    width = length + 1
    for token in range(begin, end):
        for use in range(starts[token], starts[token + 1]):
            held[ids[use]] += 1
        if token - begin >= length:
            for use in range(starts[token - length], starts[token - length + 1]):
                held[ids[use]] -= 1
        if token - begin >= length - 1:
            for x in range(len(held)):
                out[x * width + held[x]] += 1
