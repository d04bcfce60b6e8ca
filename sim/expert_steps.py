"""Makes steps of sequences of routed tokens, and the rows that an offloading engine replays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim.sim.expert_rows import Rows
from tiersim.sim.kernels import compiled

__all__ = ["NOBODY", "Routed", "Schedule", "drawn_of", "predicted_of", "rows_of", "schedule_of"]

Numbers = NDArray[np.int64]

NOBODY: Final = -1  # where a token has fewer experts than others
MILLION: Final = 10**6


@dataclass(frozen=True)
class Routed:
    """Whole sequences of routed tokens: those of sequence ``i`` are ``first[i]`` up to ``first[i + 1]``.

    ``experts`` [token, layer, place] are those that a token passes, NOBODY behind the last; ``weights`` how much each
    counts and ``predicted`` those that a predictor named, where the trace tells it. ``numbers`` are the layers as the
    source counts them.
    """

    first: Numbers
    experts: NDArray[np.int32]
    numbers: Numbers
    weights: NDArray[np.float32] | None = None
    predicted: NDArray[np.int32] | None = None

    @property
    def tokens(self) -> int:
        """In all."""
        return len(self.experts)

    @property
    def layers(self) -> int:
        """That route."""
        return len(self.numbers)

    @property
    def lengths(self) -> Numbers:
        """Tokens of each sequence."""
        return np.diff(self.first)

    def cut(self, tokens: int) -> Routed:
        """The first so many tokens: the last sequence that is left is cut."""
        end = min(tokens, self.tokens)
        last = int(np.searchsorted(self.first, end))
        return self._part(slice(0, end), np.minimum(self.first[: last + 1], end))

    def split(self, sequences: int) -> tuple[Routed, Routed]:
        """The first so many sequences, and the others."""
        end = int(self.first[sequences])
        begun, left = self.first[: sequences + 1], self.first[sequences:] - end
        return self._part(slice(0, end), begun), self._part(slice(end, None), left)

    def popular(self, experts: int) -> Numbers:
        """How many tokens pass each expert, of a model with so many a layer: layer by layer."""
        layer = np.arange(self.layers)[:, None] * experts
        return np.bincount((self.experts + layer)[self.experts != NOBODY], minlength=self.layers * experts)

    def _part(self, tokens: slice, first: Numbers) -> Routed:
        weights = None if self.weights is None else self.weights[tokens]
        predicted = None if self.predicted is None else self.predicted[tokens]
        return Routed(first, self.experts[tokens], self.numbers, weights, predicted)


@dataclass(frozen=True)
class Schedule:
    """Which tokens are in which step: those of step ``i`` are ``order[start[i] : start[i + 1]]``, by their places.

    ``begins`` and ``prefill`` are 1 where a step begins a new sequence, and where it is the prompt of one; ``sequence``
    is the one that begins, or the first one that is in it.
    """

    order: Numbers
    start: Numbers
    prefill: Numbers
    begins: Numbers
    sequence: Numbers

    @property
    def steps(self) -> int:
        """Forward passes."""
        return len(self.prefill)


def schedule_of(routed: Routed, batch: int, prompt: int) -> Schedule:
    """The steps of sequences that take ``batch`` places, the first ``prompt`` tokens of each at once.

    docs/explanation/expert-offloading.md, Steps and rows. A sequence that has nothing but its prompt keeps its place
    through the next step of decode, and a step without tokens is none.
    """
    tokens = routed.tokens
    order = np.empty(tokens, np.int64)
    start, *flags = (np.zeros(tokens + 1, np.int64) for _ in range(4))
    places = np.full(batch, NOBODY, np.int64), np.zeros(batch, np.int64)
    steps = _schedule(routed.first, prompt, *places, order, start, *flags)
    prefill, begins, sequence = (held[:steps].copy() for held in flags)
    return Schedule(order, start[: steps + 1].copy(), prefill, begins, sequence)


@compiled
def _schedule(
    first: Numbers,
    prompt: int,
    held: Numbers,
    at: Numbers,
    order: Numbers,
    start: Numbers,
    prefill: Numbers,
    begins: Numbers,
    sequence: Numbers,
) -> int:
    """Fills the schedule; `held` is the sequence of each place and `at` its next token. Returns the steps."""
    batch, last = len(held), len(first) - 1
    coming = steps = written = 0
    while True:
        free = 0
        while free < batch and held[free] != NOBODY:
            free += 1
        if free < batch and coming < last:
            held[free] = coming
            end = min(first[coming] + prompt, first[coming + 1])
            at[free] = end
            if end > first[coming]:
                for token in range(first[coming], end):
                    order[written] = token
                    written += 1
                prefill[steps] = begins[steps] = 1
                sequence[steps] = coming
                steps += 1
                start[steps] = written
            coming += 1
            continue
        told = new = NOBODY
        for place in range(batch):
            one = held[place]
            if one == NOBODY:
                continue
            if at[place] < first[one + 1]:
                if told == NOBODY:
                    told = one
                if at[place] == first[one] and new == NOBODY:
                    new = one
                order[written] = at[place]
                written += 1
                at[place] += 1
            if at[place] >= first[one + 1]:
                held[place] = NOBODY
        if told != NOBODY:
            begins[steps] = new != NOBODY
            sequence[steps] = new if new != NOBODY else told
            steps += 1
            start[steps] = written
        elif coming == last:
            return steps


def rows_of(routed: Routed, schedule: Schedule, experts: int) -> Rows:
    """The rows of these steps, with nothing predicted, of a model with so many experts a layer.

    An expert's weight is its part of 10**6, rounded to the nearest; where the trace has none, 10**6 by the experts of
    the token, rounded down. Raises TraceError for an expert that the model has not.
    """
    table = routed.experts
    _known(table, experts, "passes")
    layers, size = routed.layers, np.diff(schedule.start)
    room = int((table != NOBODY).sum())
    start = np.zeros(schedule.steps * layers + 1, np.int64)
    out = [np.empty(room, np.int64) for _ in range(4)]
    weights = routed.weights
    if weights is None:
        weights = np.zeros((0, 0, 0), np.float32)
    counted = [np.zeros(experts, np.int64) for _ in range(3)]
    made = _rows_kernel(schedule.order, schedule.start, table, weights, start, *counted, *out)
    expert, tokens, rank, weight = (held[:made].copy() for held in out)
    place = np.arange(routed.tokens) - np.repeat(routed.first[:-1], routed.lengths)
    attended = np.diff(np.concatenate([[0], np.cumsum(place[schedule.order] + 1)])[schedule.start])
    prompts = schedule.prefill == 1
    return Rows(
        layers=layers,
        experts=experts,
        start=start,
        expert=expert,
        tokens=tokens,
        rank=rank,
        weight=weight,
        predicted_start=np.zeros_like(start),
        predicted=np.zeros(0, np.int64),
        size=size,
        context=np.where(prompts, size, attended),
        pairs=attended,
        sampled=np.where(prompts, 1, size),
        begins=schedule.begins,
        prefill=schedule.prefill,
        sequence=schedule.sequence,
    )


@compiled
def _rows_kernel(
    order: Numbers,
    steps: Numbers,
    table: NDArray[np.int32],
    weights: NDArray[np.float32],
    start: Numbers,
    count: Numbers,
    best: Numbers,
    most: Numbers,
    expert: Numbers,
    tokens: Numbers,
    rank: Numbers,
    weight: Numbers,
) -> int:
    layers, places = table.shape[1], table.shape[2]
    weighted = weights.shape[0] > 0
    written = 0
    for step in range(len(steps) - 1):
        for layer in range(layers):
            for at in range(steps[step], steps[step + 1]):
                token = order[at]
                many = 0
                for place in range(places):
                    many += table[token, layer, place] != NOBODY
                for place in range(many):
                    own = place
                    part = np.int64(MILLION // many)
                    if weighted:
                        mine = weights[token, layer, place]
                        own = 0
                        for other in range(many):
                            theirs = weights[token, layer, other]
                            own += theirs > mine or (theirs == mine and other < place)
                        part = np.int64(np.floor(np.float64(mine) * MILLION + 0.5))
                    one = table[token, layer, place]
                    if count[one] == 0 or own < best[one]:
                        best[one] = own
                    if count[one] == 0 or part > most[one]:
                        most[one] = part
                    count[one] += 1
            for one in range(len(count)):
                if count[one]:
                    expert[written] = one
                    tokens[written] = count[one]
                    rank[written] = best[one]
                    weight[written] = most[one]
                    written += 1
                    count[one] = 0
            start[step * layers + layer + 1] = written
    return written


def predicted_of(schedule: Schedule, table: NDArray[np.int32], experts: int) -> tuple[Numbers, Numbers]:
    """What is predicted for rows, as starts and experts, of what is for tokens [token, layer, place].

    Of a row those come first that are named for the most of its tokens, of equals the lower number. Raises TraceError
    for an expert that the model has not.
    """
    _known(table, experts, "is predicted to pass")
    start = np.zeros(schedule.steps * table.shape[1] + 1, np.int64)
    out = np.empty(int((table != NOBODY).sum()), np.int64)
    made = _predicted_kernel(schedule.order, schedule.start, table, np.zeros(experts, np.int64), start, out)
    return start, out[:made].copy()


@compiled
def _predicted_kernel(
    order: Numbers, steps: Numbers, table: NDArray[np.int32], count: Numbers, start: Numbers, out: Numbers
) -> int:
    layers, places = table.shape[1], table.shape[2]
    written = 0
    for step in range(len(steps) - 1):
        for layer in range(layers):
            for at in range(steps[step], steps[step + 1]):
                for place in range(places):
                    one = table[order[at], layer, place]
                    if one != NOBODY:
                        count[one] += 1
            written = _by_count(count, out, written)
            start[step * layers + layer + 1] = written
    return written


def drawn_of(rows: Rows, right: NDArray[np.bool_], pick: NDArray[np.float64]) -> tuple[Numbers, Numbers]:
    """Predictions of rows that are right or wrong as said for each needed expert, as starts and experts.

    Where one is wrong an expert that the row does not need is named in its place, which ``pick`` (from 0 up to 1)
    chooses among those that are not named yet; none where none is left. Those come first that stand for the expert of
    the most tokens, of equals the lower number.
    """
    start = np.zeros(len(rows.start), np.int64)
    out = np.empty(len(rows.expert), np.int64)
    count, others = np.zeros(rows.experts, np.int64), np.zeros(rows.experts, np.int64)
    made = _drawn_kernel(rows.start, rows.expert, rows.tokens, right, pick, count, others, start, out)
    return start, out[:made].copy()


@compiled
def _drawn_kernel(
    needs: Numbers,
    expert: Numbers,
    tokens: Numbers,
    right: NDArray[np.bool_],
    pick: NDArray[np.float64],
    count: Numbers,
    others: Numbers,
    start: Numbers,
    out: Numbers,
) -> int:
    written = 0
    for row in range(len(needs) - 1):
        begin = written
        for need in range(needs[row], needs[row + 1]):
            count[expert[need]] = tokens[need]
        left = 0
        for one in range(len(count)):
            if count[one] == 0:
                others[left] = one
                left += 1
        for need in range(needs[row], needs[row + 1]):
            if right[need]:
                continue
            count[expert[need]] = 0
            if left:
                place = np.int64(pick[need] * left)
                count[others[place]] = tokens[need]
                left -= 1
                others[place] = others[left]
        written = _by_count(count, out, begin)
        start[row + 1] = written
    return written


@compiled
def _by_count(count: Numbers, out: Numbers, begin: int) -> int:
    """Writes those that are counted, the most first, of equals the lower number; sets the counts back to 0."""
    written = begin
    for one in range(len(count)):
        if count[one]:
            place = written
            while place > begin and count[out[place - 1]] < count[one]:
                out[place] = out[place - 1]
                place -= 1
            out[place] = one
            written += 1
    for place in range(begin, written):
        count[out[place]] = 0
    return written


def _known(table: NDArray[np.int32], experts: int, what: str) -> None:
    if table.size and (most := int(table.max())) >= experts:
        raise TraceError(
            f"a token {what} expert {most}, and the model has {experts}, numbered from 0",
            None,
            "take the model that the trace is of",
        )
