"""Requests to a language model with the hashes of the blocks that its KV cache may hold."""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from functools import partial
from typing import Annotated, ClassVar, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
from numpy.typing import NDArray

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import object_of
from tiersim.traces.readers.text import blocks, first_lines, malformed
from tiersim.traces.schema import Chunk

FORM: Final = pa.schema([("timestamp", pa.float64()), ("hash_ids", pa.list_(pa.uint64()))])
BLOCK: Final = 8 << 20  # a prompt of a million tokens has a line of 20 kB at 512 tokens a block, more with small blocks
LATEST: Final = 4e12  # ms: beyond are nanoseconds or no times at all; a difference of two is less than 2**63 ns
MILLISECOND: Final = 10**6
KEYS: Final = (b'"timestamp"', b'"hash_ids"', b'"input_length"', b'"output_length"')


@register("mooncake", family="reader", paper="Qin et al., USENIX FAST 2025; https://github.com/kvcache-ai/Mooncake")
class Mooncake:
    """Mooncake's JSON lines as requests for blocks: each that a prompt needs is one, in order, at its prompt's time.

    A line has ``timestamp`` in ms, ``input_length``, ``output_length`` and ``hash_ids``.
    """

    schema: ClassVar[str] = "object"

    block_bytes: Annotated[int, Param("bytes of one block", unit="bytes", ge=1)] = 1

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the first line is an object with the four keys."""
        line = first_lines(head)[0]
        return line.lstrip().startswith(b"{") and all(key in line for key in KEYS)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every block as a record of the object schema. Raises TraceError with line, byte offset and text."""
        first: float | None = None
        for block in blocks(stream, source, BLOCK):
            found = _fields(block.text) or _slowly(block.text)
            if first is None and found is not None and len(found[0]):
                first = float(found[0][0])
            start = first or 0.0
            if found is None or found[0].min(initial=start) < start:
                raise malformed(
                    block,
                    partial(_right, start=start),
                    source,
                    "a request to a model",
                    'expected {"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": '
                    "[numbers]}, no time before the first; cut the file before this line, or name its format",
                )
            stamps, ids, per = found
            chunk: Chunk = {"id": ids, "time": np.repeat(np.rint((stamps - start) * MILLISECOND).astype(np.int64), per)}
            if self.block_bytes != 1:
                chunk["size"] = np.full(len(ids), self.block_bytes, np.int64)
            yield chunk
        return 0


Fields: TypeAlias = tuple[NDArray[np.float64], NDArray[np.uint64], NDArray[np.int64]]


def _fields(text: bytes) -> Fields | None:
    """Times, hashes of all lines and how many each line has; None if pyarrow does not take one of them."""
    if not text.lstrip().startswith(b"{"):  # Arrow 26 crashes at a null that comes first
        return None
    try:
        found = pj.read_json(
            pa.BufferReader(text),
            pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            pj.ParseOptions(explicit_schema=FORM, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    stamps, lists = (found[name].combine_chunks() for name in ("timestamp", "hash_ids"))
    ids = lists.flatten()
    if len(stamps) != sum(1 for line in text.split(b"\n") if line.strip()):  # two in one line, or one in two
        return None
    if stamps.null_count or lists.null_count or ids.null_count or not (np.abs(stamps.to_numpy()) < LATEST).all():
        return None
    return stamps.to_numpy(), ids.to_numpy(), np.diff(lists.offsets.to_numpy()).astype(np.int64)


def _slowly(text: bytes) -> Fields | None:
    """The same line by line; None if one is wrong."""
    lines = text.split(b"\n")
    if not all(_right(line, -math.inf) for line in lines):
        return None
    held = [json.loads(line) for line in lines if line.strip()]
    return (
        np.array([item["timestamp"] for item in held], np.float64),
        np.array([key for item in held for key in item["hash_ids"]], np.uint64),
        np.array([len(item["hash_ids"]) for item in held], np.int64),
    )


def _right(line: bytes, start: float) -> bool:
    held = object_of(line)
    if not held:
        return not line.strip()
    stamp, ids = held.get("timestamp"), held.get("hash_ids")
    return (
        isinstance(stamp, int | float)
        and not isinstance(stamp, bool)
        and start <= stamp
        and abs(stamp) < LATEST
        and isinstance(ids, list)
        and all(type(key) is int and 0 <= key < 1 << 64 for key in ids)
    )
