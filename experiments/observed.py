"""Measured iterations: those that a profile tells, and those that are read off the answers of a captured server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from tiersim._base.errors import StudyError
from tiersim.models.llm.profile import WHOLE, Profile
from tiersim.models.llm.transformer import Transformer
from tiersim.traces.load import load_trace
from tiersim.traces.prefix import block_size, server_hits
from tiersim.traces.ragged import joined
from tiersim.traces.schema import SERVED, Chunk

__all__ = ["Captured", "Observation", "captured", "iterations", "observations"]

SAME: Final = 0.3  # of the median time between pieces: nearer ones are of one iteration
LATEST: Final = 1 << 62
NANO: Final = 1000  # picoseconds
SHARED: Final = 0.01  # of the tokens of prompts: less is not worth a word


@dataclass(frozen=True)
class Observation:
    """A measured iteration: its features, and picoseconds; `parts` where only the matrices of layers were timed."""

    features: dict[str, int]
    time: int
    parts: bool = False


def observations(held: Profile, model: Transformer | None) -> list[Observation]:
    """What a profile of one setting tells, prompts before tokens, each by its size. Raises StudyError without any."""
    seen: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for row in sorted(held.rows, key=lambda row: (row.operation, row.batch, row.tokens, row.attended)):
        if row.operation == "prompt":  # however long the answer was
            new, each = row.batch * row.tokens, row.tokens
            said = {"chunks": row.batch, "new": new, "area": new * each, "squares": new * each, "span": new}
        elif row.operation == "token":
            said = {"decodes": row.batch, "context": row.attended}
        else:
            continue
        seen.setdefault(tuple(said.items()), []).append(row.time)
    made = [Observation(dict(said), round(median(times))) for said, times in seen.items() if median(times) > 0]
    if made:
        return made
    if model is None:
        raise held.wrong(f"it has no {' and '.join(WHOLE)}, and parts of a layer need to know the model: say --model")
    # no pairs: attention is none of the parts
    return [
        Observation({"new": tokens, "squares": tokens}, time, parts=True)
        for tokens, time in held.layers(model.layers).items()
    ]


# captures


@dataclass(frozen=True)
class Captured:
    """The iterations of a server under one load, when each ended, when requests arrived (ns), and what is odd."""

    rate: float
    iterations: list[Observation]
    ends: list[int]
    arrivals: list[int]
    notes: list[str]

    def halves(self, hold_out: float) -> tuple[list[Observation], list[Observation]]:
        """The iterations that had ended when the last requests, such a share of all, began to come; and the others."""
        first = round(len(self.arrivals) * (1 - hold_out))
        until = self.arrivals[first] if first < len(self.arrivals) else LATEST
        kept = sum(end <= until for end in self.ends)
        return self.iterations[:kept], self.iterations[kept:]


def captured(name: str) -> Captured:
    """What the captured requests of a trace tell. Raises StudyError where no answer was streamed."""
    pieces = list(load_trace(name).chunks())
    held = {column: joined([piece[column] for piece in pieces]) for column in pieces[0]}
    if "arrival" not in held or "pieces" not in held or not (held["pieces"].counts > 1).any():
        raise StudyError(
            f"{name} does not say when the pieces of answers came",
            None,
            "`tiersim capture serving` notes them of answers that are streamed",
        )
    made = iterations(held)
    arrivals = np.sort(held["arrival"]).tolist()
    span = arrivals[-1] - arrivals[0]
    return Captured(
        len(arrivals) * 1e9 / span if span else float("inf"),
        [iteration for _, iteration in made],
        [end for end, _ in made],
        arrivals,
        _odd(held),
    )


def iterations(held: Chunk) -> list[tuple[int, Observation]]:
    """The iterations of a server, from the pieces of all answers, each with its end in ns.

    Pieces of different answers that come together are of one iteration, with a token of each: the first of an answer is
    that of its prompt. An iteration takes from the end of the one before it, or from when the first of its requests
    arrived where that was later. One that computed a prompt of unknown length is left out.
    """
    arrival = held["arrival"].tolist()
    events = sorted(
        (since + time, row, place)
        for row, (since, pieces) in enumerate(zip(arrival, held["pieces"], strict=True))
        for place, time in enumerate(pieces.tolist())
    )
    near = SAME * float(np.median(np.concatenate([np.diff(pieces) for pieces in held["pieces"]])))
    prompts = held["input"].tolist()
    made: list[tuple[int, Observation]] = []
    last, end = 0, 0
    rows: dict[int, int] = {}  # of the iteration: the place of its piece
    for time, row, place in [*events, (LATEST, -1, 0)]:
        if rows and (row in rows or time - end > near):
            start = max(last, min(arrival[each] for each in rows))
            if end > start and all(place or prompts[each] for each, place in rows.items()):
                made.append((end, Observation(_features(prompts, rows), NANO * (end - start))))
            last, rows = end, {}
        rows[row] = place
        end = time
    return made


def _features(prompts: list[int], rows: Mapping[int, int]) -> dict[str, int]:
    """Those of an iteration that made the pieces at these places of answers: whole prompts, and decodes."""
    sizes = [prompts[row] for row, place in rows.items() if not place]
    contexts = [prompts[row] + place for row, place in rows.items() if place]
    squares = sum(size * size for size in sizes)
    made = {"chunks": len(sizes), "new": sum(sizes), "area": squares, "squares": squares, "span": sum(sizes)}
    made |= {"decodes": len(contexts), "context": sum(contexts)}
    return {name: value for name, value in made.items() if value}


def _odd(held: Chunk) -> list[str]:
    """What may make iterations other than they seem."""
    served = held["status"] == SERVED if "status" in held else np.ones(len(held["input"]), bool)
    streamed = held["pieces"].counts > 0
    notes = []
    if silent := int((served & ~streamed).sum()):
        notes.append(f"{silent:,} of {int(served.sum()):,} answers were not streamed: the work on them is not seen")
    tokens, pieces = int(held["output"][served & streamed].sum()), int(held["pieces"].counts[served].sum())
    if tokens > 1.05 * pieces:
        notes.append(f"a piece holds {tokens / pieces:.2f} tokens on average, and counts as one")
    size = block_size(held["input"], held["blocks"].counts) if "blocks" in held else None
    if size is not None and (share := server_hits([held], size.tokens).by_tokens) > SHARED:
        notes.append(
            f"prompts have {share:.0%} of their tokens in common with earlier ones: a prefix cache of the server "
            "counts as speed of its prompts"
        )
    return notes
