"""Pairs of questions that mean the same."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Annotated, ClassVar, Final, Literal

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.arrays import Element, elements
from tiersim.traces.readers.contract import HEAD, ByteStream
from tiersim.traces.readers.requests import Line, Row, gathered, lines, object_of
from tiersim.traces.readers.text import BLANK
from tiersim.traces.schema import QUERY, Chunk

KEYS: Final = ("origin", "similar")
MOST: Final = 1 << 22  # pairs: the last may join questions that came before, so all are held
MOST_TEXT: Final = 1 << 30  # characters of all different questions
EXPECTED: Final = 'expected {"origin": text, "similar": text}, neither of them blank, and no other key'


@register("question-pairs", family="reader", paper="Bang, NLP-OSS 2023, doi:10.18653/v1/2023.nlposs-1.24")
class QuestionPairs:
    """Pairs ``{"origin": question, "similar": question}`` as JSON lines or as one JSON array; two records each.

    Questions have the same ``group`` if a chain of pairs joins them: a question that stands in several pairs would else
    have several groups, and a cache that has answered it would seem to be wrong. Groups are numbered from 0 as they
    appear.
    """

    schema: ClassVar[str] = "query"

    order: Annotated[
        Literal["pairs", "origins-first"],
        Param("each origin before its similar question, or all origins before all similar questions"),
    ] = "pairs"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the first object is a pair."""
        text = head.lstrip(BLANK).removeprefix(b"[").lstrip(BLANK)
        try:
            held, _ = json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return False
        return _pair(held) is not None

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every question. Raises TraceError with place, byte offset and text, and for more than memory should hold."""
        known = _Questions()
        asked: list[int] = []
        for place, held in _objects(stream, source):
            pair = _pair(held)
            if pair is None:
                raise place.wrong("a pair of questions", f"{EXPECTED}; cut the file before it, or name its format")
            if len(asked) >= 2 * MOST or known.size > MOST_TEXT:
                raise TraceError(
                    f"{source}: byte {place.offset:,}: more than {MOST:,} pairs or {MOST_TEXT:,} characters, which "
                    "must be held to be grouped",
                    None,
                    "cut the file into parts",
                )
            asked += known.join(*pair)
        yield from gathered(known.rows(asked if self.order == "pairs" else asked[::2] + asked[1::2]), QUERY)
        return 0


class _Questions:
    """Different questions, numbered, and which are joined."""

    def __init__(self) -> None:
        self.size = 0
        self._numbers: dict[str, int] = {}
        self._parents: list[int] = []

    def join(self, one: str, other: str) -> tuple[int, int]:
        """The numbers of two that mean the same."""
        first, second = self._number(one), self._number(other)
        self._parents[self._root(second)] = self._root(first)
        return first, second

    def rows(self, asked: list[int]) -> Iterator[Row]:
        """The records of the questions with these numbers."""
        texts = list(self._numbers)
        groups: dict[int, int] = {}
        return ({"text": texts[place], "group": groups.setdefault(self._root(place), len(groups))} for place in asked)

    def _number(self, text: str) -> int:
        number = self._numbers.setdefault(text, len(self._numbers))
        if number == len(self._parents):
            self._parents.append(number)
            self.size += len(text)
        return number

    def _root(self, place: int) -> int:
        parents = self._parents
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]  # halves the way of the next search
        return place


class _Again:
    """A stream from its beginning, of which some was read."""

    def __init__(self, begun: bytes, rest: ByteStream) -> None:
        self._begun = begun
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        made, self._begun = self._begun[:size], self._begun[size:]
        return made + self._rest.read(size - len(made)) if len(made) < size else made


def _objects(stream: ByteStream, source: str) -> Iterator[tuple[Line | Element, object]]:
    """What each line holds, or each element of an array, and where it stands."""
    begun = stream.read(HEAD)
    again = _Again(begun, stream)
    if begun.lstrip(BLANK).startswith(b"["):
        yield from ((element, element.value) for element in elements(again, source))
    else:
        yield from ((line, object_of(line.text)) for line in lines(again, source))


def _pair(held: object) -> tuple[str, str] | None:
    if not isinstance(held, dict) or held.keys() != set(KEYS):
        return None
    one, other = (held[key] for key in KEYS)
    right = isinstance(one, str) and isinstance(other, str) and one.strip() and other.strip()
    return (one, other) if right else None
