"""The studies that come with tiersim: the schema knows them, they are checked whole, and the main one runs."""

import importlib.util
import re
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

import tiersim
from tests.experiments.expert_studies import write_trace
from tests.experiments.test_expert_routing import SEQUENCES, write
from tests.models.test_knobs import POLICY
from tiersim._base.errors import AbsentError
from tiersim.experiments.catalogue import keys_of, schema
from tiersim.experiments.figures import draw
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import StudyResult
from tiersim.experiments.scenarios import expert_offload, expert_routing, serving
from tiersim.experiments.scenarios.memory_hierarchy import MemoryHierarchy
from tiersim.experiments.scenarios.object_cache import ObjectCacheScenario
from tiersim.experiments.sensitivity.methods import Estimate
from tiersim.experiments.study import read_study
from tiersim.experiments.yaml_tree import load, plain
from tiersim.sim.expert_offload import Machine
from tiersim.sim.expert_stack import expert_hits
from tiersim.sim.serving import Engines

LIBRARY = Path(tiersim.__file__).parent / "experiments" / "library"
STUDIES = sorted(path.name for path in LIBRARY.glob("*.yaml"))
TEMPLATES = sorted(LIBRARY.with_name("templates").glob("*.yaml"))
KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def fits(value: Any, rule: Any, whole: dict[str, Any]) -> str:
    """Where a value breaks the part of JSON Schema that tiersim's schemas use, or an empty text."""
    known = {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "oneOf", "$ref"),
        *("minimum", "maximum", "pattern", "description", "title", "default", "$defs", "$schema"),
    }
    if rule in (True, {}):
        return ""
    assert rule.keys() <= known, rule.keys() - known  # else this check would look away
    if "$ref" in rule:
        return fits(value, whole["$defs"][rule["$ref"].removeprefix("#/$defs/")], whole)
    for choice in ("anyOf", "oneOf"):
        if choice in rule and all(fits(value, one, whole) for one in rule[choice]):
            return f"{value!r} is none of {rule[choice]}"
    if "enum" in rule and value not in rule["enum"]:
        return f"{value!r} is not in {rule['enum']}"
    if "const" in rule and value != rule["const"]:
        return f"{value!r} is not {rule['const']!r}"
    types = rule.get("type", [])
    types = types if isinstance(types, list) else [types]
    null = value is None and "null" in types
    right = any(isinstance(value, KINDS[kind]) for kind in types if kind != "null")
    if types and not null and (not right or (isinstance(value, bool) and "boolean" not in types)):
        return f"{value!r} is no {types}"
    if isinstance(value, str) and "pattern" in rule and not re.search(rule["pattern"], value):
        return f"{value!r} does not match {rule['pattern']}"
    if isinstance(value, int | float) and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        return f"{value!r} is out of range"
    inside: list[str] = []
    if isinstance(value, list):
        inside = [fits(held, rule.get("items", True), whole) for held in value]
    elif isinstance(value, dict):
        inside = [f"{key} is missing" for key in rule.get("required", []) if key not in value]
        for key, held in value.items():
            more = rule.get("additionalProperties", True)
            its = rule.get("properties", {}).get(key, more)
            inside.append(f"{key} is not known" if its is False else fits(held, its, whole))
    return next(filter(None, inside), "")


@cache
def the_schema(scenario: str = "memory-hierarchy") -> dict[str, Any]:
    return schema(scenario)


@pytest.mark.parametrize("file", [*(LIBRARY / name for name in STUDIES), *TEMPLATES], ids=lambda path: path.name)
def test_the_schema_accepts_it(file: Path) -> None:
    study = plain(load(file))
    if "extends" in study:  # what is missing here is said there
        study |= plain(read_study(file).tree)
    rule = the_schema(study["scenario"])
    assert fits(study, rule, rule) == ""


@pytest.mark.parametrize(
    "system",
    [
        "desktop-cpu",
        {"use": "desktop-cpu"},
        {"use": "desktop-cpu", "core": {"exposed": "20 %"}, "caches": {"l2": {"policy": {"use": "srrip", "bits": 3}}}},
        "my-machine.yaml",
        {"use": "desktop-cpu", "memory": {"dram": "ddr4-3200"}},
        {"use": "desktop-cpu", "memory": {"dram": "my-dram.yaml"}},
        {"use": "desktop-cpu", "memory": {"dram": {"use": "ddr4-3200", "channels": 4, "timing": {"cl": "20 cycles"}}}},
    ],
    ids=str,
)
def test_the_schema_lets_a_preset_stand_for_what_is_not_said(system: Any) -> None:
    study = plain(load(LIBRARY / "bigger-l2.yaml")) | {"system": system}
    assert fits(study, the_schema(), the_schema()) == ""


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        ({"colour": 3}, "colour is not known"),
        ({"scenario": "other"}, "'other'"),
        ({"study": 3}, "3 is no"),
        ({"timing": "later"}, "'later'"),
        ({"miss_kinds": "perhaps"}, "'perhaps'"),
        ({"system": "no-such-machine"}, "'no-such-machine'"),
        ({"system": {"use": "desktop-cpu", "lyne": 3}}, "is none of"),
        ({"system": {"use": "desktop-cpu", "caches": {"l2": {"wyas": 3}}}}, "is none of"),
        ({"system": {"use": "desktop-cpu", "core": {"frequancy": 3}}}, "is none of"),
        ({"system": {"caches": {"l2": {"ways": 3}}}}, "is none of"),
        ({"system": {"use": "desktop-cpu", "memory": {"dram": "ddr9"}}}, "is none of"),
        ({"system": {"use": "desktop-cpu", "memory": {"dram": {"use": "ddr4-3200", "chanels": 4}}}}, "is none of"),
        ({"seed": -1}, "-1 is out of range"),
        ({"repeat": {"seeds": 0}}, "0 is none of"),
        ({"repeat": {"sides": 2}}, "sides is not known"),
        ({"report": {"metric": []}}, "metric is not known"),
        ({"what_if": {"a": 3}}, "3 is no"),
    ],
    ids=str,
)
def test_the_schema_refuses(edit: dict[str, Any], where: str) -> None:
    study = plain(load(LIBRARY / "bigger-l2.yaml"))
    assert where in fits(study | edit, the_schema(), the_schema())


@pytest.mark.parametrize("scenario", [MemoryHierarchy, ObjectCacheScenario])
def test_the_schema_says_what_explain_says(scenario: Any) -> None:
    text = str(the_schema(scenario.registered.name))
    for key in keys_of(scenario):
        assert key.doc, key.key
        if not key.key.startswith(("trace.", "beside.NAME.")):
            assert key.doc.replace("'", "\\'") in text or key.doc in text, key.key


@pytest.mark.parametrize("name", STUDIES)
def test_it_is_checked_whole(name: str, tmp_path: Path) -> None:
    try:
        made = make_plan(LIBRARY / name)
    except AbsentError:  # it is about a public trace that is not here
        made = make_plan(LIBRARY / name, [instead(LIBRARY / name, tmp_path)])
    assert made.study.name == Path(name).stem
    assert made.study.question.endswith("?")
    assert made.runs
    assert made.report.metrics


def test_bigger_l2_runs() -> None:
    result = tiersim.run(LIBRARY / "bigger-l2.yaml", ["trace.limit=200k"], keep=False)
    assert [row.label for row in result.rows[::3]] == [
        "base, latency 70 ns",
        "SRRIP in the L2, latency 70 ns",
        "twice the L2, latency 70 ns",
        "both, latency 70 ns",
    ]
    assert len(result.rows) == 12
    assert {row.status for row in result.rows} == {"done"}
    assert result.skipped == []
    for row in result.rows:
        for name in result.shown:
            assert name in row.metrics
        first = next(other for other in result.rows if other.factors["what_if"] == row.factors["what_if"])
        assert row.metrics["caches.l2.misses"] == first.metrics["caches.l2.misses"]  # latency moves no line
    cycles = [row.metrics["cycles_per_instruction"] for row in result.rows[:3]]
    assert cycles == sorted(cycles)


def test_shared_memory_runs() -> None:
    result = tiersim.run(LIBRARY / "shared-memory.yaml", ["trace.limit=30k", "sweep.copies=[1, 4]"], keep=False)
    assert {row.status for row in result.rows} == {"done"}
    assert result.skipped == []
    found = {(row.factors["what_if"], row.factors["copies"]): row.metrics for row in result.rows}
    for variant in ("base", "DDR5", "a small L3"):
        for name in ("cycles_per_instruction", "memory.latency", "memory.load"):
            assert found[variant, 1][name] < found[variant, 4][name]


def test_object_policies_runs() -> None:
    result = tiersim.run(LIBRARY / "object-policies.yaml", ["trace.requests=60k"], keep=False)
    assert {row.status for row in result.rows} == {"done"}
    assert result.skipped == []
    ratio = {(row.factors["what_if"], row.factors["cache.capacity"]): row.metrics["miss_ratio"] for row in result.rows}
    for (variant, size), found in ratio.items():
        assert ratio["Belady, who knows the future", size] <= found, (variant, size)


def small_victima(name: str, *sets: str) -> StudyResult:
    """On two small traces, and as plain Python: a policy of a file is not compiled. Each figure is drawn."""
    Path("plain.py").write_text(POLICY, encoding="utf-8")
    traces = [
        f"{{trace: {{use: generated/gups, references: 3k, footprint: {size} MiB, warm_up: 500}}}}" for size in (64, 65)
    ]
    small = [f"sweep.list=[{', '.join(traces)}]", "system.caches.l2.capacity=64 KiB", "claims=null", "repeat=null"]
    result = tiersim.run(LIBRARY / name, [*small, *sets, "system.caches.l1d.policy=plain.py:Plain"], keep=False)
    assert {row.status for row in result.rows} == {"done"}
    assert result.skipped == []
    if importlib.util.find_spec("matplotlib"):
        assert result.figures
        for spec in result.figures:
            draw(result, spec)
    return result


def by_variant(result: StudyResult, *, last: bool = False) -> dict[str, dict[str, int | float]]:
    """The metrics of the variants at the first point, or the last one."""
    rows = result.rows if last else result.rows[::-1]
    return {str(row.factors["what_if"]): row.metrics for row in rows}


def test_victima_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = by_variant(small_victima("victima.yaml"))
    assert found["Victima"]["tlbs.l2.misses"] == found["base"]["tlbs.l2.misses"]
    assert found["Victima"]["walks"] < found["base"]["walks"]
    assert found["nested paging"]["cycles"] > found["base"]["cycles"]
    assert found["nested paging"]["walks"] > found["base"]["walks"]  # host pages of 4 KiB cut guests' large ones


def test_the_studies_beside_victima_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small_victima("victima-workloads.yaml")
    found = by_variant(small_victima("victima-larger-tlbs.yaml"))
    costs = [found[f"64 Ki-entry L3 TLB, {cycles} cycles"]["cycles"] for cycles in (15, 20, 25, 30, 35, 40)]
    assert costs == sorted(costs)
    pages = small_victima("victima-pages.yaml", "sweep.large_pages=[0 %, 100 %]")
    small, large = by_variant(pages), by_variant(pages, last=True)
    assert large["base"]["walks"] < small["base"]["walks"]
    sizes = small_victima(
        "victima-l2-sizes.yaml",
        "sweep.zip={system.caches.l2.capacity: [64 KiB, 8 MiB], system.caches.l2.latency: [8 cycles, 26 cycles]}",
    )
    assert by_variant(sizes, last=True)["Victima"]["walks"] < by_variant(sizes)["Victima"]["walks"]
    calibration = small_victima("victima-calibration.yaml", "sweep.system.core.stall_factor=[10 %, 100 %]")
    assert by_variant(calibration, last=True)["base"]["cycles"] > by_variant(calibration)["base"]["cycles"]


def test_studies_of_guests_and_of_rules_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = by_variant(small_victima("victima-guests.yaml"))
    assert found["Victima"]["host_walks"] < found["Victima without nested blocks"]["host_walks"]
    assert found["host pages as the guest's"]["walks"] < found["base"]["walks"]  # large ones are not cut
    found = by_variant(small_victima("victima-rules.yaml"))
    assert (
        found["blocks of misses only"]["background_walks"] == 0 < found["blocks of evictions only"]["background_walks"]
    )
    found = by_variant(small_victima("victima-artifact.yaml"))
    assert found["artifact"]["tlbs.l2.misses"] == found["Victima"]["tlbs.l2.misses"]
    assert found["artifact"]["background_walks"] == 0 < found["Victima"]["background_walks"]
    assert found["artifact's nested Victima"]["host_walks"] < found["nested Victima"]["host_walks"]


@pytest.mark.slow
def test_bigger_l2_runs_on_all_of_its_trace() -> None:
    result = tiersim.run(LIBRARY / "bigger-l2.yaml", keep=False, workers=2)
    assert {row.status for row in result.rows} == {"done"}
    by_label = {row.label: row.metrics["caches.l2.misses"] for row in result.rows}
    assert by_label["twice the L2, latency 70 ns"] <= by_label["base, latency 70 ns"]


def few_talks(requests: int) -> str:
    """In place of a trace that may not be here."""
    return f"trace={{use: generated/conversations, requests: {requests}, rate: 6 /s, block_size: 64, seed: 1}}"


def few_experts(folder: Path) -> str:
    """Likewise: ten short sequences of a small model."""
    write(folder / "routing.parquet", SEQUENCES)
    return f"trace={{use: '{folder / 'routing.parquet'}', least: 9, cut: 20}}"


@pytest.fixture
def plain_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are caches of experts."""
    monkeypatch.setattr(expert_routing, "expert_hits", partial(expert_hits, compiled=False))


@pytest.mark.usefixtures("plain_experts")
def test_moe_consistency_runs(tmp_path: Path) -> None:
    result = tiersim.run(LIBRARY / "moe-consistency.yaml", [few_experts(tmp_path), "claims=null"], keep=False)
    assert {row.status for row in result.rows} == {"done"}
    found = {(row.factors["what_if"], row.factors["cache.size"]): row.metrics for row in result.rows}
    assert found["SCH(16)", 1]["hit_ratio"] > found["random", 1]["hit_ratio"]
    assert found["SCH(4)", 2]["srp"] > found["SCH(16)", 2]["srp"]
    for name, metrics in by_variant(result, last=True).items():
        assert metrics["hit_ratio"] == 1, name  # the cache holds all experts


@pytest.mark.usefixtures("plain_experts")
def test_the_studies_beside_moe_consistency_run(tmp_path: Path) -> None:
    small = few_experts(tmp_path)
    sets = [small, "what_if.all prompts={trace.least: 1}", "what_if.256 tokens or more, cut at 512={trace.least: 12}"]
    result = tiersim.run(LIBRARY / "moe-consistency-caches.yaml", sets, keep=False)
    assert {row.status for row in result.rows} == {"done"}
    found = {
        (row.factors["what_if"], row.factors["cache.policy"], row.factors["cache.size"]): row.metrics["hit_ratio"]
        for row in result.rows
    }
    for policy in ("lru", "sch", "belady"):
        assert found["cold slots", policy, 1] < found["base", policy, 1]
    layers = [f"what_if.{name} layers={{trace.layers: [{k}]}}" for k, name in enumerate(("first", "middle", "last"), 3)]
    sets = [small, "sweep.segment.length=[2, 8]", "what_if.all prompts={trace.least: 1}", *layers]
    result = tiersim.run(LIBRARY / "moe-consistency-segments.yaml", sets, keep=False)
    assert {row.status for row in result.rows} == {"done"}
    for name, metrics in by_variant(result).items():
        assert metrics["srp"] > by_variant(result, last=True)[name]["srp"], name


def few_routed(folder: Path) -> str:
    """In place of the routing of DeepSeek-V2-Lite."""
    write_trace(folder / "few.parquet", 1, sequences=20, layers=26, experts=64, active=6)
    return f"trace={{use: {folder / 'few.parquet'}, tokens: 60}}"


def instead(study: Path, folder: Path) -> str:
    """What stands in place of the trace of a study that may not be here."""
    text = study.read_text(encoding="utf-8")
    if "scenario: expert-offload" in text:
        return few_routed(folder)
    return few_experts(folder) if "scenario: expert-routing" in text else few_talks(300)


@pytest.fixture
def plain_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are not compiled: that takes longer than all that they do here."""
    monkeypatch.setattr(serving, "Engines", partial(Engines, compiled=False))


@pytest.mark.usefixtures("plain_servers")
def test_kv_tiers_runs() -> None:
    sets = [few_talks(300), "system.cluster.instances=2", "system.instance.memory.capacity=9k tokens"]
    result = tiersim.run(LIBRARY / "kv-tiers.yaml", sets, keep=False)
    assert {row.status for row in result.rows} == {"done"}
    found = by_variant(result)
    assert found["base"]["prefix_hit_ratio.tokens"] < found["1 TiB DRAM"]["prefix_hit_ratio.tokens"]
    for name, metrics in found.items():
        assert name == "base" or metrics["prefix_hit_ratio.fetched"] > 0, name
        assert metrics["prefix_hit_ratio.tokens"] <= metrics["prefix_hit_ratio.bound"], name
    for name in ("flash", "flash, on eviction"):
        assert found[name]["links.drives.stored"] == found[name]["tiers.ssd.written"] > 0


@pytest.mark.usefixtures("plain_servers")
def test_disaggregation_runs() -> None:
    result = tiersim.run(
        LIBRARY / "disaggregation.yaml", [few_talks(300), "sweep.load.rate=[20 /s, 80 /s]"], keep=False
    )
    assert {row.status for row in result.rows} == {"done"}
    found = by_variant(result)
    assert "transfer.p90" not in found["base"]
    slow, middle, fast = (found[f"4 + 4, {speed} Gb/s"]["transfer.p90"] for speed in (25, 100, 400))
    assert slow > 3 * middle > 9 * fast
    for metrics in found.values():
        assert metrics["requests"] == 300
        assert metrics["refused"] == metrics["rejected"] == 0


@pytest.fixture
def plain_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops are not compiled: that takes longer than all that they do here."""
    monkeypatch.setattr(expert_offload, "Machine", partial(Machine, compiled=False))


@pytest.mark.usefixtures("plain_machines")
def test_moe_offload_runs(tmp_path: Path) -> None:
    result = tiersim.run(
        LIBRARY / "moe-offload.yaml", [few_routed(tmp_path), "sweep.system.link=[pcie-3-x16, pcie-5-x16]"], keep=False
    )
    assert {row.status for row in result.rows} == {"done"}
    slow, fast = by_variant(result), by_variant(result, last=True)
    for name, metrics in slow.items():
        assert metrics["tokens_per_second"] <= fast[name]["tokens_per_second"], name
        if not metrics["cpu_ratio"] and not metrics["loads.low"] and not metrics["skipped_ratio"]:
            assert metrics["tokens_per_second"] <= slow["perfect prefetch"]["tokens_per_second"], name
    assert slow["next-layer prefetch"]["loads.ahead"] > 0 == slow["base"]["loads.ahead"]
    assert slow["CPU runs cold experts"]["cpu_ratio"] > 0 == slow["base"]["cpu_ratio"]
    assert slow["low precision"]["loads.low"] > 0
    assert slow["CPU runs all experts"]["link.bytes"] == 0


@pytest.mark.usefixtures("plain_machines")
def test_the_sensitivity_of_moe_offload_runs(tmp_path: Path) -> None:
    sets = [few_routed(tmp_path), "sensitivity.samples=4"]
    result = tiersim.run(LIBRARY / "moe-offload-sensitivity.yaml", sets, keep=False)
    found = result.sensitivity
    assert found is not None
    assert {row.status for row in found.rows} == {"done"}
    assert len(found.samples["base"]) == 4 * 8
    (one,) = found.indices
    host = one.indices.names.index("system.host.memory.bandwidth")
    assert one.indices.kinds["total"][host] == Estimate(0, 0, 0)  # experts come over the link, which is slower
    assert one.leading()[0][1].value > 0


@pytest.mark.usefixtures("plain_machines")
def test_the_studies_beside_moe_offload_run(tmp_path: Path) -> None:
    few = few_routed(tmp_path)
    found = by_variant(tiersim.run(LIBRARY / "moe-offload-accuracy.yaml", [few, "repeat=null"], keep=False))
    ahead = [found[f"{right} %"]["predictions.recall"] for right in (0, 20, 40, 60, 80, 90, 100)]
    assert ahead == sorted(ahead)
    assert found["100 %"]["tokens_per_second"] > found["0 %"]["tokens_per_second"]
    batches = ["sweep.batch=[1, 18]", "sweep.system.link=[pcie-3-x16, pcie-5-x16]"]
    result = tiersim.run(LIBRARY / "moe-offload-batches.yaml", [few, *batches], keep=False)
    assert {row.status for row in result.rows} == {"done"}
    quickest = by_variant(result)
    assert quickest["processor"]["link.busy"] == 0 < quickest["base"]["link.busy"]
    assert quickest["whichever is quicker"]["tokens_per_second"] >= quickest["base"]["tokens_per_second"]
