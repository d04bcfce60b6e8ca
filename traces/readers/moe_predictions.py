"""Experts that were chosen, beside those that a predictor named."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, ClassVar, Final

from tiersim._base.registry import register
from tiersim.traces.keys import key_of
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.experts import chosen, named, place
from tiersim.traces.readers.requests import Row, gathered, lines, object_of
from tiersim.traces.readers.text import first_lines
from tiersim.traces.schema import ROUTING, Chunk

EXPECTED: Final = (
    'expected {"prompt": number or name, "layer": number, "token": number, "experts": [numbers, each once], '
    '"predicted": [numbers, each once]}'
)


@register("moe-predictions", family="reader", paper="https://github.com/ngavhane/moe-beyond")
class MoePredictions:
    """JSON lines of ``prompt``, ``layer``, ``token``, ``experts`` and ``predicted``: MoE-Beyond's tables in one file.

    One record a line, in the order of the file. ``sequence`` is the prompt, hashed where it is a name; a prediction
    may be empty.
    """

    schema: ClassVar[str] = ROUTING.name

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 is a record."""
        return _row(object_of(first_lines(head)[0])) is not None

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every routed token. Raises TraceError with line, byte offset and text."""
        yield from gathered(_rows(stream, source), ROUTING)
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    for line in lines(stream, source):
        row = _row(object_of(line.text))
        if row is None:
            raise line.wrong("a routed token with a prediction", f"{EXPECTED}; cut the file before this line")
        yield row


def _row(held: dict[str, Any]) -> Row | None:
    prompt, layer, token = (held.get(name) for name in ("prompt", "layer", "token"))
    experts, predicted = held.get("experts"), held.get("predicted")
    if isinstance(prompt, str):
        prompt = key_of(prompt)
    if type(prompt) is not int or not 0 <= prompt < 1 << 64 or not (named(layer) and place(token)):
        return None
    if not chosen(experts) or not chosen(predicted, 0):
        return None
    return {"layer": layer, "token": token, "experts": experts, "sequence": prompt, "predicted": predicted}
