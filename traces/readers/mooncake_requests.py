"""Mooncake's requests to a language model, one record each."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import Line, Row, gathered, lines, nanoseconds, object_of, tokens
from tiersim.traces.schema import Chunk

MILLI: Final = 6  # digits of a millisecond's nanoseconds
AT_ONCE: Final = 1 << 20  # requests of one timestamp that are held


@register(
    "mooncake-requests", family="reader", paper="Qin et al., USENIX FAST 2025; https://github.com/kvcache-ai/Mooncake"
)
class MooncakeRequests:
    """Mooncake's JSON lines as one record a request, with its lengths and blocks.

    A line has ``timestamp`` in ms, ``input_length``, ``output_length`` and ``hash_ids``. The same files are recognised
    as ``mooncake``, which gives their blocks as objects; this reader must be named. The clock of the published traces
    ticks in steps of seconds, so that many requests come at once; ``dequantised`` spreads those of one timestamp evenly
    up to the next, and leaves those of the last.
    """

    schema: ClassVar[str] = "request"
    twin: ClassVar[str] = "mooncake"
    """The reader that is taken for these files unless another is named."""

    clock: Annotated[
        Literal["recorded", "dequantised"], Param("arrivals as recorded, or spread evenly up to the next timestamp")
    ] = "recorded"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """No file: a trace of objects is what its content is taken for."""
        return False

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request. Raises TraceError with line, byte offset and text."""
        rows = _rows(stream, source)
        yield from gathered(row for _, row in (rows if self.clock == "recorded" else _spread(rows)))
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[tuple[Line, Row]]:
    first: int | None = None
    for line in lines(stream, source):
        held = object_of(line.text)
        time = nanoseconds(held.get("timestamp"), MILLI)
        if first is None:
            first = time
        ids = held.get("hash_ids")
        size, made = held.get("input_length"), held.get("output_length")
        if time is None or first is None or time < first or not (tokens(size) and tokens(made) and _blocks(ids)):
            raise line.wrong(
                "a request to a model",
                'expected {"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [numbers]}, '
                "no time before the first; cut the file before this line",
            )
        yield line, {"input": size, "output": made, "arrival": time - first, "blocks": ids}


def _blocks(ids: Any) -> bool:
    return isinstance(ids, list) and all(type(key) is int and 0 <= key < 1 << 64 for key in ids)


def _spread(rows: Iterator[tuple[Line, Row]]) -> Iterator[tuple[Line, Row]]:
    held: list[tuple[Line, Row]] = []
    for line, row in rows:
        start = held[0][1]["arrival"] if held else row["arrival"]
        if row["arrival"] < start:
            raise line.wrong("later than the line before", "clock='recorded' takes times that fall back")
        if row["arrival"] > start:
            step = row["arrival"] - start
            for place, (of, each) in enumerate(held):
                yield of, each | {"arrival": start + step * place // len(held)}
            held = []
        held.append((line, row))
        if len(held) > AT_ONCE:
            raise TraceError(
                f"{line.source}: line {line.number:,} (byte {line.offset:,}): more than {AT_ONCE:,} requests have the "
                "same timestamp",
                None,
                "clock='recorded' takes them as they are",
            )
    yield from held
