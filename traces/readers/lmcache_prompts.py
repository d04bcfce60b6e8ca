"""Prompts of agents as text, cut into blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.keys import key_of
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import Row, gathered, lines, nanoseconds, object_of
from tiersim.traces.readers.text import first_lines
from tiersim.traces.schema import Chunk

MICRO: Final = 3  # digits of a microsecond's nanoseconds
MOST: Final = 1 << 22  # requests: they are sorted by time, so all are held
MOST_BLOCKS: Final = 1 << 26
KEYS: Final = (b'"timestamp"', b'"input"', b'"output"', b'"session_id"')
EXPECTED: Final = 'expected {"timestamp": us, "input": text, "output": text, "session_id": text}'


@register("lmcache-prompts", family="reader", paper="https://github.com/LMCache/lmcache-agent-trace")
class LmcachePrompts:
    """LMCache's traces of agents as JSON lines: ``timestamp`` in us, ``input``, ``output``, ``session_id``.

    Tokens are an estimate: characters over ``characters_per_token``, rounded up; there is no tokenizer here. A block is
    ``chunk`` whole characters of the prompt, named by a hash (BLAKE2b, 8 bytes) of them and of all before them; what is
    left at the end is no block, for nobody can share it. So a block has ``chunk`` / ``characters_per_token`` tokens.
    The sessions of a file run at the same time, and its requests are put in order of time.
    """

    schema: ClassVar[str] = "request"

    chunk: Annotated[int, Param("characters of a block", ge=1)] = 256
    characters_per_token: Annotated[float, Param("characters that a token is reckoned to have", ge=0.01)] = 4.0

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the first line has the four keys, or breaks off after the first two."""
        line = first_lines(head)[0]
        keys = KEYS if line.rstrip().endswith(b"}") else KEYS[:2]  # a prompt may be longer than the head
        return line.lstrip().startswith(b"{") and all(key in line for key in keys) and b'"hash_ids"' not in line

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every request. Raises TraceError with line, byte offset and text, and for more than memory should hold."""
        held = list(gathered(self._rows(stream, source)))
        if not held:
            return 0
        arrival = np.concatenate([chunk["arrival"] for chunk in held])
        first = arrival.min()
        ends = np.cumsum([len(chunk["arrival"]) for chunk in held])
        order = np.argsort(arrival, kind="stable")
        yield from gathered(
            {name: values[row] for name, values in held[place].items()} | {"arrival": arrival[at] - first}
            for at, place, row in _places(order, ends)
        )
        return 0

    def _rows(self, stream: ByteStream, source: str) -> Iterator[Row]:
        """Every request, at the time that it has."""
        blocks = 0
        for count, line in enumerate(lines(stream, source), 1):
            held = object_of(line.text)
            time = nanoseconds(held.get("timestamp"), MICRO)
            texts = [held.get(name) for name in ("input", "output", "session_id")]
            if time is None or not all(type(text) is str for text in texts):
                raise line.wrong("a prompt", f"{EXPECTED}; cut the file before this line")
            prompt, answer, session = map(str, texts)
            ids = self._blocks(prompt)
            blocks += len(ids)
            if count > MOST or blocks > MOST_BLOCKS:
                raise TraceError(
                    f"{source}: line {line.number:,} (byte {line.offset:,}): more than {MOST:,} requests or "
                    f"{MOST_BLOCKS:,} blocks, which must be held to be sorted",
                    None,
                    "cut the file into parts, or give a larger chunk=",
                )
            yield {
                "input": self._tokens(prompt),
                "output": self._tokens(answer),
                "arrival": time,
                "blocks": ids,
                "session": key_of(session),
            }

    def _tokens(self, text: str) -> int:
        return int(-(-len(text) // self.characters_per_token))

    def _blocks(self, prompt: str) -> NDArray[np.uint64]:
        made = hashlib.blake2b(digest_size=8)
        found = bytearray()
        for end in range(self.chunk, len(prompt) + 1, self.chunk):
            made.update(prompt[end - self.chunk : end].encode("utf-8", "surrogatepass"))
            found += made.digest()
        return np.frombuffer(bytes(found), "<u8")


def _places(order: NDArray[np.intp], ends: NDArray[np.intp]) -> Iterator[tuple[int, int, int]]:
    """Each of these records, with the chunk it is in and its place there."""
    chunk = np.searchsorted(ends, order, side="right")
    row = order - (ends - np.diff(ends, prepend=0))[chunk]
    return zip(order, chunk, row)
