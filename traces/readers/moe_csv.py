"""Tables of the experts that DeepSeek-V2-Lite chose for a prompt."""

from __future__ import annotations

import csv
import json
from collections.abc import Generator, Iterator
from typing import Any, ClassVar, Final

from tiersim._base.errors import TraceError
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.experts import chosen, named
from tiersim.traces.readers.request_csv import whole
from tiersim.traces.readers.requests import Line, Row, gathered, lines
from tiersim.traces.readers.text import first_lines, shown
from tiersim.traces.schema import ROUTING, Chunk

ROUTED: Final = ["Layer ID", "Batch Number", "Token", "Activated Expert IDs"]
PREDICTED: Final = ["Layer ID", "Token", "Activated Expert IDs", "Predicted Expert IDs"]
EXPECTED: Final = (
    'expected Layer ID,Batch Number,Token,"[experts, each once]", where Token is text, or '
    'Layer ID,Token,"[experts]","[experts]", where it is a number; layer by layer'
)


@register("moe-csv", family="reader", paper="https://github.com/ngavhane/moe-beyond")
class MoeCsv:
    """MoE-Beyond's table of a prompt: ``Layer ID``, ``Batch Number``, ``Token``, ``Activated Expert IDs``.

    Layers come one after the other, each with all tokens of a batch's prompts one after the other. The token is a
    text, and its place is counted; the text is not kept. ``sequence`` is the batch number, for the table does not say
    which prompt it is of. A table of predictions has a ``Token`` that is its place, no batch, and the column
    ``Predicted Expert IDs``. Experts are in the order of the table, which says nothing of their weight.
    """

    schema: ClassVar[str] = ROUTING.name

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether line 1 names the columns of either table."""
        return _fields(first_lines(head)[0]) in (ROUTED, PREDICTED)

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every routed token. Raises TraceError with line, byte offset and text."""
        yield from gathered(_rows(stream, source), ROUTING)
        return 0


def _rows(stream: ByteStream, source: str) -> Iterator[Row]:
    names: list[str] = []  # of a file's first line that is not blank
    first: list[tuple[int, int]] = []  # the prompts of the first layer, and how many tokens each has
    prompts: list[tuple[int, int]] = []  # likewise of the layer that is read
    last: Line | None = None
    layer = -1
    for line in lines(stream, source):
        fields = _fields(line.text)
        if not names:
            names = fields
            if names not in (ROUTED, PREDICTED):
                raise TraceError(
                    f"{source}: line {line.number:,} (byte {line.offset:,}) does not name the columns "
                    f"{','.join(ROUTED)}: {shown(line.text)}",
                    None,
                    f"{EXPECTED}; or name the format that the file has",
                )
            continue
        row = _row(dict(zip(names, fields, strict=True))) if len(fields) == len(names) else None
        if row is None:
            raise line.wrong("a routed token", f"{EXPECTED}; cut the file before this line")
        if row["layer"] != layer:
            first = first or prompts
            _same(first, prompts, last)
            if row["layer"] < layer:
                raise line.wrong(f"of layer {layer} or one after it", f"{EXPECTED}; cut the file before this line")
            layer, prompts = row["layer"], []
        if not prompts or row["sequence"] != prompts[-1][0]:
            if prompts and row["sequence"] < prompts[-1][0]:
                raise line.wrong(
                    f"of batch number {prompts[-1][0]} or one after it", f"{EXPECTED}; cut the file before this line"
                )
            prompts.append((row["sequence"], 0))
        token = prompts[-1][1]
        if row.setdefault("token", token) != token:
            raise line.wrong(f"token {token} of layer {layer}", f"{EXPECTED}; cut the file before this line")
        prompts[-1] = (row["sequence"], token + 1)
        last = line
        yield row
    _same(first or prompts, prompts, last)


def _same(first: list[tuple[int, int]], prompts: list[tuple[int, int]], last: Line | None) -> None:
    """Raises TraceError where a layer that ends at a line has not routed the tokens that the first one has."""
    if prompts != first and last is not None:
        count, wanted = (sum(tokens for _, tokens in held) for held in (prompts, first))
        raise TraceError(
            f"{last.source}: line {last.number:,} (byte {last.offset:,}) ends a layer of {count:,} tokens in "
            f"{len(prompts):,} prompts, and the first layer has {wanted:,} in {len(first):,}: {shown(last.text)}",
            None,
            "each layer has the same tokens, so that some are missing here: fetch the file again, or leave it out",
        )


def _row(held: dict[str, str]) -> Row | None:
    layer, experts = whole(held["Layer ID"].encode()), _experts(held["Activated Expert IDs"])
    if not named(layer) or not chosen(experts):
        return None
    row: Row = {"layer": layer, "experts": experts}
    if "Batch Number" in held:
        row["sequence"] = whole(held["Batch Number"].encode())
        return row if named(row["sequence"]) else None  # all that a layer has are held, so that they must be few
    row |= {"sequence": 0, "token": whole(held["Token"].encode()), "predicted": _experts(held["Predicted Expert IDs"])}
    return None if row["token"] is None or not chosen(row["predicted"], 0) else row


def _experts(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _fields(line: bytes) -> list[str]:
    """The fields of a line; none where it cannot be one."""
    try:
        return next(csv.reader([line.removeprefix(b"\xef\xbb\xbf").decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []
