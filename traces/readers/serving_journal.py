"""The journals of `tiersim capture serving`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators.counter import mix
from tiersim.traces.keys import key_of
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import LATEST, Line, Row, gathered, lines, object_of, tokens
from tiersim.traces.readers.text import first_lines
from tiersim.traces.schema import FAILED, SERVED, STATUSES, Chunk

MARK: Final = 8  # bytes of a mark of a prompt
MOST: Final = 1 << 22  # requests: they end in another order than they come, so all are held
MOST_NUMBERS: Final = 1 << 26  # marks and pieces of them all
LONGEST: Final = 1 << 24  # tokens of a prompt
UNKNOWN: Final = 4.0  # bytes of a token where no request tells of its tokens
HEAD: Final = 'expected {"tiersim": "serving", "version": 1, "step": bytes} in line 1'
COMES: Final = '{"n": number, "at": ns, "kind", "model", "session", "bytes", "marks"} of a request that comes'
ENDS: Final = '{"n": number, "input": tokens, "output": tokens, "status", "end": ns, "pieces": [ns]} of one that ends'
CUT: Final = "cut the file before this line"


@dataclass
class _Request:
    at: int
    kind: str
    model: str
    session: int | None
    size: int
    marks: NDArray[np.uint64]
    input: int = 0
    output: int = 0
    status: int = FAILED
    end: int = 0
    pieces: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@register("serving-journal", family="reader")
class ServingJournal:
    """The journal of `tiersim capture serving`: a line when a request came, another when it ended.

    A request without its second line was under way when the capture was killed, and failed; a last line that is cut is
    left out. The blocks of a prompt are of ``block_tokens``; what is left at its end is none. Where one ends is found
    by bytes, of which a token has as many as all prompts of the journal over all their tokens; it is named by the first
    mark (a hash of all bytes so far) at or behind its end. Requests that tell no session have one of their own.
    """

    schema: ClassVar[str] = "request"

    block_tokens: Annotated[int, Param("tokens of a block", ge=1)] = 64

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the first line is that of a journal."""
        return object_of(first_lines(head)[0]).get("tiersim") == "serving"

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request. Raises TraceError with line, byte offset and text, and for more than memory should hold."""
        held, step = _requests(stream, source)
        if not held:
            return 0
        held.sort(key=lambda request: request.at)
        told = [request for request in held if request.input]
        size = sum(request.size for request in told) / sum(request.input for request in told) if told else UNKNOWN
        blocks_end = self.block_tokens * size / step  # each so many marks after the one before
        silent = _silent(held, self.block_tokens)
        rows = (
            _row(request, number, held[0].at, _blocks(request, request.input // self.block_tokens, blocks_end))
            for number, request in enumerate(held)
        )
        yield from gathered({name: value for name, value in row.items() if name not in silent} for row in rows)
        return 0


def _row(request: _Request, number: int, first: int, blocks: NDArray[np.uint64]) -> Row:
    return {
        "input": request.input,
        "output": request.output,
        "arrival": request.at - first,
        "blocks": blocks,
        "session": key_of(f"request {number}") if request.session is None else request.session,
        "category": key_of(request.kind),
        "model": key_of(request.model),
        "status": request.status,
        "end": request.end,
        "pieces": request.pieces,
    }


def _silent(held: list[_Request], block_tokens: int) -> set[str]:
    """The columns that would say nothing."""
    says = {
        "blocks": any(request.input >= block_tokens and len(request.marks) for request in held),
        "session": any(request.session is not None for request in held),
        "category": len({request.kind for request in held}) > 1,
        "model": any(request.model for request in held),
        "status": any(request.status != SERVED for request in held),
        "pieces": any(len(request.pieces) for request in held),
    }
    return {name for name, said in says.items() if not said}


def _blocks(request: _Request, count: int, apart: float) -> NDArray[np.uint64]:
    """The blocks of a prompt. One mark may end several, so each is mixed with its place."""
    if not len(request.marks):
        return np.zeros(0, np.uint64)
    place = np.arange(1, count + 1, dtype=np.uint64)
    mark = np.ceil(place * apart).astype(np.int64) - 1
    return mix(request.marks[np.minimum(mark, len(request.marks) - 1)] ^ mix(place))


def _requests(stream: ByteStream, source: str) -> tuple[list[_Request], int]:
    """All requests of a journal, and the bytes from one mark to the next."""
    held: dict[int, _Request] = {}
    under_way: set[int] = set()
    step = numbers = 0
    for line in lines(stream, source):
        told = object_of(line.text)
        if line.cut and not told:
            break
        if not step:
            step = _step(line, told)
            continue
        number = told.get("n")
        if type(number) is int and number in under_way:
            _end(line, told, held[number])
            under_way.remove(number)
            numbers += len(held[number].pieces)
        elif type(number) is int and number not in held:
            held[number] = _begin(line, told, step)
            under_way.add(number)
            numbers += len(held[number].marks)
        else:
            raise line.wrong("a line of a journal", f"expected {COMES}, or {ENDS}; {CUT}")
        if len(held) > MOST or numbers > MOST_NUMBERS:
            raise TraceError(
                f"{source}: line {line.number:,} (byte {line.offset:,}): more than {MOST:,} requests or "
                f"{MOST_NUMBERS:,} marks and pieces, which must be held to be sorted",
                None,
                "cut the file into parts that begin with its first line, each with both lines of its requests",
            )
    return list(held.values()), step


def _step(line: Line, told: dict[str, Any]) -> int:
    step = told.get("step")
    if told.get("tiersim") != "serving" or told.get("version") != 1 or type(step) is not int or not 0 < step < 1 << 20:
        raise line.wrong("the first one of a journal of this version", f"{HEAD}; or upgrade tiersim")
    return step


def _begin(line: Line, told: dict[str, Any], step: int) -> _Request:
    at, size, session = told.get("at"), told.get("bytes"), told.get("session")
    kind, model, marks = told.get("kind"), told.get("model"), _marks(told.get("marks"))
    if (
        not (_time(at) and _time(size))
        or not (type(kind) is str and type(model) is str)
        or not (session is None or (type(session) is int and 0 <= session < 1 << 64))
        or marks is None
        or len(marks) != -(-size // step)
    ):
        raise line.wrong("a request that comes", f"expected {COMES}; {CUT}")
    return _Request(at, kind, model, session, size, marks)


def _marks(held: Any) -> NDArray[np.uint64] | None:
    try:
        raw = base64.b64decode(held, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return None
    return np.frombuffer(raw, "<u8").astype(np.uint64) if len(raw) % MARK == 0 else None


def _end(line: Line, told: dict[str, Any], request: _Request) -> None:
    end, pieces = told.get("end"), told.get("pieces")
    if (
        not (tokens(told.get("input")) and told["input"] <= LONGEST and tokens(told.get("output")) and _time(end))
        or told.get("status") not in STATUSES
        or not (isinstance(pieces, list) and all(map(_time, pieces)))
    ):
        raise line.wrong("a request that ended", f"expected {ENDS}; {CUT}")
    request.input, request.output = told["input"], told["output"]
    request.status = STATUSES.index(told["status"])
    request.end, request.pieces = end, np.array(pieces, np.int64)


def _time(held: Any) -> TypeGuard[int]:
    return type(held) is int and 0 <= held < LATEST
