"""What an analysis adds to a report: tables with intervals and figures, under a heading.

A report shows them, a folder for papers holds their tables as files, and the terminal prints the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Column", "Drawing", "Grid", "Section", "Slot"]


@dataclass(frozen=True)
class Column:
    """A column of a grid. `unit` is one of a metric's, empty for names."""

    name: str
    unit: str = ""
    doc: str = ""


@dataclass(frozen=True)
class Slot:
    """One cell: what is read, the number that orders it and its interval, where it has them."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table; `name` is that of its files, and each row has as many slots as there are columns."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Slot, ...], ...]


@dataclass(frozen=True)
class Drawing:
    """A figure; `draw` makes it anew at each call, in the style of the figures of a study."""

    name: str
    caption: str
    draw: Callable[[], Figure] = field(compare=False)


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it: sentences, tables, figures."""

    title: str
    text: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    drawings: tuple[Drawing, ...] = field(default=())
