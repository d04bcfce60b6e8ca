"""The `sensitivity:` block of a study: which variants are sampled how, over which factors, and what is told of it.

Its samples are variants like any other: a what_if with some keys set on top. The sweep is not applied to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import compress
from typing import Any

from tiersim._base import units
from tiersim._base.errors import Place, StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.designs import Range
from tiersim.experiments.sensitivity.methods import FAILED, METHODS, Factor, Floats, Kind, level, sample, size
from tiersim.experiments.unfold import (
    BASE,
    Setting,
    as_written,
    check_runs,
    read_factor,
    read_list,
    read_seed,
    twice,
)
from tiersim.experiments.yaml_tree import Node, plain

__all__ = ["DEFAULT", "KEYS", "KINDS", "Point", "Sensitivity", "Varied", "read_factors", "read_sensitivity"]

KEYS = (
    *("at", "method", "samples", "seed", "second_order", "factors", "outputs", "failed"),
    *("crossover", "map", "speedups"),
)
DEFAULT = {"sobol": 64, "morris": 10, "pawn": 256, "delta": 256}  # samples where none are said
AUTO = "auto"
KINDS: tuple[Kind, ...] = ("levels", "categories")
REMEDY = "write sensitivity: {method: sobol, samples: 64, factors: {key: {range: [1, 8]}}}, or sensitivity: auto"
LISTED = "write {range: [low, high]}, {levels: [...]} where the values have an order, or {categories: [...]}"


@dataclass(frozen=True)
class Varied:
    """A factor of a study: a range, or a list of settings that have an order (levels) or none (categories)."""

    key: str
    kind: Kind
    range: Range | None
    entries: tuple[Setting, ...]
    node: Node
    only: tuple[str, ...] | None = None
    """The variants that have it, where not all do."""

    def of(self, variant: str) -> bool:
        """Whether a variant has it."""
        return self.only is None or variant in self.only

    def at(self, share: float) -> Setting:
        """What stands at a share, from 0 to 1."""
        if self.range is None:
            return self.entries[level(share, len(self.entries))]
        value = self.range.at(Fraction(share))
        place = self.node.value["range"].place
        return Setting(self.key, Node(value, place, self.node.key_place, str(value)), "the sensitivity")

    def factor(self) -> Factor:
        """As the methods know it."""
        return Factor(self.key, self.kind, len(self.entries))


@dataclass(frozen=True)
class Point:
    """A variant with some factors set, the others as it has them."""

    at: str
    settings: tuple[Setting, ...] = ()

    @property
    def name(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What tells it from others: the same after rounding is the same point."""
        return point_name(self.at, self.values)

    @property
    def values(self) -> dict[str, Any]:
        """Each key that is set with what stands there, as it would be written."""
        return {setting.key: as_written(setting.node) for setting in self.settings}


def point_name(at: str, values: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What tells a point from others."""
    return at, tuple(sorted((key, str(held)) for key, held in values.items()))


@dataclass(frozen=True)
class Sensitivity:
    """A block as read. `factors` is None until `auto` has found them, `outputs` until the metrics are known."""

    at: tuple[str, ...]
    method: str
    samples: int
    seed: int
    second_order: bool
    factors: tuple[Varied, ...] | None
    outputs: tuple[str, ...] | None
    failed: str
    crossover: bool
    map: tuple[str, ...] | bool
    speedups: tuple[Fraction, ...]
    node: Node
    notes: tuple[str, ...] = ()
    """What is to be said of how the factors were chosen."""

    @property
    def auto(self) -> bool:
        """Whether the factors are those that carry an uncertainty."""
        return bool(self.node.value["factors"].value == AUTO)

    @property
    def runs(self) -> int:
        """The samples of one variant."""
        assert self.factors is not None, "factors are known"
        return self.samples * size(self.method, len(self.factors), self.second_order)

    @cached_property
    def shares(self) -> Floats:
        """Where each sample stands in each factor."""
        known = [factor.factor() for factor in self.factors or ()]
        return sample(self.method, known, self.samples, self.seed, self.second_order)

    @cached_property
    def _settings(self) -> list[tuple[Setting, ...]]:
        columns = []
        for factor, shares in zip(self.factors or (), self.shares.T.tolist(), strict=True):
            made = {share: factor.at(share) for share in set(shares)}  # most occur several times
            columns.append([made[share] for share in shares])
        return list(zip(*columns, strict=True))

    def points(self, at: str) -> list[Point]:
        """The samples of a variant, in the order of the method."""
        had = [factor.of(at) for factor in self.factors or ()]
        if all(had):
            return [Point(at, settings) for settings in self._settings]
        return [Point(at, tuple(compress(settings, had))) for settings in self._settings]

    def resolved(self) -> dict[str, Any]:
        """The block with every default shown."""
        return {
            "at": list(self.at),
            "method": self.method,
            "samples": self.samples,
            "seed": self.seed,
            **({"second_order": self.second_order} if self.method == "sobol" else {}),
            "factors": {factor.key: plain(factor.node) for factor in self.factors or ()},
            "outputs": list(self.outputs or ()),
            "failed": self.failed,
            "crossover": self.crossover,
            "map": list(self.map) if isinstance(self.map, tuple) else self.map,
            "speedups": [units.show(int(share * 10**9), "ratio") for share in self.speedups],
        }

    def place(self, key: str) -> Place:
        """Where a key of the block stands, or the block."""
        held = self.node.value.get(key) if isinstance(self.node.value, dict) else None
        return held.place if held is not None else self.node.place

    def output_place(self, at: int) -> Place:
        """Where an output is named."""
        said = self.node.value.get("outputs") if isinstance(self.node.value, dict) else None
        return said.value[at].place if said is not None and isinstance(said.value, list) else self.place("outputs")


def read_sensitivity(
    node: Node, what_ifs: Mapping[str, Sequence[Setting]], swept: Mapping[str, Setting], seeds: int
) -> Sensitivity:
    """Read the block. `what_ifs` are the settings of each label, `swept` those of the sweep by key.

    Raises StudyError with the place of what is wrong.
    """
    used = node if node.value == AUTO else node.value.get("use") if isinstance(node.value, dict) else None
    if used is not None and used.value == AUTO:  # `--set sensitivity.samples=20` makes a mapping of the name
        rest = {key: held for key, held in node.items() if key != "use"}
        node = Node({"factors": Node(AUTO, used.place, used.key_place, AUTO)} | rest, node.place, node.key_place)
    if not isinstance(node.value, dict) or not node.value:
        raise StudyError("`sensitivity` says which factors are varied", node.place, REMEDY)
    for key, held in node.items():
        if key not in KEYS:
            hint = nearest(key, KEYS) or f"known here: {', '.join(KEYS)}"
            raise StudyError(f"unknown key {key!r}; {hint}", held.key_place or held.place, REMEDY)
    said = {key: held for key, held in node.items() if held.value is not None or not held.text}  # null takes back
    if "factors" not in said:
        raise StudyError("a sensitivity misses `factors`", node.place, REMEDY)
    auto = said["factors"].value == AUTO
    method = _one_of(said.get("method"), METHODS, "method", "morris" if auto else "sobol")
    samples = _count(said.get("samples"), DEFAULT[method])
    if "second_order" in said and method != "sobol":
        remedy = f"leave it out: {method} has no second order"
        raise StudyError("`second_order` is of the method sobol", said["second_order"].key_place, remedy)
    at = _at(said.get("at"), list(what_ifs), auto)
    taken = {setting.key: setting for label in reversed(at) for setting in what_ifs[label]} | dict(swept)
    factors = None if auto else read_factors(said["factors"], taken)
    spec = Sensitivity(
        at,
        method,
        samples,
        0 if "seed" not in said else read_seed(said["seed"]),
        _bool(said.get("second_order"), "second_order", True),
        factors,
        _outputs(said.get("outputs")),
        _one_of(said.get("failed"), FAILED, "handling of failed samples", "refuse"),
        _bool(said.get("crossover"), "crossover", len(at) > 1),
        False,
        _speedups(said.get("speedups")),
        node,
    )
    if spec.crossover and len(at) < 2:
        raise StudyError(
            "a crossover is between variants, and this samples one", spec.place("crossover"), "write `at: all`"
        )
    spec = replace(spec, map=_map(said.get("map"), spec))
    if factors is not None:
        check_runs(said.get("samples", node), spec.runs * len(at) * seeds)
    return spec


def read_factors(node: Node, taken: Mapping[str, Setting]) -> tuple[Varied, ...]:
    """The factors of a mapping. `taken` are the settings by key that no factor may set again."""
    if not isinstance(node.value, dict) or not node.value:
        raise StudyError("a sensitivity without factors", node.place, "write factors: {key: {range: [1, 8]}}, or auto")
    out = []
    for key, held in node.items():
        varied = _varied(key, held)
        if key in taken:
            raise twice(Setting(key, held, "the sensitivity"), taken[key])
        out.append(varied)
    return tuple(out)


def _varied(key: str, node: Node) -> Varied:
    inside = node.value
    if isinstance(inside, dict) and (kinds := [kind for kind in KINDS if kind in inside]):
        for word, held in node.items():
            if word not in kinds[:1]:
                raise StudyError(f"unknown key {word!r} beside {kinds[0]}", held.key_place or held.place, LISTED)
        kind, listed = kinds[0], inside[kinds[0]]
    elif isinstance(inside, dict) and inside:
        if "range" not in inside:
            word, held = next(iter(inside.items()))
            hint = nearest(word, ["range", *KINDS]) or "known here: range, levels, categories"
            raise StudyError(f"unknown key {word!r}; {hint}", held.key_place or held.place, LISTED)
        made = read_factor(key, node)
        assert isinstance(made, Range), "it has a range"
        return Varied(key, "range", made, (), node)
    else:
        kind, listed = "levels", node
    listed = Node(listed.value, listed.place, node.key_place or listed.key_place, listed.text)
    entries = [Setting(key, one.node, "the sensitivity") for one in read_list(key, listed)]
    if len(entries) < 2:
        raise StudyError(f"{key} cannot vary: it has one value", listed.place, "list two or more values")
    return Varied(key, kind, None, tuple(entries), node)


def _one_of(node: Node | None, known: Sequence[str], what: str, default: str) -> str:
    if node is None:
        return default
    if node.value not in known:
        hint = nearest(node.text, known) or f"there are: {', '.join(known)}"
        raise StudyError(f"no {what} is called {node.text!r}; {hint}", node.place, f"write one of: {', '.join(known)}")
    return str(node.value)


def _count(node: Node | None, default: int) -> int:
    if node is None:
        return default
    remedy = "write how many, such as 64"
    try:
        count = units.parse(node.value, "count").amount
    except StudyError as error:
        raise StudyError(error.message, node.place, remedy) from None
    if count < 2:
        raise StudyError("`samples` is how many: 2 or more", node.place, remedy)
    check_runs(node, count)
    return count


def _bool(node: Node | None, key: str, default: bool) -> bool:
    if node is None:
        return default
    if not isinstance(node.value, bool):
        raise StudyError(f"`{key}` is true or false, not {node.text!r}", node.place)
    return node.value


def _at(node: Node | None, labels: list[str], auto: bool) -> tuple[str, ...]:
    """The labels that are sampled."""
    if node is None:
        return tuple(labels) if auto else (BASE,)
    if node.value == "all" and "all" not in labels:
        return tuple(labels)
    listed = node.value if isinstance(node.value, list) else [node]
    if not listed:
        raise StudyError("`at` names no variant", node.place, "write base, all, or a list of labels of what_if")
    out = []
    for item in listed:
        name = item.text if not isinstance(item.value, dict | list) else ""
        if name not in labels:
            hint = nearest(name, labels) or f"there are: {', '.join(labels)}"
            raise StudyError(f"no variant is called {name!r}; {hint}", item.place, "`at: all` takes them all")
        if name in out:
            raise StudyError(f"`at` names {name} twice", item.place, "leave one of them out")
        out.append(name)
    return tuple(out)


def _outputs(node: Node | None) -> tuple[str, ...] | None:
    if node is None:
        return None
    listed = node.value if isinstance(node.value, list) else [node]
    names = [item.value for item in listed]
    for item, name in zip(listed, names, strict=True):
        if not isinstance(name, str):
            raise StudyError("an output is the name of a metric", item.place, "see `tiersim list metrics`")
        if names.count(name) > 1:
            raise StudyError(f"the output {name} is named twice", item.place, "leave one of them out")
    if not names:
        raise StudyError("`outputs` names no metric", node.place, "leave it out, or see `tiersim list metrics`")
    return tuple(names)


def _map(node: Node | None, spec: Sensitivity) -> tuple[str, ...] | bool:
    """The two keys of a map, whether there is one of those that matter most."""
    if node is None or node.value is False:
        return False
    remedy = "write two factors, map: [key, key], or `map: true` for those that matter most"
    if len(spec.at) < 2:
        raise StudyError("a map shows which variant wins, and this samples one", node.place, "write `at: all`")
    known = [factor.key for factor in spec.factors or ()]
    if node.value is True:
        if len(known) == 1:
            raise StudyError("a map has two factors, and this varies one", node.place, "leave it out")
        return True
    if not isinstance(node.value, list) or len(node.value) != 2:
        raise StudyError("a map has two factors", node.place, remedy)
    for item in node.value:
        if spec.factors is not None and item.value not in known:
            hint = nearest(item.text, known) or f"there are: {', '.join(known)}"
            raise StudyError(f"no factor is called {item.text!r}; {hint}", item.place, remedy)
    first, second = (item.text for item in node.value)
    if first == second:
        raise StudyError("a map has two different factors", node.value[1].place, remedy)
    return first, second


def _speedups(node: Node | None) -> tuple[Fraction, ...]:
    if node is None:
        return ()
    listed = node.value if isinstance(node.value, list) else [node]
    if not listed:
        raise StudyError("`speedups` says how much faster", node.place, "write speedups: [10 %, 20 %]")
    out = []
    for item in listed:
        try:
            share = Fraction(units.parse(item.value, "ratio").amount, 10**9)
        except StudyError as error:
            raise StudyError(error.message, item.place, "write how much faster, such as 10 %") from None
        if isinstance(item.value, int | float) and share >= 1:
            raise StudyError(
                f"a speed-up of {item.text} is {float(100 * share):g} %", item.place, f"write {item.text} %"
            )
        if not 0 < share <= 100:
            raise StudyError(f"a speed-up of {item.text} is none", item.place, "write how much faster, such as 10 %")
        if share in out:
            raise StudyError(f"{item.text} faster is listed twice", item.place, "leave one of them out")
        out.append(share)
    return tuple(sorted(out))
