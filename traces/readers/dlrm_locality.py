"""Statistics of how often rows of embedding tables are asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from itertools import accumulate
from typing import Any, ClassVar, Final, NoReturn

from tiersim._base.errors import TraceError
from tiersim._base.registry import register
from tiersim.traces.readers.contract import ByteStream
from tiersim.traces.readers.requests import Line, Row, gathered, lines
from tiersim.traces.readers.text import shown
from tiersim.traces.schema import POPULARITY, Chunk

BATCHES: Final = "Locality stats after processing {} batches of size {}"
INDICES: Final = "Avg # of indices: {}"
ROWS: Final = "Avg # of unique cols: {}"
MEAN: Final = "Avg col size: {}"
BY_ROWS: Final = "Histogram of col sizes:"
BY_ACCESSES: Final = "Ratio of index distribution at different column sizes:"
CLASS: Final = re.compile(r"\(([0-9]{1,19})(?:, ([0-9]{1,19})\]|\+): ([01]\.[0-9]{3})")
NUMBER: Final = r"([0-9]{1,19}(?:\.[0-9]{1,9})?)"
MOST: Final = 1 << 10  # classes
OPEN: Final = (1 << 64) - 1
ROUNDING: Final = 0.0005000001  # of a share of three decimals, and a little for sums in binary


@register("dlrm-locality", family="reader", paper="https://github.com/facebookresearch/dlrm_datasets")
class DlrmLocality:
    """The statistics beside Meta's dlrm_datasets: in a block for each table, two histograms of its rows.

    Each class of rows, ``(above, most]`` by their number of accesses, is a record: its share of the rows that were
    asked for and its share of all accesses, both of three decimals. What a block says twice is compared: the shares add
    up to 1 and to the cumulative lists, within what rounding allows.
    """

    schema: ClassVar[str] = "popularity"

    @staticmethod
    def recognise(head: bytes, name: str) -> bool:
        """Whether the second line says that these are statistics of locality."""
        text = head.lstrip().split(b"\n", 2)
        return len(text) > 1 and text[1].startswith(BATCHES.partition("{}")[0].encode())

    def read(self, stream: ByteStream, source: str) -> Generator[Chunk, None, int]:
        """Every class of rows. Raises TraceError with block, line, byte offset and text."""
        yield from gathered(_Blocks(lines(stream, source), source).rows(), POPULARITY)
        return 0


class _Blocks:
    """The blocks of a file, line by line."""

    def __init__(self, made: Iterator[Line], source: str) -> None:
        self._lines = made
        self._source = source
        self._number = 0  # of the block, from 1
        self._where = ""
        self._line: Line | None = None

    def rows(self) -> Iterator[Row]:
        """The records of all blocks."""
        for line in self._lines:
            self._number += 1
            self._line = line
            self._where = f"block {self._number:,} ({shown(line.text.strip())})"
            yield from self._block()

    def _block(self) -> list[Row]:
        name = self._text()
        self._numbers(BATCHES)
        (accesses,), (rows,) = self._numbers(INDICES), self._numbers(ROWS)
        (mean,) = self._numbers(MEAN)
        if not rows.isdigit() or not accesses.isdigit() or not 0 < int(rows) <= int(accesses):
            self._wrong("the mean of at least one whole access to each row of a whole number of rows")
        if abs(int(accesses) / int(rows) - float(mean)) > 0.05 + 1e-9:
            self._wrong(f"{int(accesses):,} accesses over {int(rows):,} rows")
        bounds, by_rows = self._histogram(BY_ROWS)
        others, by_accesses = self._histogram(BY_ACCESSES)
        if bounds != others:
            self._wrong("the end of a histogram of the same classes as the one before")
        return [
            {
                "table": name,
                "above": above,
                "most": most,
                "rows": of_rows,
                "accesses": of_accesses,
                "all_rows": int(rows),
                "all_accesses": int(accesses),
            }
            for (above, most), of_rows, of_accesses in zip(bounds, by_rows, by_accesses, strict=True)
        ]

    def _histogram(self, title: str) -> tuple[list[tuple[int, int]], list[float]]:
        """The bounds of the classes, and the share of each."""
        self._numbers(title)
        bounds: list[tuple[int, int]] = []
        shares: list[float] = []
        while not bounds or bounds[-1][1] < OPEN:
            found = CLASS.fullmatch(self._next("'(above, most]: share' or '(above+: share'"))
            if not found or len(bounds) == MOST:
                self._wrong("'(above, most]: share' or '(above+: share', with three decimals")
            above, most = int(found[1]), int(found[2]) if found[2] else OPEN
            if above != (bounds[-1][1] if bounds else 0) or above >= most:
                self._wrong("the class after the one before")
            bounds.append((above, most))
            shares.append(float(found[3]))
        if abs(sum(shares) - 1) > ROUNDING * len(shares):
            self._wrong(f"the last of shares that add up to 1 (they add up to {sum(shares):.3f})")
        if self._list("the list of bounds") != [above for above, _ in bounds]:
            self._wrong("the list of the bounds of the classes before")
        sums = self._list("the list of sums of shares")
        right = len(sums) == len(shares) + 1 and all(
            abs(said - made) <= ROUNDING * (count + 1)
            for count, (said, made) in enumerate(zip(sums, accumulate(shares, initial=0.0)))
        )
        if not right:
            self._wrong("the list of sums of the shares before, within rounding")
        return bounds, shares

    def _numbers(self, form: str) -> tuple[str, ...]:
        """The numbers of a line of this form."""
        found = re.fullmatch(re.escape(form).replace(r"\{\}", NUMBER), self._next(repr(form.format(*"NM"))))
        if not found:
            self._wrong(repr(form.format(*"NM")))
        return found.groups()

    def _list(self, what: str) -> list[float]:
        try:
            held: Any = json.loads(self._next(what).replace("'", ""))
            return [float(number) for number in held] if isinstance(held, list) else self._wrong(what)
        except (ValueError, TypeError, OverflowError, RecursionError):
            self._wrong(what)

    def _next(self, what: str) -> str:
        line = next(self._lines, None)
        if line is None:
            assert self._line is not None
            raise TraceError(
                f"{self._source}: {self._where} breaks off after line {self._line.number:,} "
                f"(byte {self._line.offset:,}): {what} is missing",
                None,
                "fetch the file again, or cut it before this block",
            )
        self._line = line
        return self._text()

    def _text(self) -> str:
        """The line, without blanks around it."""
        assert self._line is not None
        try:
            return self._line.text.decode().strip()
        except UnicodeDecodeError:
            self._wrong("UTF-8")

    def _wrong(self, what: str) -> NoReturn:
        assert self._line is not None
        raise self._line.wrong(
            f"{what}, in {self._where}",
            "expected a name, the numbers of batches, indices and rows, and two histograms with their sums; fetch the "
            "file again, or cut it before this block",
        )
