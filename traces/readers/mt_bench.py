"""Questions of several turns, by category."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import Row, gathered, lines, object_of
from tiersim.traces.readers.text import first_lines
from tiersim.traces.schema import QUERY, Chunk

EXPECTED: Final = (
    'expected {"question_id": number under 2**64 that no line before has, "category": text, "turns": [text, ...]} with '
    'one turn at least, and perhaps "reference": [text, ...] with no more of them'
)


@register("mt-bench", family="reader", paper="Zheng et al., NeurIPS 2023, https://arxiv.org/abs/2306.05685")
class MtBench:
    """Questions of MT-bench as JSON lines: ``question_id``, ``category``, ``turns`` and perhaps ``reference``.

    Each turn is a record, with the question as its session. The answer is the reference of that turn, and an empty text
    where there is none.
    """

    schema: ClassVar[str] = "query"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the first line is a question with turns."""
        return _turns(object_of(first_lines(head)[0])) is not None

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every turn. Raises TraceError with line, byte offset and text."""
        yield from gathered(_rows(stream, source), QUERY)
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    known: set[int] = set()
    for line in lines(stream, source):
        turns = _turns(object_of(line.text))
        if not turns or turns[0]["session"] in known:
            raise line.wrong("a question with turns", f"{EXPECTED}; cut the file before this line")
        known.add(turns[0]["session"])
        yield from turns


def _turns(held: dict[str, Any]) -> list[Row] | None:
    """The records of a question; None where it is none."""
    number, category, turns = (held.get(key) for key in ("question_id", "category", "turns"))
    answers = held.get("reference", [])
    right = type(number) is int and 0 <= number < 1 << 64 and type(category) is str
    if not right or not _texts(turns) or not _texts(answers) or not turns or len(answers) > len(turns):
        return None
    answers = answers + [""] * (len(turns) - len(answers))
    return [
        {"text": text, "session": number, "turn": turn, "category": category, "answer": answer}
        for turn, (text, answer) in enumerate(zip(turns, answers, strict=True))
    ]


def _texts(held: Any) -> bool:
    return type(held) is list and all(type(text) is str for text in held)
