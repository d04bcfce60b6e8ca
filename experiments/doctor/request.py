"""Traces of requests to a server of language models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.access_object import several_files
from tiersim.experiments.doctor.contract import (
    Curve,
    Info,
    Panel,
    Spread,
    distribution,
    duration,
    percent,
    spotted,
    whole,
)
from tiersim.experiments.doctor.keys import Burstiness, Keys, burstiness, measured
from tiersim.experiments.doctor.tally import Tally
from tiersim.experiments.trace_forms import picked
from tiersim.sim.requests import Requests, number_requests
from tiersim.traces.prefix import BlockSize, block_size, hit_blocks, server_hits
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import SERVED, Chunk

__all__ = ["Arrivals", "Blocks", "Measured", "RequestInfo", "Sessions", "fingerprint", "traps"]

NAMED: Final = 3  # records that a warning names
WINDOWS: Final = 100  # of the arrivals that are drawn
SECOND: Final = 10**9
Lengths = NDArray[np.int64]


@dataclass
class Arrivals:
    """How requests come: a second on average, how bursty, and the coefficient of variation of the gaps between them."""

    rate: float | None
    burstiness: Burstiness | None
    gap_variation: float | None


@dataclass
class Sessions:
    """Conversations: how many, their requests, and the time from a request to the next of the same one, in ns."""

    sessions: int
    turns: Spread
    between_ns: Spread | None


@dataclass
class Measured:
    """How a server answered what it served, in ns: until the end, and where it streamed until the first piece of the
    answer, and from a piece to the next.
    """

    end: Spread
    first: Spread | None
    between: Spread | None

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        told = (
            ("time to the first piece", self.first),
            ("time between pieces", self.between),
            ("time to the end", self.end),
        )
        return [(name, held.told("ns")) for name, held in told if held is not None]


@dataclass(kw_only=True)
class Blocks(Keys):
    """The blocks of the prompts, as objects that are asked for one after the other.

    ``prefix_by_blocks`` and ``prefix_by_tokens`` are the shares that an infinite prefix cache has
    (`tiersim.traces.prefix`), and ``server_by_blocks`` and ``server_by_tokens`` those of a server with endless memory,
    which keeps whole blocks and computes every last token; requests that failed count only for the former. A block
    holds ``block_tokens``, found from lengths and numbers of blocks, which are rounded ``up``, ``down`` or ``either``;
    ``misfits`` prompts have another number of blocks. They are None, and so are shares that depend on the size, where
    none fits half of the prompts.
    """

    block_tokens: int | None
    rounding: str | None
    misfits: int | None
    prefix_by_blocks: float
    prefix_by_tokens: float | None
    server_by_blocks: float | None
    server_by_tokens: float | None


@dataclass(kw_only=True)
class RequestInfo(Info):
    """The fingerprint of requests to a server of language models; what the records do not tell is None."""

    input: Spread
    output: Spread
    input_tokens: int
    output_tokens: int
    span_ns: int | None
    arrivals: Arrivals | None
    sessions: Sessions | None
    measured: Measured | None
    models: int | None
    categories: int | None
    blocks: Blocks | None

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        out = [
            ("tokens of a prompt", self.input.told()),
            ("tokens of an answer", self.output.told()),
            ("tokens in all", f"{self.input_tokens:,} of prompts, {self.output_tokens:,} of answers"),
        ]
        if self.span_ns is not None:
            out.append(("span", duration(self.span_ns)))
        if self.arrivals is not None and self.arrivals.rate is not None:
            out.append(("requests a second", f"{self.arrivals.rate:,.4g}"))
        if self.arrivals is not None and self.arrivals.burstiness is not None:
            out.append(self.arrivals.burstiness.row())
            out.append(("coefficient of variation of gaps", f"{self.arrivals.gap_variation:,.3g}"))
        if self.sessions is not None:
            out += [("sessions", f"{self.sessions.sessions:,}"), ("requests of a session", self.sessions.turns.told())]
            if self.sessions.between_ns is not None:
                out.append(("time to the next request of a session", self.sessions.between_ns.told("ns")))
        out += [] if self.measured is None else self.measured.rows()
        out += [(name, f"{count:,}") for name in ("models", "categories") if (count := getattr(self, name)) is not None]
        return out if self.blocks is None else out + _block_rows(self.blocks)


def _block_rows(blocks: Blocks) -> list[tuple[str, str]]:
    size = "no size fits half of the prompts"
    if blocks.block_tokens is not None:
        other = f", and {blocks.misfits:,} prompts have another number of them" if blocks.misfits else ""
        way = "up or down" if blocks.rounding == "either" else blocks.rounding
        size = f"{blocks.block_tokens:,}, prompts rounded {way} to whole blocks{other}"
    by_tokens = "" if blocks.prefix_by_tokens is None else f", {percent(blocks.prefix_by_tokens)} of tokens"
    server = []
    if blocks.server_by_blocks is not None and blocks.server_by_tokens is not None:
        told = f"{percent(blocks.server_by_blocks)} of blocks, {percent(blocks.server_by_tokens)} of tokens"
        server = [("prefixes hit by a server, memory without end", told)]
    return [
        blocks.count_row(),
        ("tokens of a block, as lengths tell", size),
        ("prefixes shared, for a cache without end", f"{percent(blocks.prefix_by_blocks)} of blocks{by_tokens}"),
        *server,
        *[(f"blocks: {name}", value) for name, value in blocks.reuse_rows()],
        blocks.working_row(),
    ]


def fingerprint(chunks: Iterator[Chunk], tally: Tally) -> RequestInfo:
    """Lengths, arrivals, sessions and the sharing of blocks."""
    held, requests, counts = _read(chunks)
    arrivals, notes = None, []
    panels = [Panel("tokens", "requests with no more (%)", _lengths(held), x_log=True, full=100)]
    if "arrival" in held:
        arrivals = _arrivals(held["arrival"], tally)
        panels.append(_arrived(held["arrival"], tally))
        if tally.restarts:
            notes.append("arrivals start again: rate and bursts are of all requests on one clock")
    asked, drawn = (None, []) if requests is None else _blocks(requests, counts, held)
    return RequestInfo(
        **tally.about(),
        input=Spread.of(held["input"]),
        output=Spread.of(held["output"]),
        input_tokens=int(held["input"].sum(dtype=np.uint64)),
        output_tokens=int(held["output"].sum(dtype=np.uint64)),
        span_ns=tally.span,
        arrivals=arrivals,
        sessions=_sessions(held) if "session" in held else None,
        measured=_measured(held),
        models=len(np.unique(held["model"])) if "model" in held else None,
        categories=len(np.unique(held["category"])) if "category" in held else None,
        blocks=asked,
        notes=notes,
        panels=panels + drawn,
    )


def _lengths(held: Chunk) -> tuple[Curve, ...]:
    """Prompts and answers; those without a token have no place on a logarithmic scale."""
    return distribution((name, held[of][held[of] > 0]) for name, of in (("prompt", "input"), ("answer", "output")))


def _arrivals(time: NDArray[np.int64], tally: Tally) -> Arrivals:
    span = tally.span or 0
    if not span:
        return Arrivals(None, None, None)
    gaps = np.diff(np.sort(time)).astype(np.float64)
    return Arrivals(
        len(time) * SECOND / span,
        burstiness(iter([time]), tally.earliest, span, tally.step),
        float(gaps.std() / gaps.mean()),
    )


def _arrived(time: NDArray[np.int64], tally: Tally) -> Panel:
    span = max(tally.span or 0, 1) / SECOND
    counts, ends = np.histogram((time - tally.earliest) / SECOND, bins=WINDOWS, range=(0, span))
    return Panel("time (s)", "requests a second", (Curve(ends[1:], counts * WINDOWS / span, steps="steps-pre"),))


def _sessions(held: Chunk) -> Sessions:
    names, which, turns = np.unique(held["session"], return_inverse=True, return_counts=True)
    between = None
    if "arrival" in held:
        order = np.lexsort((held["arrival"], which))
        same = which[order][1:] == which[order][:-1]
        between = Spread.if_any(np.diff(held["arrival"][order])[same])
    return Sessions(len(names), Spread.of(turns), between)


def _measured(held: Chunk) -> Measured | None:
    served = _served(held)
    if "end" not in held or not served.any():
        return None
    first = between = None
    if "pieces" in held:
        pieces = held["pieces"]
        values, starts = pieces.values, pieces.offsets[:-1][served & (pieces.counts > 0)]
        first = Spread.if_any(values[starts])
        inside = np.repeat(served, pieces.counts)
        inside[pieces.offsets[:-1][pieces.counts > 0]] = False
        between = Spread.if_any(np.diff(values, prepend=0)[inside])
    return Measured(Spread.of(held["end"][served]), first, between)


def _served(held: Chunk) -> NDArray[np.bool_]:
    return held["status"] == SERVED if "status" in held else np.ones(len(held["input"]), bool)


def _read(chunks: Iterator[Chunk]) -> tuple[Chunk, Requests | None, Lengths]:
    """The records without their blocks, the blocks as requests for objects where there are any, how many each has."""
    pieces: list[Chunk] = []
    counts: list[Lengths] = []

    def blocks() -> Iterator[Chunk]:
        for chunk in chunks:
            pieces.append({name: values for name, values in chunk.items() if name != "blocks"})
            if "blocks" in chunk:
                counts.append(chunk["blocks"].counts)
                if len(chunk["blocks"].values):
                    yield {"id": chunk["blocks"].values}

    found = blocks()
    first = next(found, None)
    requests = None if first is None else number_requests(chain([first], found))
    return whole(pieces), requests, np.concatenate([np.zeros(0, np.int64), *counts])


def _blocks(requests: Requests, counts: Lengths, held: Chunk) -> tuple[Blocks, list[Panel]]:
    """The facts of blocks, and what is drawn of them."""
    keys, panels = measured(requests, "blocks")
    blocks, length = Ragged.counted(requests.ids[:], counts), held["input"].astype(np.int64)
    hits = hit_blocks(blocks, set())
    size, server = fitting(block_size(length, counts), len(counts)), None
    by_tokens = None
    if size is not None and length.any():
        by_tokens = float(np.minimum(length, hits * size.tokens).sum() / length.sum())
        server = server_hits([_as_served({**held, "blocks": blocks})], size.tokens)
    made = Blocks(
        **vars(keys),
        block_tokens=size.tokens if size else None,
        rounding=size.rounding if size else None,
        misfits=len(size.misfits) if size else None,
        prefix_by_blocks=float(hits.sum() / counts.sum()),
        prefix_by_tokens=by_tokens,
        server_by_blocks=server.by_blocks if server else None,
        server_by_tokens=server.by_tokens if server else None,
    )
    return made, panels


def _as_served(held: Chunk) -> Chunk:
    """Prompts in the order in which a server gets them."""
    prompts: Chunk = {name: held[name] for name in ("input", "status", "blocks") if name in held}
    return picked(prompts, np.argsort(held["arrival"], kind="stable")) if "arrival" in held else prompts


def fitting(size: BlockSize | None, prompts: int) -> BlockSize | None:
    """A size of blocks, if it fits half of the prompts."""
    return size if size is not None and 2 * len(size.misfits) <= prompts else None


# traps


def traps(chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
    """Lengths of nothing, numbers of blocks that do not fit, blocks that stand for no prefix, ids of several files."""
    held, requests, counts = _read(chunks)
    served = _served(held)
    for name, empty in (("a prompt", held["input"] == 0), ("an answer", held["output"] == 0)):
        yield from spotted(
            empty & served,
            f"requests have {name} of 0 tokens",
            "they failed, or hold what is no text, and nothing says which; leave out those that failed",
        )
    yield from _of_sessions(held)
    if requests is not None:
        yield from _of_blocks(requests, counts, held["input"], tally)
    elif len(counts):
        yield "not one request names a block: there is no prefix to share; leave the column out"


def _of_sessions(held: Chunk) -> Iterator[str]:
    if "session" not in held:
        return
    names, which = np.unique(held["session"], return_inverse=True)
    if 1 < len(names) == len(which):
        yield "every request is a session of its own: there are no conversations to follow"
    if "arrival" not in held:
        return
    order = np.argsort(which, kind="stable")
    back = (np.diff(held["arrival"][order]) < 0) & (np.diff(which[order]) == 0)
    if back.any():
        yield (
            f"time goes back within sessions {int(back.sum()):,} times, first at record "
            f"{int(order[1:][back].min()) + 1:,}: turns are not in their order; sort the records by time"
        )


def _of_blocks(requests: Requests, counts: Lengths, input: NDArray[np.uint32], tally: Tally) -> Iterator[str]:
    yield from _misfits(block_size(input, counts), input, counts)
    if several := several_chains(requests.ids[:], counts, requests.objects):
        yield (
            f"{several:,} of {requests.objects:,} blocks come after different blocks, so that their numbers do not "
            "stand for all before them, and who shares them need not share the prompt: these are hashes of single "
            "blocks, or several files whose equal numbers are not the same; for those merge the files with "
            "`tiersim traces merge --separate-ids`"
        )
    if requests.objects == len(requests):
        yield "not one block is in two prompts: there is no prefix to share"
    yield from several_files(tally, requests, "numbers of blocks")


def several_chains(ids: NDArray[np.int32], counts: NDArray[np.int64], objects: int) -> int:
    """How many blocks come after different ones in the prompts that have them; before a first one comes none."""
    before = np.full(len(ids), -1, np.int64)
    before[1:] = ids[:-1]
    before[(np.cumsum(counts) - counts)[counts > 0]] = -1
    first = np.empty(objects, np.int64)
    first[ids[::-1]] = before[::-1]
    other = np.zeros(objects, bool)
    other[ids[before != first[ids]]] = True
    return int(other.sum())


def _misfits(size: BlockSize | None, input: NDArray[np.uint32], counts: NDArray[np.int64]) -> Iterator[str]:
    fit = fitting(size, len(counts))
    if fit is None:
        yield (
            "no size of blocks fits the lengths of half of the prompts: lengths or blocks are of something else; count "
            "prefixes by blocks only"
        )
    elif len(fit.misfits):
        named = ", ".join(
            f"record {at + 1:,} ({input[at]:,} tokens, {counts[at]:,} blocks)" for at in fit.misfits[:NAMED].tolist()
        )
        way = "up or down" if fit.rounding == "either" else fit.rounding
        yield (
            f"{len(fit.misfits):,} of {len(counts):,} prompts have another number of blocks than their length over "
            f"{fit.tokens:,} tokens, rounded {way}: {named}{', ...' if len(fit.misfits) > NAMED else ''}; leave them "
            "out, or count prefixes by blocks only"
        )
