"""Sessions of a coding agent, with the blocks of each prompt."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.generators.counter import mix
from tiersim.traces.keys import key_of
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import LATEST, Line, Row, gathered, lines, nanoseconds, object_of, tokens
from tiersim.traces.readers.text import first_lines
from tiersim.traces.schema import Chunk

SECOND: Final = 9  # digits of its nanoseconds
KEYS: Final = (b'"id"', b'"block_size"', b'"hash_id_scope"', b'"requests"')
EXPECTED: Final = (
    'expected {"id": text, "block_size": tokens, "hash_id_scope": "local", "requests": [{"t": s, "type": text, '
    '"model": text, "in": tokens, "out": tokens, "hash_ids": [numbers]}]}, where a "subagent" has "t" and '
    '"requests" of its own'
)


@register("claude-sessions", family="reader", paper="https://github.com/callanjfox/kv-cache-tester")
class ClaudeSessions:
    """Sessions of Claude Code as JSON lines, one a line: all their requests, those of subagents among them.

    The times of a subagent count from its start, and are added to it; the requests of a session are in order of time.
    Sessions have clocks of their own: each begins at 0 and arrivals fall back between sessions, unless they are put
    ``in-turn``, each where the last request before it came. Numbers of blocks are local to a session, and are made
    global by a hash of session and number: no block is shared by two sessions, although prompts of system and tools
    would be. The category is the type of a request (``n``, ``s``).
    """

    schema: ClassVar[str] = "request"

    sessions: Annotated[
        Literal["at-once", "in-turn"], Param("whether each session begins at 0, or where the one before it ends")
    ] = "at-once"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the first line begins as a session does."""
        line = first_lines(head)[0]
        return line.lstrip().startswith(b"{") and all(key in line for key in KEYS)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request. Raises TraceError with line, byte offset and text."""
        yield from gathered(self._rows(stream, source))
        return 0

    def _rows(self, stream: ByteStream, source: str) -> Iterator[Row]:
        start = 0
        for line in lines(stream, source):
            rows = _session(line)
            if self.sessions == "in-turn" and rows:
                base = start - rows[0]["arrival"]
                rows = [row | {"arrival": base + row["arrival"]} for row in rows]
                start = rows[-1]["arrival"]
                if start >= LATEST:
                    raise line.wrong("a session that still fits the clock of the others", "sessions='at-once' has room")
            yield from rows


def _session(line: Line) -> list[Row]:
    held = object_of(line.text)
    name, scope = held.get("id"), held.get("hash_id_scope")
    if type(name) is not str or scope != "local" or type(held.get("block_size")) is not int:
        raise line.wrong("a session whose blocks have local numbers", f"{EXPECTED}; cut the file before this line")
    session = key_of(name)
    rows: list[Row] = []
    found = _requests(held.get("requests"), 0, True)
    for each, start in found:
        row = _row(each, start, session)
        if row is None:
            place = len(rows) + 1
            raise line.wrong(f"a session, for its request {place:,} is none", f"{EXPECTED}; cut the file before it")
        rows.append(row)
    rows.sort(key=lambda row: int(row["arrival"]))
    return rows


def _requests(held: Any, start: int, outer: bool) -> Iterator[tuple[Any, int]]:
    """Each request and when the times that it counts by begin; None for what is no list or no subagent."""
    if not isinstance(held, list):
        yield None, 0
        return
    for each in held:
        if outer and isinstance(each, dict) and each.get("type") == "subagent":
            time = nanoseconds(each.get("t"), SECOND)
            yield from [(None, 0)] if time is None else _requests(each.get("requests"), time, False)
        else:
            yield each, start


def _row(held: Any, start: int, session: int) -> Row | None:
    if not isinstance(held, dict):
        return None
    time = nanoseconds(held.get("t"), SECOND)
    size, made, kind, model = (held.get(name) for name in ("in", "out", "type", "model"))
    ids = _blocks(held.get("hash_ids"), session)
    if time is None or start + time >= LATEST or not (tokens(size) and tokens(made)) or ids is None:
        return None
    if type(kind) is not str or type(model) is not str:
        return None
    return {
        "input": size,
        "output": made,
        "arrival": start + time,
        "blocks": ids,
        "session": session,
        "category": key_of(kind),
        "model": key_of(model),
    }


def _blocks(held: Any, session: int) -> NDArray[np.uint64] | None:
    """The numbers of a session's blocks, no two to the same."""
    if not isinstance(held, list) or not all(type(key) is int and 0 <= key < 1 << 64 for key in held):
        return None
    return mix(mix(np.array(held, np.uint64)) ^ np.uint64(session))
