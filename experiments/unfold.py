"""What a study unfolds into: the variants of `what_if` at the points of a `sweep`, with the seeds of `repeat`.

It knows no scenario: a setting is a dotted key with what is set there, and who sets it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from tiersim._base import units
from tiersim._base.errors import Place, StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.designs import MOST_SOBOL, NAMES, Range, read_range, shares
from tiersim.experiments.yaml_tree import Node, put

__all__ = [
    "BASE",
    "RESERVED",
    "Setting",
    "Unfolded",
    "Variant",
    "applied",
    "as_written",
    "body_of",
    "check_runs",
    "checked",
    "drawn_by",
    "read_factor",
    "read_list",
    "read_seed",
    "read_seeds",
    "read_what_ifs",
    "short_names",
    "tidied",
    "twice",
    "unfold",
]

RESERVED = ("study", "scenario", "extends", "what_if", "sweep", "sensitivity", "repeat", "seed", "report", "claims")
BASE = "base"
SEEDS = 2**64  # the random streams count in 64 bits
MOST = 1_000_000  # runs: more than these are a slip of the pen
DESIGN_KEYS = ("design", "points", "seed", "factors")


@dataclass
class Variant:
    """One point of a study: the scenario's tree with all overrides in place; `factors` holds what varies.

    `values` tells the point of a design, whose label is only its number; empty for others.
    """

    label: str
    factors: dict[str, Any]
    seed: int
    tree: Node
    values: str = ""


@dataclass(frozen=True)
class Setting:
    """One dotted key to set, and who sets it."""

    key: str
    node: Node
    who: str

    @property
    def place(self) -> Place:
        return self.node.key_place or self.node.place


@dataclass(frozen=True)
class _Point:
    """What a sweep sets for one run; a point of a design has a label of its own."""

    settings: list[Setting]
    label: str = ""


def tidied(tree: Node) -> Node:
    """The tree with the keys under each what_if written with dots, so that two ways to write a key are one."""
    said = tree.value.get("what_if")
    if said is None or not isinstance(said.value, dict):
        return tree
    labels = {label: _dotted(changes, f"the what_if {label!r}") for label, changes in said.items()}
    return Node({**tree.value, "what_if": replace(said, value=labels)}, tree.place, tree.key_place)


def _dotted(changes: Node, who: str) -> Node:
    if not isinstance(changes.value, dict):
        return changes
    found: dict[str, Setting] = {}
    for setting in _flat(changes, "", who):
        if setting.key in found:
            raise twice(setting, found[setting.key])
        found[setting.key] = setting
    return replace(changes, value={key: setting.node for key, setting in found.items()})


def _flat(node: Node, above: str, who: str) -> Iterable[Setting]:
    """The settings in a mapping; what names something with `use` is one value."""
    for key, held in node.items():
        if isinstance(held.value, dict) and held.value and "use" not in held.value:
            yield from _flat(held, f"{above}{key}.", who)
        else:
            yield Setting(f"{above}{key}", held, who)


def twice(setting: Setting, other: Setting) -> StudyError:
    where = f"{setting.who} here and {other.who} at {other.place}"
    drawing = f"\n{other.place.drawing()}" if other.place.drawing() else ""
    remedy = f"set it in one place only; the other is {other.place}{drawing}"
    return StudyError(f"{setting.key} is set twice: by {where}", setting.place, remedy)


@dataclass(frozen=True)
class Unfolded:
    """All variants, the settings of each what_if, those of the sweep's first point by key, and what is said of them."""

    variants: list[Variant]
    what_ifs: dict[str, list[Setting]]
    swept: dict[str, Setting]
    notes: list[str]


def body_of(tree: Node) -> Node:
    """The keys of the scenario."""
    return Node({key: held for key, held in tree.items() if key not in RESERVED}, tree.place, tree.key_place)


def unfold(tree: Node, what_if: Node | None, sweep: Node | None, seeds: list[int]) -> Unfolded:
    """What a study unfolds into."""
    body = body_of(tree)
    what_ifs = read_what_ifs(what_if)
    points, notes = _points(sweep, len(what_ifs) * len(seeds))
    swept = {setting.key: setting for setting in points[0].settings}
    for setting in itertools.chain(*what_ifs.values()):
        if setting.key in swept:
            raise twice(swept[setting.key], setting)
    short = short_names(list(swept))
    variants = []
    for label, changes in what_ifs.items():
        for point in points:
            factors: dict[str, Any] = {"what_if": label} if len(what_ifs) > 1 else {}
            factors |= {setting.key: as_written(setting.node) for setting in point.settings}
            values = [f"{short[setting.key]} {factors[setting.key]}" for setting in point.settings]
            shown = [point.label] if point.label else values
            full = ", ".join([label, *shown] if len(what_ifs) > 1 or not shown else shown)
            made = applied(body, [*changes, *point.settings])
            for seed in seeds:  # the same for all: what differs between two variants is not their luck
                seeded = {"seed": seed} if len(seeds) > 1 else {}
                told = ", ".join(values) if point.label else ""
                variants.append(Variant(full, factors | seeded, seed, made, told))
    return Unfolded(variants, what_ifs, swept, notes)


def applied(tree: Node, settings: Sequence[Setting]) -> Node:
    """The tree with keys set, parents before what is inside them."""
    paths = [(setting.key.split("."), setting.node) for setting in settings]
    for path, node in sorted(paths, key=lambda pair: len(pair[0])):
        tree = put(tree, path, node)
    return tree


def checked(setting: Setting) -> Setting:
    steps = setting.key.split(".")
    if not all(steps):
        raise StudyError(f"{setting.key!r} is no dotted key", setting.place, "write it like system.memory.latency")
    if steps[0] in RESERVED:
        remedy = "use `repeat: {seeds: 5}`" if steps[0] == "seed" else "what varies is a key of the scenario"
        raise StudyError(f"{steps[0]!r} is of the study itself and cannot vary", setting.place, remedy)
    return setting


def read_what_ifs(node: Node | None) -> dict[str, list[Setting]]:
    out: dict[str, list[Setting]] = {BASE: []}
    if node is None:
        return out
    if not isinstance(node.value, dict) or not node.value:
        raise StudyError(
            "a what_if without variants", node.place, "write a label and what it changes: `twice the L2: {key: value}`"
        )
    for label, changes in node.items():
        if label == BASE or not label.strip():
            wrong = f"the label {BASE!r} is the study without changes" if label == BASE else "a label is empty"
            raise StudyError(wrong, changes.key_place or changes.place, "take another label")
        if not isinstance(changes.value, dict) or not changes.value:
            raise StudyError(f"the what_if {label!r} changes nothing", changes.place, "write {key: value} behind it")
        out[label] = [checked(Setting(key, held, f"the what_if {label!r}")) for key, held in changes.items()]
    return out


def _points(node: Node | None, times: int) -> tuple[list[_Point], list[str]]:
    """The points of a sweep: a product, the last key fastest, with `zip` and `list` as one axis each; or a design's.

    `times` is how often each will run. The texts tell of a design.
    """
    if node is None:
        return [_Point([])], []
    if not isinstance(node.value, dict) or not node.value:
        raise StudyError("a sweep without values", node.place, "write {key: [value, value]}")
    if "design" in node.value:
        return _designed(node, times)
    axes: list[list[list[Setting]]] = []
    seen: dict[str, Setting] = {}
    for key, held in node.items():
        rows = _rows(key, held)
        for setting in rows[0]:
            if setting.key in seen:
                raise twice(setting, seen[setting.key])
            seen[setting.key] = setting
        axes.append(rows)
    check_runs(node, math.prod(map(len, axes)) * times)
    return [_Point(list(itertools.chain(*parts))) for parts in itertools.product(*axes)], []


def check_runs(node: Node, runs: int) -> None:
    if runs > MOST:
        raise StudyError(f"this study asks for {runs:,} runs", node.place, f"{MOST:,} are the most that one can have")


def _rows(key: str, node: Node) -> list[list[Setting]]:
    """What one key of a sweep sets, one time after the other."""
    if key == "list":
        return _listed_points(node)
    columns = _zipped(node) if key == "zip" else [read_list(key, node)]
    return [list(row) for row in zip(*columns, strict=True)]


def _listed_points(node: Node) -> list[list[Setting]]:
    remedy = "write list: [{key: value, key: value}, {key: value, key: value}]"
    if not isinstance(node.value, list) or not node.value:
        raise StudyError("a list without points", node.place, remedy)
    rows: list[list[Setting]] = []
    seen: list[dict[str, str]] = []
    for point in node.value:
        if not isinstance(point.value, dict) or not point.value:
            raise StudyError("a point of a list sets keys to values", point.place, remedy)
        first = node.value[0].value
        for key, held in point.items():
            if key not in first:
                raise StudyError(f"{key} is not in the first point", held.key_place or held.place, "all set the same")
            if held.value is None and not held.text:
                raise StudyError(f"{key} misses a value", held.place, "write null for none")
        if missing := [key for key in first if key not in point.value]:
            raise StudyError(
                f"this point does not set {missing[0]}, as the first does", point.place, "all set the same"
            )
        values = {key: str(as_written(held)) for key, held in point.items()}
        if values in seen:
            raise StudyError("this point is listed twice", point.place, "leave one of them out")
        seen.append(values)
        rows.append([checked(Setting(key, point.value[key], "the sweep")) for key in first])
    return rows


def _designed(node: Node, times: int) -> tuple[list[_Point], list[str]]:
    """The points of a design that differ: some may be the same after rounding."""
    design, count, seed, factors = _design(node)
    check_runs(node, count * times)
    categories = {key: isinstance(factor, list) for key, factor in factors.items()}
    columns = [
        _column(key, held, factors[key], part)
        for (key, held), part in zip(
            node.value["factors"].items(), shares(design, categories, count, seed), strict=True
        )
    ]
    rows: dict[tuple[str, ...], _Point] = {}
    for number, row in enumerate(zip(*columns, strict=True), 1):
        rows.setdefault(tuple(str(as_written(setting.node)) for setting in row), _Point(list(row), f"point {number}"))
    same = count - len(rows)
    fewer = f"; rounded, {same} of them {'is' if same == 1 else 'are'} like others: {len(rows)} run" if same else ""
    what = "factor" if len(factors) == 1 else "factors"
    return list(rows.values()), [f"{design} design: {count:,} points in {len(factors)} {what}{fewer}"]


def _column(key: str, node: Node, factor: Range | list[Setting], parts: list[Fraction]) -> list[Setting]:
    """The settings of one factor at these shares of it."""
    if isinstance(factor, list):
        return [factor[math.floor(part * len(factor))] for part in parts]
    place = node.value["range"].place
    values = [factor.at(part) for part in parts]
    return [Setting(key, Node(value, place, node.key_place, str(value)), "the sweep") for value in values]


def drawn_by(sweep: Node | None) -> dict[str, str | list[Any]]:
    """The scale of each factor that a design draws from a range, and the list of each that it draws from one."""
    if sweep is None or "design" not in sweep.value:
        return {}
    factors = _design(sweep)[-1]
    return {
        key: [as_written(setting.node) for setting in held]
        if isinstance(held, list)
        else "log"
        if held.log
        else "linear"
        for key, held in factors.items()
    }


def _design(node: Node) -> tuple[str, int, int | None, dict[str, Range | list[Setting]]]:
    """What a design says: its name, how many points, its seed, and what each factor may be."""
    known, remedy = ", ".join(DESIGN_KEYS), "write sweep: {design: sobol, points: 64, factors: {key: {range: [1, 8]}}}"
    for key, held in node.items():
        if key not in DESIGN_KEYS:
            hint = nearest(key, DESIGN_KEYS) or f"known here: {known}; what varies stands under factors"
            raise StudyError(f"unknown key {key!r}; {hint}", held.key_place or held.place, remedy)
    for key in ("points", "factors"):
        if key not in node.value:
            raise StudyError(f"a design misses `{key}`", node.place, remedy)
    said, points, seed = node.value["design"], node.value["points"], node.value.get("seed")
    if said.value not in NAMES:
        hint = nearest(said.text, NAMES) or f"there are: {', '.join(NAMES)}"
        raise StudyError(f"no design is called {said.text!r}; {hint}", said.place, remedy)
    try:
        count = units.parse(points.value, "count").amount
    except StudyError as error:
        raise StudyError(error.message, points.place, "write how many points, such as 64") from None
    if count < 1:
        raise StudyError("a design has 1 point or more", points.place, "write how many points, such as 64")
    held = node.value["factors"]
    if not isinstance(held.value, dict) or not held.value:
        raise StudyError("a design without factors", held.place, "write factors: {key: {range: [1, 8]}}")
    factors = {key: read_factor(key, inside) for key, inside in held.items()}
    if said.value == "sobol" and len(factors) > MOST_SOBOL:
        message = f"a Sobol sequence has {MOST_SOBOL} factors at most, and these are {len(factors)}"
        raise StudyError(message, held.place, "take design: latin-hypercube")
    return said.value, count, None if seed is None else read_seed(seed), factors


def read_factor(key: str, node: Node) -> Range | list[Setting]:
    if isinstance(node.value, dict) and node.value:
        checked(Setting(key, node, "the sweep"))
        return read_range(key, node)
    return read_list(key, node)


def _zipped(node: Node) -> list[list[Setting]]:
    if not isinstance(node.value, dict) or not node.value:
        raise StudyError("a zip without values", node.place, "write zip: {key: [value, value], key: [value, value]}")
    columns = [read_list(key, held) for key, held in node.items()]
    first = next(iter(node.value))
    for (key, held), column in zip(node.items(), columns, strict=True):
        if len(column) != len(columns[0]):
            raise StudyError(
                f"a zip goes in step, and {key} has {len(column)} where {first} has {len(columns[0])} values",
                held.place,
                f"give all lists the same length; {first} stands at {node.value[first].place}",
            )
    return columns


def read_list(key: str, node: Node) -> list[Setting]:
    if node.value is None or node.value in ([], {}):
        raise StudyError(f"a sweep without values: {key}", node.place, f"write {key}: [value, value]")
    if isinstance(node.value, dict) and "range" in node.value:
        remedy = f"list the values, or draw from it: sweep: {{design: sobol, points: 64, factors: {{{key}: ...}}}}"
        raise StudyError(f"a range needs a design: {key}", node.place, remedy)
    if isinstance(node.value, dict):
        remedy = f"list the values, {key}: [value, value]; a key inside it is written {key}.{next(iter(node.value))}"
        raise StudyError(f"{key} must have a list of values", node.place, remedy)
    if not isinstance(node.value, list):
        raise StudyError(f"{key} must have a list of values", node.place, f"write {key}: [{node.text}]")
    seen: set[str] = set()
    for held in node.value:
        if held.value is None and not held.text:
            raise StudyError(f"{key} misses a value", held.place, "leave the empty item out, or write null for none")
        if held.text and held.text in seen:
            raise StudyError(f"{key} has the value {held.text} twice", held.place, "leave one of them out")
        seen.add(held.text)
    # an error of a value points to the value, and one of the key to the key
    return [checked(Setting(key, replace(held, key_place=node.key_place), "the sweep")) for held in node.value]


def short_names(keys: list[str]) -> dict[str, str]:
    """Each key by its last words, as few as tell it from the others."""
    out = {}
    for key in keys:
        steps = key.split(".")
        ends = (".".join(steps[-length:]) for length in range(1, len(steps) + 1))
        out[key] = next(
            end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1 or end == key
        )
    return out


def as_written(node: Node) -> Any:
    """A swept value as it was written; a mapping by what it uses."""
    if isinstance(node.value, dict):
        inside = ", ".join(f"{key}: {as_written(held)}" for key, held in node.items() if key != "use")
        use = str(node.value["use"].value) if "use" in node.value else ""
        return f"{use} ({inside})" if use and inside else use or f"{{{inside}}}"
    if isinstance(node.value, list):
        return f"[{', '.join(str(as_written(held)) for held in node.value)}]"
    return node.value if isinstance(node.value, str | int | float | None) else node.text


def read_seeds(repeat: Node | None, seed: Node | None) -> list[int]:
    root = 0 if seed is None else read_seed(seed)
    if repeat is None:
        return [root]
    if not isinstance(repeat.value, dict) or not repeat.value:
        raise StudyError("`repeat` says how often", repeat.place, "write repeat: {seeds: 5}")
    for key, held in repeat.items():
        if key != "seeds":
            hint = nearest(key, ["seeds"]) or "known here: seeds"
            raise StudyError(f"unknown key {key!r}; {hint}", held.key_place or held.place, "write repeat: {seeds: 5}")
    said = repeat.value["seeds"]
    if isinstance(said.value, list):
        return _listed(said, seed)
    try:
        count = units.parse(said.value, "count").amount
    except StudyError as error:
        raise StudyError(error.message, said.place, "write how many seeds, or list them: [1, 2, 3]") from None
    if not 1 <= count <= min(MOST, SEEDS - root):
        raise StudyError(f"`seeds` is how many: 1 to {MOST:,}", said.place, "or a list of seeds: [1, 2, 3]")
    return list(range(root, root + count))


def _listed(node: Node, seed: Node | None) -> list[int]:
    if not node.value:
        raise StudyError("a list of seeds without seeds", node.place, "write how many seeds, or list them: [1, 2, 3]")
    if seed is not None:
        raise StudyError(
            f"both `seed`, at {seed.place}, and a list of seeds: which counts?", node.place, "leave one of them out"
        )
    seeds = [read_seed(item) for item in node.value]
    for item, value in zip(node.value, seeds, strict=True):
        if seeds.count(value) > 1:
            raise StudyError(f"the seed {value} is listed twice", item.place, "leave one of them out")
    return seeds


def read_seed(node: Node) -> int:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SEEDS:
        raise StudyError("a seed is a whole number from 0 to 2^64 - 1", node.place)
    return value
