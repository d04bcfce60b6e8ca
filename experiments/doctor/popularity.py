"""Statistics of how often rows of tables are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import Curve, Info, Panel, percent, whole
from tiersim.experiments.doctor.tally import Tally
from tiersim.traces.schema import Chunk

__all__ = ["PopularityInfo", "Table", "fingerprint", "traps"]

UNBOUNDED: Final = (1 << 64) - 1
ROUNDED: Final = 0.02  # by which shares of three decimals may miss their sum: half a thousandth for each of some 20
DRAWN: Final = 4  # tables
NAMED: Final = 3


@dataclass
class Table:
    """One table: rows and accesses, and its coverage.

    ``coverage`` has, from the class of the most popular rows on, the share of rows so far and the share of accesses
    that they have.
    """

    table: str
    classes: int
    rows: int
    accesses: int
    coverage: list[list[float]]


@dataclass(kw_only=True)
class PopularityInfo(Info):
    """The fingerprint of statistics of popularity."""

    tables: list[Table]

    def rows(self) -> list[tuple[str, str]]:
        """What a person reads."""
        out = [("tables", f"{len(self.tables):,}")]
        for one in self.tables:
            half = next((point for point in one.coverage if point[1] >= 0.5), None)
            told = "" if half is None else f"; {percent(half[0])} of the rows have {percent(half[1])} of the accesses"
            out.append((one.table, f"{one.rows:,} rows, {one.accesses:,} accesses in {one.classes:,} classes{told}"))
        return out


def fingerprint(chunks: Iterator[Chunk], tally: Tally) -> PopularityInfo:
    """Tables, and how many accesses their most popular rows have."""
    held = whole(chunks)
    made = []
    for name, rows in _tables(held):
        order = rows[np.argsort(held["above"][rows], kind="stable")[::-1]]
        shares = np.cumsum(np.stack([held["rows"][order], held["accesses"][order]], axis=1), axis=0)
        accesses, all_rows = int(held["all_accesses"][rows[0]]), int(held["all_rows"][rows[0]])
        made.append(Table(name, len(rows), all_rows, accesses, shares.tolist()))
    curves = []
    for one in made[:DRAWN]:
        points = np.array([[0.0, 0.0], *one.coverage])
        curves.append(Curve(100 * points[:, 0], 100 * points[:, 1], one.table))
    panel = Panel("rows, most popular first (%)", "accesses (%)", tuple(curves), full=100)
    return PopularityInfo(**tally.about(), tables=made, panels=[panel])


def _tables(held: Chunk) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Each table by its name, in order of appearance, with its records."""
    names = np.array(held["table"].strings, object)
    for name in dict.fromkeys(names.tolist()):
        yield name, np.flatnonzero(names == name)


def traps(chunks: Iterator[Chunk], tally: Tally) -> Iterator[str]:
    """Classes that overlap or leave gaps, shares that do not add up, totals that change, means outside their class."""
    held = whole(chunks)
    found: dict[str, list[str]] = {}
    for name, rows in _tables(held):
        for what in _wrong({column: held[column][rows] for column in held if column != "table"}):
            found.setdefault(what, []).append(name)
    tables = len(set(held["table"].strings))
    for what, names in found.items():
        more = ", ..." if len(names) > NAMED else ""
        yield f"{len(names):,} of {tables:,} tables ({', '.join(names[:NAMED])}{more}) {what}"


def _wrong(held: dict[str, Any]) -> Iterator[str]:
    order = np.argsort(held["above"], kind="stable")
    above, most = held["above"][order], held["most"][order]
    if (above >= most).any() or (above[1:] < most[:-1]).any():
        yield "have classes that overlap: rows would count twice; check that the classes are of one table"
    elif (above[1:] != most[:-1]).any() or above[0] != 0:
        yield "leave out numbers of accesses between their classes: rows are missing; compare with the source"
    for name in ("rows", "accesses"):
        if abs(float(held[name].sum()) - 1) > ROUNDED:
            yield f"have shares of {name} that do not add up to 1: classes are missing, or these are no shares"
    if any(held[name].min() != held[name].max() for name in ("all_rows", "all_accesses")):
        yield "have totals that differ from class to class: two tables have one name; name them apart"
    elif int(held["all_accesses"][0]) < int(held["all_rows"][0]):
        yield "have fewer accesses than rows that were asked for: the totals are mixed up"
