"""Tables as LaTeX, for the package booktabs: numbers with their intervals, units in the heads, every letter escaped."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence

from tiersim.experiments.figures.words import words
from tiersim.experiments.sections import Column, Grid, Slot
from tiersim.experiments.table import LEANING

__all__ = ["escaped", "label", "to_latex", "typeset"]

SPECIAL = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "\u00a0": "~",
    "\u00b0": r"$^\circ$",
    "\u00b1": r"$\pm$",
    "\u00b5": r"$\mu$",  # of the unit
    "\u00b7": r"$\cdot$",
    "\u00d7": r"$\times$",
    "\u03bc": r"$\mu$",  # the letter
    "\u03c1": r"$\rho$",
    "\u03c3": r"$\sigma$",
    "\u03c4": r"$\tau$",
    "\u2013": "--",
    "\u2014": "---",
    "\u2019": "'",
    "\u2026": r"\dots{}",
    "\u2192": r"$\to$",
    "\u2212": "$-$",
    "\u221e": r"$\infty$",
    "\u2260": r"$\ne$",
    "\u2264": r"$\le$",
    "\u2265": r"$\ge$",
}
WIDEST = 17  # letters in a line of a head
COLUMN = 48  # letters across one column of a paper, about; wider tables take both
LONG = 40  # letters: such a text is broken into lines
ROUNDING = 1e-9  # of a value: so narrow an interval is that of sums on a computer
SMALL, LARGE = 1e-4, 1e9  # outside, a number has a power of ten


def escaped(text: str) -> str:
    """Text as LaTeX prints it, letter by letter."""
    return "".join(SPECIAL.get(char, char) for char in " ".join(text.split()))


def label(*parts: str) -> str:
    """A name to refer to."""
    return re.sub(r"[^A-Za-z0-9:]+", "-", "-".join(parts)).strip("-").replace(":-", ":")


def to_latex(grid: Grid, study: str) -> str:
    """A table as a float with a caption and the label ``tab:STUDY-NAME``."""
    numeric = [any(row[place].value is not None for row in grid.rows) for place in range(len(grid.columns))]
    cells = [[typeset(slot, column.unit) for slot, column in zip(row, grid.columns, strict=True)] for row in grid.rows]
    lengths = [
        max([*map(len, _lines(column, is_number)), *(len(_bare(row[place])) for row in cells)])
        for place, (column, is_number) in enumerate(zip(grid.columns, numeric))
    ]
    form = "".join(
        "r" if is_number else "l" if length <= LONG else r"p{0.2\linewidth}"
        for is_number, length in zip(numeric, lengths)
    )
    wide = sum(min(length, LONG) + 2 for length in lengths) > COLUMN
    name = "table*" if wide else "table"
    heads = [_head(column, is_number) for column, is_number in zip(grid.columns, numeric)]
    lines = [
        "% needs \\usepackage{booktabs}" + _engine(grid, cells),
        f"\\begin{{{name}}}[t]",
        "\\centering",
        f"\\caption{{{escaped(grid.caption)}}}",
        f"\\label{{{label('tab:', study, grid.name)}}}",
        f"\\begin{{tabular}}{{{form}}}",
        "\\toprule",
        " & ".join(heads) + r" \\",
        "\\midrule",
        *(" & ".join(row) + r" \\" for row in cells),
        "\\bottomrule",
        "\\end{tabular}",
        f"\\end{{{name}}}",
    ]
    return "\n".join(lines) + "\n"


def _engine(grid: Grid, cells: Sequence[Sequence[str]]) -> str:
    """A word where pdfLaTeX lacks a letter."""
    text = grid.caption + "".join(column.name for column in grid.columns) + "".join(map("".join, cells))
    return ", and LuaLaTeX or XeLaTeX for its letters" if any(ord(char) > 0x17F for char in escaped(text)) else ""


def _bare(cell: str) -> str:
    """A cell about as long as it is printed."""
    return re.sub(r"\\[a-z]+(\{\})?|[${}\\]", "", cell)


def _lines(column: Column, is_number: bool) -> list[str]:
    """The lines of a head: the plain name of a metric or factor, and its unit where numbers stand below."""
    dotted = re.fullmatch(r"([\w-]+(?:\.[\w-]+)+|[a-z]+(?:_[a-z]+)+)( .*)?", column.name)
    name = words(dotted[1]) + (dotted[2] or "") if dotted else column.name
    unit = "%" if column.unit == "ratio" else column.unit
    return textwrap.wrap(f"{name} ({unit})" if unit and is_number else name, WIDEST) or [""]


def _head(column: Column, is_number: bool) -> str:
    lines = [escaped(line) for line in _lines(column, is_number)]
    if len(lines) == 1:
        return lines[0]
    stacked = r" \\ ".join(lines)
    return rf"\shortstack[{'r' if is_number else 'l'}]{{{stacked}}}"


def typeset(slot: Slot, unit: str = "") -> str:
    """A cell: a number with how far its interval reaches, to both sides where it leans; ratios in per cent."""
    if slot.text.startswith("< ") and slot.value is not None:  # a bound says enough
        return f"${slot.text}$"
    if slot.value is None or not math.isfinite(slot.value):
        return escaped(slot.text)
    times = 100 if unit == "ratio" else 1
    value = slot.value * times
    low, high = (None if end is None else end * times for end in (slot.low, slot.high))
    size = abs(value) if value else max(abs(low or 0), abs(high or 0))
    if math.isfinite(size) and size and not SMALL <= size < LARGE:
        power = math.floor(math.log10(size))
        return f"${_number(value, low, high, power)} \\times 10^{{{power}}}$"
    return f"${_number(value, low, high, 0)}$"


def _number(value: float, low: float | None, high: float | None, power: int) -> str:
    """A number in this power of ten."""
    if power:
        scale = 10.0**power
        value, low, high = value / scale, low and low / scale, high and high / scale
    if low is None or high is None or math.isnan(low) or math.isnan(high) or low == high == value:
        return _plain(value)
    if not math.isfinite(high - low):
        return rf"{_plain(value)} \pm {{?}}"
    half, down, up = (high - low) / 2, value - low, high - value
    if half <= ROUNDING * abs(value):
        return _plain(value)
    digits = max(0, 1 - math.floor(math.log10(half)))
    shown = [_fixed(held, digits) for held in (value, low, high, half, down, up)]
    if min(down, up) < 0:
        return rf"{shown[0]}\ [{shown[1]}, {shown[2]}]"
    if max(down, up) > LEANING * min(down, up):
        return f"{shown[0]}_{{-{shown[4]}}}^{{+{shown[5]}}}"
    return rf"({shown[0]} \pm {shown[3]})" if power else rf"{shown[0]} \pm {shown[3]}"


def _fixed(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}".replace(",", "{,}")


def _plain(value: float) -> str:
    """A number without an interval, in four digits where it is not whole."""
    if float(value).is_integer():
        return _fixed(value, 0)
    shown = _fixed(value, max(0, 3 - math.floor(math.log10(abs(value)))))
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
