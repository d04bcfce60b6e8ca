"""Uncertainties of presets and defaults: each is read, holds its value, and can be run."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiersim
from tests.experiments.expert_studies import STUDY as EXPERTS
from tiersim._base import units
from tiersim._base.errors import UnitError
from tiersim._base.params import Param, default, params
from tiersim._base.registry import load, validate
from tiersim.experiments import presets
from tiersim.experiments.catalogue import explain
from tiersim.experiments.designs import read_range
from tiersim.experiments.presets import Preset, Value
from tiersim.experiments.sensitivity.auto import auto_factors, read_uncertainty, without_range
from tiersim.experiments.study import read_study
from tiersim.experiments.yaml_tree import from_data, plain
from tiersim.models.caches import System
from tiersim.models.dram import Dram
from tiersim.models.gpu import Gpu
from tiersim.models.links.nic import Nic
from tiersim.models.links.nvlink import Nvlink
from tiersim.models.links.pcie import Pcie
from tiersim.models.node import Hardware, Node
from tiersim.models.ssd import Drive, Ssd
from tiersim.models.translation import PagedSystem
from tiersim.sim.queued.clock import Clock

KINDS: dict[str, Any] = {
    "system": System, "pagedsystem": PagedSystem, "dram": Dram, "gpu": Gpu, "node": Node, "nic": Nic, "nvlink": Nvlink,
    "pcie": Pcie, "ssd": Ssd,
}  # fmt: skip
UNCERTAIN = [
    (preset, value)
    for path in sorted(presets.FOLDER.glob("*.yaml"))
    for preset in [presets.find(path.stem)]
    for value in preset.values
    if value.uncertainty
]
IDS = [f"{preset.name} {value.key}" for preset, value in UNCERTAIN]


def amounts(*written: Any) -> list[Fraction]:
    """Quantities of one dimension in base units, or plain numbers."""
    for dimension in units.DIMENSIONS if any(isinstance(one, str) for one in written) else ():
        try:
            return [Fraction(units.parse(one, dimension).amount) for one in written]
        except UnitError:
            continue
    return [Fraction(str(one)) for one in written]


def holds(said: dict[str, Any], value: Any) -> bool:
    *entries, number = amounts(*next(iter(said.values())), value)
    return number in entries if "levels" in said else entries[0] <= number <= entries[1]


@pytest.mark.parametrize(("preset", "value"), UNCERTAIN, ids=IDS)
def test_an_uncertainty_of_a_preset_holds_its_value(preset: Preset, value: Value) -> None:
    said = read_uncertainty(value.uncertainty)
    if said is None:
        assert value.uncertainty.startswith("no range: ")
    else:
        assert holds(said, value.value)


@pytest.mark.parametrize(("preset", "value"), UNCERTAIN, ids=IDS)
def test_what_a_preset_allows_can_be_built(preset: Preset, value: Value) -> None:
    said = read_uncertainty(value.uncertainty)
    if said is None:
        return
    if "levels" in said:
        tried = said["levels"]
    else:
        found = read_range(value.key, from_data(said, "here"))
        tried = [found.at(Fraction(share, 3)) for share in range(4)]
    for one in tried:
        inside: Any = one
        for step in reversed(value.key.split(".")):
            inside = {step: inside}
        cls = KINDS[preset.kind]
        holder = type("Holds", (), {"__annotations__": {preset.kind: cls}})
        tree = presets.expand(from_data({preset.kind: {"use": preset.name, **inside}}, "study"), holder)
        problems, made = validate(cls, plain(tree)[preset.kind])
        assert not problems, one
        clock = Clock()
        if isinstance(made, Pcie | Nvlink | Nic):
            made.connect(clock, ("there", "back"))
        elif isinstance(made, Ssd):
            Drive(clock, "drive", made)
        elif isinstance(made, Node):
            Hardware(clock, made)


def every_param() -> Iterator[tuple[str, Any, Param]]:
    """The fields of all config classes, with their defaults."""
    seen = set()
    for module in pkgutil.walk_packages(tiersim.__path__, "tiersim."):
        if module.name.split(".")[1] not in ("models", "policies", "sim", "experiments", "_base"):
            continue
        for cls in vars(importlib.import_module(module.name)).values():
            if isinstance(cls, type) and "__pydantic_config__" in vars(cls) and cls not in seen:
                seen.add(cls)
                yield from (
                    (f"{cls.__name__}.{item.name}", default(item), param) for item, _, param in params(cls) if param
                )


def test_each_uncertainty_of_a_default_holds_it() -> None:
    found = [(name, held, param) for name, held, param in every_param() if param.uncertainty]
    assert {"ExpertSystem.copy", "ExpertSystem.cpu"} <= {name for name, *_ in found}
    for name, held, param in found:
        said = read_uncertainty(param.uncertainty)
        assert said is not None, name
        assert holds(said, units.show(held, param.unit) if param.unit else held), name


def test_no_source_hides_an_uncertainty() -> None:
    assert [name for name, _, param in every_param() if "uncertainty" in param.source] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("100 to 400 ns", {"range": ["100 ns", "400 ns"], "scale": "log"}),
        ("100 to 399 ns", {"range": ["100 ns", "399 ns"]}),
        ("6 to 12 %", {"range": ["6 %", "12 %"]}),  # not 600 %
        ("0 to 5 %", {"range": ["0 %", "5 %"]}),
        ("16 to 24 B: optional parts of headers", {"range": ["16 B", "24 B"]}),
        ("16 to 24", {"range": [16, 24]}),
        ("0.25 to 1", {"range": [0.25, 1], "scale": "log"}),
        ("400 us to 2 ms: more: or less", {"range": ["400 us", "2 ms"], "scale": "log"}),
        ("37 to 40 T", {"range": ["37 T", "40 T"]}),
        ("150M to 215M /s", {"range": ["150M/s", "215M /s"]}),
        ("3 to 5 us/token", {"range": ["3 us/token", "5 us/token"]}),
        ("2 to 4 per layer", {"range": ["2 per layer", "4 per layer"]}),
        ("128, 256 or 512 B", {"levels": ["128 B", "256 B", "512 B"]}),
        ("1 or 2", {"levels": [1, 2]}),
        ("no range: 3 to 7 GB/s", None),
        ("some 400 ns", None),
        ("up to 500 %", None),
        ("400 to 100 ns", None),
        ("5 to 5 ns", None),
        ("100 ns to 4 GB", None),
        ("1 ns to 4", None),
        ("1, 2 to 3 B", None),
        ("1 to 2 to 3 B", None),
        ("512, 128 or 256 B", None),
        ("none", None),
        ("", None),
    ],
)
def test_a_text_is_read_as_it_is_meant(text: str, said: Any) -> None:
    assert read_uncertainty(text) == said


@given(
    low=st.integers(0, 10**6),
    more=st.integers(1, 10**6),
    unit=st.sampled_from(["ns", "us", "GiB", "GB/s", "%", "MHz", "cycles", "W", "T", ""]),
)
def test_any_two_numbers_with_a_unit_are_a_range(low: int, more: int, unit: str) -> None:
    said = read_uncertainty(f"{low} to {low + more} {unit}".strip())
    assert said is not None
    wanted = [f"{low} {unit}", f"{low + more} {unit}"] if unit else [low, low + more]
    assert said["range"] == wanted
    assert ("scale" in said) == (0 < 4 * low <= low + more)
    found = read_range("key", from_data(said, "here"))
    first, last = amounts(*wanted)
    assert amounts(found.at(Fraction(0)), wanted[0])[0] == first
    assert amounts(found.at(Fraction(1)), wanted[0])[0] == last


# --- factors of a study

STUDY = EXPERTS | {
    "system": EXPERTS["system"] | {"link": {"use": "pcie-4-x16", "latency": "300 ns"}, "cpu": "2 T"},
}


def found(study: dict[str, Any], sets: tuple[str, ...] = (), variant: int = 0) -> dict[str, Any]:
    read = read_study(study, sets)
    return {one.key: one for one in auto_factors(load("scenario", read.scenario), read.variants[variant].tree)}


def test_what_a_study_takes_and_does_not_set_is_a_factor() -> None:
    its = found(STUDY)
    link = its["system.link.memory"]
    assert link.range == {"range": ["50 ns", "300 ns"], "scale": "log"}
    assert link.source == "assumed: root complex and DRAM, or the last-level cache"
    assert link.uncertainty == "50 to 300 ns"
    assert its["system.copy"].range == {"range": ["3 us", "20 us"], "scale": "log"}  # a default
    assert "system.cpu" not in its  # the study says it
    assert "system.link.latency" not in its
    assert "system.accelerator.pcie.latency" in its  # a preset that a preset names
    assert "system.host.memory.bandwidth" not in its  # is sure
    assert all(holds(one.range, "10 us") for key, one in its.items() if key == "system.copy")


def test_edits_and_variants_count_as_the_study() -> None:
    study = STUDY | {"what_if": {"newer": {"system.link": "pcie-5-x16"}, "sure": {"system.copy": "10 us"}}}
    assert "system.link.memory" not in found(study, ("system.link.memory=150 ns",))
    newer = found(study, variant=1)
    assert newer["system.link.outstanding"].range["range"] == [32, 768]
    assert "system.link.latency" in newer  # the preset is another, and what was said of the first went with it
    assert "system.copy" not in found(study, variant=2)


def test_a_preset_of_ones_own_can_say_otherwise(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "# Mine.\npreset: mine\nkind: pcie\nvalues:\n"
        '  generation: {value: 3, source: "nvidia-smi"}\n'
        '  latency: {value: 100 ns, source: "guessed", uncertainty: "80 to 200 ns"}\n'
        '  memory: {value: 100 ns, source: "guessed", uncertainty: "who knows"}\n'
    )
    study = STUDY | {"system": STUDY["system"] | {"link": str(path)}}
    link = {key: one for key, one in found(study).items() if key.startswith("system.link.")}
    assert {key: one.range for key, one in link.items()} == {"system.link.latency": {"range": ["80 ns", "200 ns"]}}
    read = read_study(study)
    assert without_range(load("scenario", read.scenario), read.variants[0].tree) == [
        "system.link.memory is uncertain and no factor: who knows"
    ]


def test_a_preset_that_names_another_in_doubt_is_told() -> None:
    study = STUDY | {"system": STUDY["system"] | {"accelerator": "b200"}}
    read = read_study(study)
    assert without_range(load("scenario", read.scenario), read.variants[0].tree) == [
        "system.accelerator.pcie is uncertain and no factor: no range: 5.0 in most hosts"
    ]


def test_factors_are_in_the_order_of_the_study_and_each_once() -> None:
    keys = [one.key for one in auto_factors(load("scenario", "expert-offload"), read_study(STUDY).variants[0].tree)]
    assert len(set(keys)) == len(keys)
    assert keys[0].startswith("system.accelerator.")
    assert keys[-1] == "system.copy"


def test_explain_shows_how_sure_a_number_is() -> None:
    key = next(key for key in explain("expert-offload").keys if key.key == "system.copy")
    assert key.source.endswith("(cudaMemcpyAsync); uncertainty: 3 to 20 us")
    values = explain("pcie-4-x16").presets["pcie-4-x16"]
    assert next(value for value in values if value["key"] == "memory")["uncertainty"] == "50 to 300 ns"
