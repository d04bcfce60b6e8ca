"""Graphs as text, an edge a line."""

from __future__ import annotations

import math
import re
from collections.abc import Generator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.text import PAD, Block, blocks, first_lines, is_number, malformed, shown
from tiersim.traces.readers.words import Lines, Span
from tiersim.traces.schema import Chunk

ENDS: Final = {
    (b"id_1", b"id_2"),
    (b"id1", b"id2"),
    (b"node_1", b"node_2"),
    (b"node1", b"node2"),
    (b"source", b"target"),
    (b"source", b"destination"),
    (b"src", b"dst"),
    (b"from", b"to"),
    (b"fromnodeid", b"tonodeid"),
    (b"srcnid", b"dstnid"),
    (b"u", b"v"),
}
WEIGHTS: Final = (b"weight", b"w")
MARK: Final = b"\xef\xbb\xbf"
BANNER: Final = b"%%matrixmarket"
FIELDS: Final = {b"pattern": 2, b"integer": 3, b"real": 3}  # how many columns
COMMENT: Final = re.compile(rb"^[ \t]*[#%][^\n]*", re.MULTILINE)
SAYS_GRAPH: Final = re.compile(rb"^#.*(node|edge|nid\b)|^% *(sym|asym) ", re.MULTILINE | re.IGNORECASE)
SAYS_EDGES: Final = re.compile(rb"^#.*\bedges:[ \t]*([0-9]{1,19})\b", re.IGNORECASE)
LINE: Final = re.compile(rb"[^ \t\r\n][^\n]*")
REAL: Final = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
WORD: Final = re.compile(rb"[^ \t\r]+")
BLANK: Final = b" \t\r"


@dataclass(frozen=True)
class Form:
    """What each row is: two nodes, or a weight as well, with commas between or blanks; ``nodes`` of a matrix."""

    columns: int
    comma: bool
    nodes: int = 0

    @property
    def expected(self) -> str:
        """What a row must be."""
        numbers = f"two numbers from 1 to {self.nodes:,}" if self.nodes else "two nodes, decimal and under 2**64"
        weight = " and a finite weight" if self.columns == 3 else ""
        return f"expected {numbers}{weight}, with {'commas' if self.comma else 'blanks'} between"

    def row(self, line: bytes) -> bool:
        """Whether a line is a row, or blank."""
        text = line.strip(BLANK)
        if not text:
            return True
        words = _words(text, self.comma)
        return (
            len(words) == self.columns
            and all(is_number(word) and (not self.nodes or 1 <= int(word) <= self.nodes) for word in words[:2])
            and all(math.isfinite(_real(word)) for word in words[2:])
        )

    def chunk(self, text: bytes) -> Chunk | None:
        """The rows that whole lines are; None if one is wrong."""
        lines = Lines(Block(text.replace(b",", b" ") if self.comma else text, 0, 0))
        if not len(lines):
            return None if self.comma and b"," in text else {}
        if (lines.count != self.columns).any():
            return None
        spans = [lines.word(place) for place in range(self.columns)]
        if self.comma and not _between(text, spans):
            return None
        made: Chunk = {}
        for name, span in zip(("source", "target"), spans):
            made[name], right = lines.decimals(span)
            if not right.all():
                return None
            if self.nodes and not (made[name].min() >= 1 and made[name].max() <= self.nodes):
                return None
        if self.columns == 3:
            made["weight"] = _reals(text, spans[2])
            if not np.isfinite(made["weight"]).all():
                return None
        return made


@register("edge-list", family="reader", paper="https://snap.stanford.edu/data; https://math.nist.gov/MatrixMarket")
class EdgeList:
    """Graphs as text, an edge a line: two nodes and perhaps a weight, with a comma or blanks between.

    Line 1 may name the columns; lines that begin with ``#`` or ``%`` are comments. So are SNAP's lists, KONECT's, and
    square matrices of MatrixMarket's coordinate form, whose rows and columns count from 1. Edges are given as they
    stand: none is turned round, left out or numbered anew. A count of edges in a comment of SNAP or in a matrix is
    checked at the end, so that a file that was cut is found.
    """

    schema: ClassVar[str] = "edge"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether it is a matrix, or a header or comments say that it is a graph and every line after is an edge."""
        if head.lower().startswith(BANNER):
            return True
        said = _beginning(head)
        return bool(said and (said.headed or SAYS_GRAPH.search(head)))

    @staticmethod
    def suggest(head: bytes) -> str:
        """The name, where every line is two or three numbers."""
        return "a list of edges without a header needs format='edge-list'" if _beginning(head) else ""

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every edge. Raises TraceError with line, byte offset and text, and for a file without all its edges."""
        said = _Beginning(source)
        count = end = 0
        for block in blocks(stream, source):
            rows = said.rows(block)
            end = block.offset + len(block.text)
            if not said.form:
                continue
            made = said.form.chunk(rows.text)
            if made is None:
                raise malformed(
                    rows,
                    said.form.row,
                    source,
                    f"an edge in the form of line {said.first:,}",
                    f"{said.form.expected}; cut the file before this line",
                )
            if made:
                count += len(made["source"])
                yield made
        if count < said.edges or (said.form and said.form.nodes and count != said.edges):
            raise TraceError(
                f"{source}: record {count:,} is the last (byte {end:,}), and line {said.counted:,} says that there are "
                f"{said.edges:,} edges",
                None,
                "fetch the file again, or let that line say how many there are",
            )
        return 0


class _Beginning:
    """What comments, a header and the size of a matrix say of the rows after them.

    ``first`` is the line that decided the ``form``, which may be a ``headed`` one. Line ``counted`` promises so many
    ``edges``.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.form: Form | None = None
        self.headed = False
        self.first = self.counted = self.edges = 0
        self._matrix = 0  # columns of one

    def rows(self, block: Block) -> Block:
        """The same lines, with blanks in place of all that is no row. Raises TraceError for what is no graph."""
        text = block.text
        if not block.lines:
            text = _blanked(text, 0, len(MARK)) if text.startswith(MARK) else text
            if text.lower().startswith(BANNER):
                self._banner(block)
        if b"#" in text or b"%" in text:
            if not self.form:
                self._comments(text, block.lines)
            text = COMMENT.sub(lambda found: b" " * len(found.group()), text)
        if not self.form and (found := LINE.search(text)):
            self.first = block.lines + text.count(b"\n", 0, found.start()) + 1
            self.form, row = self._decided(found.group().rstrip(BLANK), block, found.start())
            text = text if row else _blanked(text, *found.span())
        return Block(text, block.lines, block.offset, block.cut)

    def _banner(self, block: Block) -> None:
        words = block.text.partition(b"\n")[0].lower().split()
        self._matrix = FIELDS.get(words[3], 0) if words[1:3] == [b"matrix", b"coordinate"] and len(words) == 5 else 0
        if not self._matrix:
            raise self._wrong(
                block,
                0,
                "the head of a matrix that is a graph",
                "expected '%%MatrixMarket matrix coordinate', then pattern, integer or real, and a symmetry",
            )

    def _comments(self, text: bytes, lines: int) -> None:
        for number, line in enumerate(text.split(b"\n"), lines + 1):
            if line.strip(BLANK) and not COMMENT.match(line):
                return
            if found := SAYS_EDGES.match(line):
                self.edges, self.counted = int(found[1]), number

    def _decided(self, line: bytes, block: Block, place: int) -> tuple[Form, bool]:
        """What the first line that is no comment makes of the rows, and whether it is one itself."""
        comma = b"," in line
        words = _words(line, comma)
        if self._matrix:
            if len(words) != 3 or not all(map(is_number, words)) or words[0] != words[1] or not int(words[0]):
                what = "the size of a matrix that is a graph"
                raise self._wrong(block, place, what, "expected rows, as many columns, and entries, decimal")
            self.edges, self.counted = int(words[2]), self.first
            return Form(self._matrix, False, int(words[0])), False
        form = Form(len(words), comma)
        if form.columns in (2, 3) and form.row(line):
            return form, True
        names = tuple(word.strip(b'"').lower() for word in words)
        self.headed = names[:2] in ENDS and (form.columns == 2 or (form.columns == 3 and names[2] in WEIGHTS))
        if self.headed:
            return form, False
        raise self._wrong(
            block,
            place,
            "an edge, nor does it name two nodes and a weight",
            "expected two nodes, decimal and under 2**64, and in each line or in none a finite weight, with a comma or "
            "blanks between; or a header such as 'source,target,weight'; cut other columns away",
        )

    def _wrong(self, block: Block, place: int, what: str, remedy: str) -> TraceError:
        start = block.text.rfind(b"\n", 0, place) + 1
        line, end, _ = block.text[start:].partition(b"\n")
        return TraceError(
            f"{self.source}: line {max(self.first, 1):,} (byte {block.offset + start:,}) is not {what}: {shown(line)}"
            + ("; the file ends inside this line" if block.cut and not end else ""),
            None,
            remedy,
        )


def _beginning(head: bytes) -> _Beginning | None:
    """That of a file whose first lines are all right and hold an edge."""
    said = _Beginning("")
    try:
        rows = said.rows(Block(b"\n".join(first_lines(head)), 0, 0))
    except TraceError:
        return None
    return said if said.form and said.form.chunk(rows.text) else None


def _blanked(text: bytes, start: int, end: int) -> bytes:
    return text[:start] + b" " * (end - start) + text[end:]


def _words(line: bytes, comma: bool) -> list[bytes]:
    return [word.strip(BLANK) for word in line.split(b",")] if comma else WORD.findall(line)


def _between(text: bytes, spans: list[Span]) -> bool:
    """Whether there is one comma between each two words of a line, and no other."""
    commas = np.flatnonzero(np.frombuffer(text, np.uint8) == ord(",")) + PAD
    if len(commas) != len(spans[0][0]) * (len(spans) - 1):
        return False
    places = commas.reshape(-1, len(spans) - 1)
    pairs = enumerate(pairwise(spans))
    return all(bool(((a[1] <= places[:, k]) & (places[:, k] < b[0])).all()) for k, (a, b) in pairs)


def _reals(text: bytes, span: Span) -> NDArray[np.float64]:
    """The words as numbers, NaN for those that are none."""
    at = np.stack(span, axis=1).ravel() - PAD
    held = [None, pa.py_buffer(at.astype(np.int32)), pa.py_buffer(text)]
    words = pa.Array.from_buffers(pa.binary(), len(at) - 1, held).take(pa.array(np.arange(0, len(at), 2)))
    try:
        made: NDArray[np.float64] = pc.cast(words.cast(pa.string()), pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        made = np.array([_real(word) for word in words.to_pylist()])
    return made


def _real(word: bytes) -> float:
    return float(word) if REAL.fullmatch(word) else math.nan
