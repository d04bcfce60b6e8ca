"""Traces of what people asked in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import Info, Panel, Spread, distribution, duration, percent, spotted, whole
from tiersim.experiments.doctor.keys import Burstiness, Keys, burstiness, measured, no_reuse
from tiersim.experiments.doctor.tally import Tally
from tiersim.sim.requests import Requests, number_requests
from tiersim.traces.keys import key_of
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import Chunk

__all__ = ["QueryInfo", "fingerprint", "traps"]

INSIDE: Final = 0x80  # a byte of UTF-8 with these two bits goes on with a character


@dataclass(kw_only=True)
class QueryInfo(Info, Keys):
    """The fingerprint of questions. ``objects`` are groups of one meaning where they are known, else distinct texts.

    ``same_text`` is the share of questions whose text was asked before; ``reuse["share"]`` that of those whose group
    was, which is what a perfect semantic cache would hit. Lengths are in characters.
    """

    texts: int
    groups: int | None
    same_text: float
    length: Spread
    answer: Spread | None
    users: int | None
    sessions: int | None
    turns: Spread | None
    categories: dict[str, int] | None
    span_ns: int | None
    burstiness: Burstiness | None

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        out = [
            ("distinct texts", f"{self.texts:,}; {percent(self.same_text)} of the questions are a text asked before"),
            *([] if self.groups is None else [self.count_row()]),
            ("characters of a question", self.length.told()),
            *([] if self.answer is None else [("characters of an answer", self.answer.told())]),
        ]
        out += [(name, f"{count:,}") for name in ("users", "sessions") if (count := getattr(self, name)) is not None]
        if self.turns is not None:
            out.append(("questions of a session", self.turns.told()))
        if self.categories is not None:
            most = sorted(self.categories.items(), key=lambda held: -held[1])[:3]
            told = ", ".join(f"{name or 'none'} {count:,}" for name, count in most)
            out.append(("categories", f"{len(self.categories):,}; most: {told}"))
        if self.span_ns is not None:
            out.append(("span", duration(self.span_ns)))
        out += self.reuse_rows()
        return [*out, *([] if self.burstiness is None else [self.burstiness.row()]), self.working_row()]


def fingerprint(chunks: Iterator[Chunk], tally: Tally) -> QueryInfo:
    """Lengths, repeats of text and of meaning, sessions."""
    held = whole(chunks)
    texts = _texts(held["text"])
    asked = number_requests([{"id": held["group"]}]) if "group" in held else texts
    keys, panels = measured(asked, "groups" if "group" in held else "texts")
    lengths = [("question", _characters(held["text"]))]
    if "answer" in held:
        lengths.append(("answer", _characters(held["answer"])))
    drawn = distribution((name, values[values > 0]) for name, values in lengths)
    turns = np.unique(held["session"], return_counts=True)[1] if "session" in held else np.empty(0, np.int64)
    span = tally.span
    return QueryInfo(
        **tally.about(),
        **vars(keys),
        texts=texts.objects,
        groups=asked.objects if "group" in held else None,
        same_text=1 - texts.objects / len(texts),
        length=Spread.of(lengths[0][1]),
        answer=Spread.of(lengths[1][1]) if "answer" in held else None,
        users=len(np.unique(held["user"])) if "user" in held else None,
        sessions=len(turns) if "session" in held else None,
        turns=Spread.if_any(turns),
        categories=_categories(held["category"]) if "category" in held else None,
        span_ns=span,
        burstiness=burstiness(iter([held["time"]]), tally.earliest, span, tally.step) if span else None,
        panels=[Panel("characters", "questions with no more (%)", drawn, x_log=True, full=100), *panels],
    )


def _texts(text: Ragged) -> Requests:
    """Questions as requests for their texts, equal where they are byte for byte."""
    held = text.values.tobytes()
    keys = [key_of(held[start:end]) for start, end in pairwise(text.offsets.tolist())]
    return number_requests([{"id": np.array(keys, np.uint64)}])


def _characters(text: Ragged) -> NDArray[np.int64]:
    """The length of each text."""
    begins = np.zeros(len(text.values) + 1, np.int64)
    np.cumsum((text.values & 0xC0) != INSIDE, out=begins[1:])
    return np.diff(begins[text.offsets])


def _categories(names: Ragged) -> dict[str, int]:
    held, counts = np.unique(np.array(names.strings, object), return_counts=True)
    return dict(zip(held.tolist(), counts.tolist(), strict=True))


def traps(chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
    """Empty texts, one text in several groups, groups of one, turns that do not count up, no repeats."""
    held = whole(chunks)
    yield from spotted(
        held["text"].counts == 0, "questions have no text", "all of them are one text to a cache; leave them out"
    )
    texts = _texts(held["text"])
    if "group" in held:
        yield from _of_groups(held["group"], texts)
    else:
        yield from no_reuse(texts, "text")
    if "session" in held and "turn" in held:
        _, which = np.unique(held["session"], return_inverse=True)
        order = np.argsort(which, kind="stable")
        turn = held["turn"][order].astype(np.int64)
        begins = np.diff(which[order], prepend=-1) != 0
        wrong = np.where(begins, turn != 0, np.diff(turn, prepend=0) != 1)
        if wrong.any():
            yield (
                f"turns do not count up from 0 by 1 in their sessions, {int(wrong.sum()):,} times, first at record "
                f"{int(order[wrong].min()) + 1:,}: turns are missing or out of order; take whole sessions"
            )


def _of_groups(group: NDArray[np.uint64], texts: Requests) -> Iterator[str]:
    names, which = np.unique(group, return_inverse=True)
    ids = texts.ids[:]
    first = np.empty(texts.objects, np.int64)
    first[ids[::-1]] = which[::-1]
    several = np.zeros(texts.objects, bool)
    several[ids[which != first[ids]]] = True
    if several.any():
        yield (
            f"{int(several.sum()):,} of {texts.objects:,} texts are in several groups: equal questions mean the same, "
            "so that those groups are one; join them, or a right hit counts as wrong"
        )
    if len(names) == len(group):
        yield "every question is a group of its own: no semantic cache can ever rightly hit"
