"""Expressions over the metrics of a study: a small safe grammar that Python's parser reads and nothing ever executes.

    caches.l2.miss_ratio                     a metric: a number for each run; metric('tenants.0.misses') for odd names
    cycles['Victima']                        that of one variant
    cycles['Victima', 'capacity': '1 MiB']   and at one value of a factor, told by its name or its last words
    + - * / ** ( ) abs(x)                    value by value, aligned by what the runs have in common
    mean(x)  mean(x, 'trace')                over all factors left, or over these; geomean, median, min, max, sum
    max(x, y)                                the greater of them, value by value; min
    a < b < c                                an order; <= > >= == and !=, and `and` between them
    rises(x, 'capacity')  falls(x, ...)      an order from each value of a factor to the next
    count(a < b)                             at how many points it holds
    first(x, a < b, 'load.rate')             x at the first value of a factor at which the means are so
    crossing(x, 0.9, 'load.rate')            where x first goes through a level, between points in a straight line
    [x, y]                                   several numbers

Each value is kept seed by seed: all runs of a seed drew the same numbers, and so differences are paired. A run that no
seed reaches is exact, and stands against every seed. An order holds where the interval of the paired difference leaves
out zero, and between exact runs where they differ.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from tiersim._base.errors import Place, StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.claims.tables import (
    VARIANT,
    Key,
    Missing,
    Runs,
    Table,
    UnmeasuredError,
    Values,
    amount,
    combine,
    estimated,
    folded,
    grouped,
    in_order,
    label_of,
    stacked,
)
from tiersim.experiments.statistics import Estimate
from tiersim.experiments.yaml_tree import Node

__all__ = ["FUNCTIONS", "Evaluator", "Expression", "Fold", "Told", "parse"]

LONGEST = 2_000  # characters: more is no formula that a reader can check
T = TypeVar("T")
S = TypeVar("S")
U = TypeVar("U")


@dataclass(frozen=True)
class Told:
    """One comparison, and whether it holds, beyond chance or for the means at least.

    `difference` is positive where it leans the way that is said.
    """

    holds: bool
    means: bool
    text: str
    difference: Estimate
    at: str = ""


@dataclass(frozen=True)
class Fold:
    """Points that became one number, by ``average``, ``count`` or ``monotone``."""

    kind: str
    points: int
    factors: tuple[str, ...]


# what is written


@dataclass(frozen=True)
class Expression:
    """An expression as it stands in a study, and its syntax tree."""

    node: Node
    text: str
    tree: ast.expr

    def fault(self, at: ast.AST, message: str, remedy: str = "") -> StudyError:
        """An error that points to a part of the expression."""
        start, end = (_characters(self.text, getattr(at, name, 0) or 0) for name in ("col_offset", "end_col_offset"))
        return StudyError(message, _spot(self.node, self.text, start, max(1, end - start)), remedy)


def _characters(text: str, offset: int) -> int:
    """The parser counts bytes."""
    return len(text.encode()[:offset].decode(errors="ignore"))


def _spot(node: Node, text: str, start: int, width: int) -> Place:
    place = node.place
    found = place.text.find(text, max(place.column - 1, 0)) if place.text else -1
    if found >= 0:
        return replace(place, column=found + start + 1, width=width)
    return Place(str(Place(place.file, place.line)), 0, start + 1, text, width)  # written over several lines


REMEDY = "`tiersim explain claims` tells what an expression may be"


def parse(node: Node) -> Expression:
    """Read an expression. Raises StudyError with the place of what is wrong."""
    if isinstance(node.value, bool) or not isinstance(node.value, str | int | float) or not str(node.value).strip():
        raise StudyError("an expression is a text such as geomean(cycles['base'] / cycles['mine'])", node.place, REMEDY)
    text = node.text.strip().replace("\n", " ")
    if len(text) > LONGEST:
        raise StudyError(f"an expression has {LONGEST:,} characters at most", node.place, "make it simpler")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python would make of it
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        start = min(max((error.offset or 1) - 1, 0), len(text) - 1)
        raise StudyError(_in_words(error), _spot(node, text, start, 1), REMEDY) from None
    except ValueError:
        raise StudyError("this is no expression: it has a character that none may have", node.place, REMEDY) from None
    except (RecursionError, MemoryError):
        raise StudyError("this is nested too deeply", node.place, "make it simpler") from None
    return Expression(node, text, tree)


def _in_words(error: SyntaxError) -> str:
    """What Python says of a bracket or a quote; the rest of what it says is of Python."""
    said, _, _ = (error.msg or "").partition(" (detected")
    told = any(word in said for word in ("never closed", "unterminated", "unmatched", "does not match"))
    return f"this is no expression: {said}" if told else "this is no expression"


# comparisons


ORDERS: dict[type[ast.cmpop], tuple[str, int, bool]] = {
    ast.Lt: ("<", -1, True),
    ast.LtE: ("<=", -1, False),
    ast.Gt: (">", 1, True),
    ast.GtE: (">=", 1, False),
}


def told(left: Values, op: type[ast.cmpop], right: Values) -> Told:
    """Whether a comparison holds: beyond what chance does, where there is chance."""
    if op in ORDERS:
        sign, way, strict = ORDERS[op]
        difference = estimated(way * (left - right))
        holds, means = (end > 0 if strict else end >= 0 for end in (difference.low, difference.value))
    else:
        sign = "==" if op is ast.Eq else "!="
        difference = estimated(left - right)
        same, apart = difference.low == difference.high == 0, difference.low > 0 or difference.high < 0
        holds, means = (same, difference.value == 0) if op is ast.Eq else (apart, difference.value != 0)
    return Told(bool(holds), bool(means), f"{np.mean(left):.4g} {sign} {np.mean(right):.4g}", difference)


Tolds = tuple[Told, ...]


def _pair(op: type[ast.cmpop], left: Values, right: Values) -> Tolds:
    return (told(left, op, right),)


# what an expression gives


def _geomean(values: Values) -> Values:
    made: Values = np.exp(np.log(values).mean(axis=0))
    return made


FOLDS: dict[str, Callable[[Values], Values]] = {
    "geomean": _geomean,
    "mean": lambda values: np.asarray(values.mean(axis=0)),
    "median": lambda values: np.asarray(np.median(values, axis=0)),
    "min": lambda values: np.asarray(values.min(axis=0)),
    "max": lambda values: np.asarray(values.max(axis=0)),
    "sum": lambda values: np.asarray(values.sum(axis=0)),
}
AVERAGES = ("geomean", "mean", "median")
EACH: dict[str, Callable[[Values, Values], Values]] = {"min": np.minimum, "max": np.maximum}
FUNCTIONS = ("metric", "abs", *FOLDS, "rises", "falls", "count", "first", "crossing")
ARITHMETIC: dict[type[ast.operator], Callable[[Values, Values], Values]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
SPELLED = {ast.BitXor: "write ** for a power", ast.FloorDiv: "write / for a quotient", ast.Mod: "write 0.05 for 5 %"}


class Evaluator:
    """Evaluates the expressions of a study on its runs; `claims` are those that others may name.

    Raises StudyError where an expression makes no sense, which planned runs tell before anything runs, and
    UnmeasuredError where runs did not give what it uses. `folds` tells afterwards what was averaged and counted, and
    `used` which metrics.
    """

    def __init__(self, runs: Runs, claims: Mapping[str, Expression] | None = None) -> None:
        self.runs, self.claims = runs, claims or {}
        self.folds: list[Fold] = []
        self.used: set[str] = set()
        self.inside: list[str] = []  # claims on the way, so that none is made of itself
        self.read: list[Expression] = []

    def numbers(self, expression: Expression, claim: str = "") -> list[Values]:
        """The number that an expression gives, or those of a list; `claim` is whose it is.

        Raises StudyError where it leaves more than one.
        """
        with self._reading(expression, claim) as tree:
            return [self._single(item) for item in (tree.elts if isinstance(tree, ast.List) else [tree])]

    def truth(self, expression: Expression, claim: str = "") -> list[Told]:
        """The comparisons that an expression makes, at every point that is left."""
        with self._reading(expression, claim) as tree:
            table = self._truth(tree)
            several = len(table.cells) > 1
            return [
                replace(one, at=", ".join(filter(None, [table.where(key) if several else "", one.at])))
                for key, cell in table.cells.items()
                for one in cell
            ]

    @contextmanager
    def _reading(self, expression: Expression, claim: str) -> Iterator[ast.expr]:
        """Errors inside point into this expression."""
        self.read.append(expression)
        self.inside.append(claim)
        try:
            with np.errstate(all="ignore"):
                yield expression.tree
        except RecursionError:
            raise StudyError("this is nested too deeply", expression.node.place, "make it simpler") from None
        finally:
            self.read.pop()
            self.inside.pop()

    def _single(self, node: ast.expr) -> Values:
        table = self._numbers(node)
        if len(table.cells) != 1:
            names = [name for place, name in enumerate(table.factors) if len({key[place] for key in table.cells}) > 1]
            raise self._fault(
                node,
                f"this gives {len(table.cells)} values, over {' and '.join(names)}",
                f"choose one with ['...'] or ['{names[-1]}': '...'], or take their mean(...)",
            )
        (value,) = table.cells.values()
        return value

    def _fault(self, node: ast.AST, message: str, remedy: str = REMEDY) -> StudyError:
        return self.read[-1].fault(node, message, remedy)

    def _part(self, node: ast.expr) -> str:
        """A part of the expression as it was written."""
        return ast.get_source_segment(self.read[-1].text, node) or self.read[-1].text

    # numbers

    def _numbers(self, node: ast.expr) -> Table[Values]:
        """A table of which every value is there."""
        table = self._any(node)
        missing = next((value for value in table.cells.values() if isinstance(value, Missing)), None)
        if missing is not None:
            raise UnmeasuredError(missing.why, missing.refused)
        if any(isinstance(value, tuple) for value in table.cells.values()):
            raise self._fault(node, "a comparison is no number", "count(...) says at how many points it holds")
        return table

    def _any(self, node: ast.expr) -> Table[Any]:
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute():
                return self._metric(node, self._dotted(node))
            case ast.Subscript():
                return self._selected(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op):
                negative = isinstance(op, ast.USub)
                return self._each(node, lambda value: -value if negative else value, self._numbers(node.operand))
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Compare() | ast.BoolOp():
                return self._truth(node)
            case ast.Call():
                return self._call(node)
            case ast.List():
                raise self._fault(node, "a list stands only around a whole expression")
        raise self._fault(node, "this has no place in an expression")

    def _constant(self, node: ast.Constant) -> Table[Values]:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fault(node, "a number belongs here", "a text stands in [...] and names a factor in a function")
        if not abs(value) <= 1e300:
            raise self._fault(node, "this number is too large")
        return Table((), {(): np.array(float(value))})

    def _dotted(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value)}.{node.attr}"
        raise self._fault(node, "only a metric has a dot in its name")

    def _metric(self, node: ast.expr, name: str) -> Table[Any]:
        if self.runs.known(name):
            self.used.add(name)
            return self.runs.table(name)
        if name in self.claims:
            return self._claim(node, name)
        if name in FUNCTIONS:
            raise self._fault(node, f"{name} needs something to work on", f"write {name}(...)")
        hint = nearest(name, [*self.runs.names, *self.claims]) or "see `tiersim list metrics`"
        raise self._fault(node, f"there is no metric {name!r}; {hint}")

    def _claim(self, node: ast.expr, name: str) -> Table[Values]:
        """What another claim of the study measures."""
        if name in self.inside:
            way = " -> ".join(filter(None, [*self.inside, name]))
            raise self._fault(node, f"{name} is measured by itself: {way}")
        folds = len(self.folds)
        value, *more = self.numbers(self.claims[name], name)
        del self.folds[folds:]  # those are its own
        if more:
            raise self._fault(node, f"{name} gives several numbers", "compare with what it is made of")
        return Table((), {(): value})

    def _selected(self, node: ast.Subscript) -> Table[Any]:
        table = self._any(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        wanted: dict[str, str] = {}
        for part in parts:
            name, label = self._chosen(part, table)
            if name in wanted:
                raise self._fault(part, f"{name} is chosen twice")
            wanted[name] = label
        stay, groups = grouped(table, wanted)
        cells = {key: inner[at] for key, inner in groups.items() if (at := tuple(wanted.values())) in inner}
        if not cells:
            raise self._fault(node, f"there is no run with {', '.join(f'{a} {b}' for a, b in wanted.items())}")
        return Table(stay, cells)

    def _chosen(self, part: ast.expr, table: Table[Any]) -> tuple[str, str]:
        """The factor and the label of ``'mine'`` or ``'load.rate': '6 /s'``."""
        if isinstance(part, ast.Slice):
            if part.lower is None or part.upper is None or part.step is not None:
                raise self._fault(part, "a factor and its value belong here", "such as ['load.rate': '6 /s']")
            name, value = self._factor(part.lower, table), part.upper
        else:
            name, value = VARIANT, part
        if not isinstance(value, ast.Constant) or isinstance(value.value, bytes | complex | type(...)):
            raise self._fault(value, "a label belongs here, in quotes", "such as ['mine'] or ['load.rate': '6 /s']")
        label = label_of(value.value)
        if name not in table.factors:
            raise self._fault(part, "no variants are left here", "each is chosen once")
        place = table.factors.index(name)
        labels = list(dict.fromkeys(key[place] for key in table.cells))
        if label not in labels:
            hint = nearest(label, labels) or f"there are: {', '.join(labels[:9])}{' ...' if len(labels) > 9 else ''}"
            what = "no variant is called" if name == VARIANT else f"{name} is never"
            raise self._fault(value, f"{what} {label!r}; {hint}")
        return name, label

    def _factor(self, node: ast.expr, table: Table[Any]) -> str:
        """The factor of a text: its name, or its last words where no other ends like that."""
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            raise self._fault(node, "the name of a factor belongs here, in quotes", "such as 'load.rate'")
        said = node.value
        found = [name for name in table.factors if name == said] or [
            name for name in table.factors if name.endswith(f".{said}")
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise self._fault(node, f"{said!r} may be {' or '.join(found)}", "write more of it")
        left = f"there are: {', '.join(table.factors)}" if table.factors else "no factor is left here"
        raise self._fault(node, f"nothing varies {said!r}; {nearest(said, table.factors) or left}")

    def _arithmetic(self, node: ast.BinOp) -> Table[Values]:
        op = ARITHMETIC.get(type(node.op))
        if op is None:
            raise self._fault(node, "this has no place in an expression", SPELLED.get(type(node.op), REMEDY))
        left, right = self._numbers(node.left), self._numbers(node.right)
        return self._finite(node, self._combined(node, left, right, op))

    def _each(self, node: ast.expr, made: Callable[[Values], Values], table: Table[Values]) -> Table[Values]:
        return self._finite(node, Table(table.factors, {key: made(value) for key, value in table.cells.items()}))

    def _combined(self, node: ast.AST, left: Table[S], right: Table[T], made: Callable[[S, T], U]) -> Table[U]:
        try:
            return combine(left, right, made)
        except KeyError as error:
            message = f"the two sides have other points: only one has {error.args[0]}"
            raise self._fault(node, message, "choose the same on both sides") from None

    def _finite(self, node: ast.expr, table: Table[Values]) -> Table[Values]:
        """The table, if every value in it is a number; planned runs have none yet."""
        for key, value in () if self.runs.planned else table.cells.items():
            if not np.isfinite(value).all():
                raise UnmeasuredError(f"{self._part(node)} is no number" + (f" at {table.where(key)}" if key else ""))
        return table

    # functions

    def _call(self, node: ast.Call) -> Table[Any]:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            said = name or "this"
            hint = nearest(said, FUNCTIONS) or f"there are: {', '.join(FUNCTIONS)}"
            raise self._fault(node.func, f"there is no function {said!r}; {hint}")
        if node.keywords or any(isinstance(part, ast.Starred) for part in node.args):
            raise self._fault(node, f"{name} takes expressions and names of factors, one after the other")
        given = [part for part in node.args if not _is_text(part)]
        texts = [part for part in node.args if _is_text(part)]
        if name == "metric":
            if len(texts) != 1 or given:
                raise self._fault(node, "metric takes the name of one, in quotes", "such as metric('tenants.0.misses')")
            return self._metric(texts[0], str(ast.literal_eval(texts[0])))
        if name in FOLDS:
            return self._folded(node, name, given, texts)
        takes, factor = {"abs": (1, False), "count": (1, None), "first": (2, True), "crossing": (2, True)}.get(
            name, (1, True)
        )
        if len(given) != takes or (factor is not None and len(texts) != factor):
            raise self._fault(node, f"{name} takes {SHAPES[name]}")
        if name == "abs":
            return self._each(node, np.abs, self._numbers(given[0]))
        if name == "count":
            return self._counted(given[0], texts)
        if name == "first":
            return self._first(node, given[0], given[1], texts[0])
        if name == "crossing":
            return self._crossing(node, given[0], given[1], texts[0])
        return self._monotone(node, ast.Lt if name == "rises" else ast.Gt, given[0], texts[0])

    def _folded(self, node: ast.Call, name: str, given: list[ast.expr], texts: list[ast.expr]) -> Table[Values]:
        if name in EACH and len(given) > 1 and not texts:
            tables = [self._numbers(part) for part in given]
            return reduce(lambda left, right: self._combined(node, left, right, EACH[name]), tables)
        if len(given) != 1:
            raise self._fault(node, f"{name} takes one expression, and names of factors in quotes")
        table = self._numbers(given[0])
        names = self._names(texts, table)
        if name in AVERAGES:
            self._noted("average", table, names)
        return self._finite(node, folded(table, names, FOLDS[name]))

    def _names(self, texts: list[ast.expr], table: Table[Any]) -> list[str]:
        """The factors that texts name, all without one."""
        return list(dict.fromkeys(self._factor(part, table) for part in texts)) or list(table.factors)

    def _noted(self, kind: str, table: Table[Any], names: list[str]) -> None:
        varied = [name for name in names if len({key[table.factors.index(name)] for key in table.cells}) > 1]
        _, groups = grouped(table, names)
        self.folds += [Fold(kind, len(inner), tuple(varied)) for inner in groups.values()]

    def _counted(self, part: ast.expr, texts: list[ast.expr]) -> Table[Values]:
        table = self._truth(part)
        names = self._names(texts, table)
        self._noted("count", table, names)
        stay, groups = grouped(table, names)
        return Table(
            stay,
            {
                key: np.array(float(sum(all(one.holds for one in cell) for cell in inner.values())))
                for key, inner in groups.items()
            },
        )

    def _along(self, node: ast.expr, table: Table[T], text: ast.expr) -> tuple[str, tuple[str, ...], dict[Key, Any]]:
        """A factor, what stays without it, and for each point of that the values by label, in the factor's order."""
        name = self._factor(text, table)
        stay, groups = grouped(table, [name])
        ordered = {
            key: {label: inner[(label,)] for label in in_order(label for (label,) in inner)}
            for key, inner in groups.items()
        }
        if any(len(inner) < 2 for inner in ordered.values()):
            raise self._fault(node, f"{name} has one value here: there is no course", "sweep over several")
        return name, stay, ordered

    def _monotone(self, node: ast.Call, op: type[ast.cmpop], part: ast.expr, text: ast.expr) -> Table[Tolds]:
        name, stay, courses = self._along(node, self._numbers(part), text)
        self.folds += [Fold("monotone", len(course), (name,)) for course in courses.values()]
        return Table(
            stay,
            {
                key: tuple(
                    replace(told(course[a], op, course[b]), at=f"{name} {a} to {b}") for a, b in pairwise(course)
                )
                for key, course in courses.items()
            },
        )

    def _first(self, node: ast.Call, part: ast.expr, condition: ast.expr, text: ast.expr) -> Table[Values]:
        """Means decide which point it is, so that every seed has the same."""
        pairs = self._combined(node, self._numbers(part), self._truth(condition), lambda value, truth: (value, truth))
        name, stay, courses = self._along(node, pairs, text)
        cells = {}
        for key, course in courses.items():
            found = [value for value, truth in course.values() if all(one.means for one in truth)]
            if not found and not self.runs.planned:
                raise UnmeasuredError(f"{self._part(condition)} at no value of {name}")
            cells[key] = found[0] if found else next(iter(course.values()))[0]
        return Table(stay, cells)

    def _crossing(self, node: ast.Call, part: ast.expr, level: ast.expr, text: ast.expr) -> Table[Values]:
        less = self._combined(node, self._numbers(part), self._numbers(level), np.subtract)
        name, stay, courses = self._along(node, less, text)
        cells = {}
        for key, course in courses.items():
            places = [amount(label) for label in course]
            if None in places:
                raise self._fault(text, f"the values of {name} are no amounts", "take a factor of numbers")
            curves = stacked(list(course.values()))
            cells[key] = np.apply_along_axis(_first_zero, 0, curves, np.array(places, np.float64))
        if not self.runs.planned and any(np.isnan(value).any() for value in cells.values()):
            raise UnmeasuredError(f"{self._part(part)} does not cross the level over {name}")
        return Table(stay, cells)

    # comparisons

    def _truth(self, node: ast.expr) -> Table[Tolds]:
        match node:
            case ast.BoolOp(op=ast.And()):
                parts = [self._truth(part) for part in node.values]
                return reduce(lambda left, right: self._combined(node, left, right, tuple.__add__), parts)
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise self._fault(node, "comparisons are joined by `and` only")
            case ast.Compare():
                return self._compared(node)
            case ast.Call():
                table = self._call(node)
                if all(isinstance(value, tuple) for value in table.cells.values()):
                    return table
        raise self._fault(node, "a comparison belongs here", "such as cycles['mine'] < cycles['base']")

    def _compared(self, node: ast.Compare) -> Table[Tolds]:
        tables = [self._numbers(part) for part in (node.left, *node.comparators)]
        made: list[Table[Tolds]] = []
        for op, (left, right) in zip(node.ops, pairwise(tables)):
            if type(op) not in ORDERS and not isinstance(op, ast.Eq | ast.NotEq):
                raise self._fault(node, "only < <= > >= == and != compare")
            made.append(self._combined(node, left, right, partial(_pair, type(op))))
        return reduce(lambda left, right: self._combined(node, left, right, tuple.__add__), made)


SHAPES = {
    "abs": "one expression",
    "count": "one comparison, and names of factors in quotes",
    "rises": "an expression and the name of a factor in quotes",
    "falls": "an expression and the name of a factor in quotes",
    "first": "an expression, a comparison and the name of a factor in quotes",
    "crossing": "an expression, a level and the name of a factor in quotes",
}


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _first_zero(curve: Values, places: Values) -> float:
    """Where a curve first meets zero, not-a-number where it never does."""
    for (y, x), (next_y, next_x) in pairwise(zip(curve, places)):
        if y == 0:
            return float(x)
        if y * next_y < 0:
            return float(x + (next_x - x) * y / (y - next_y))
    return float(places[-1]) if curve[-1] == 0 else math.nan
