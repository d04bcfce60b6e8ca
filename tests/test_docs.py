"""What the pages say is so: studies are studies, examples run, quotes are what commands print, links lead somewhere."""

from __future__ import annotations

import gzip
import importlib.util
import re
import runpy
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.experiments.expert_studies import write_trace
from tests.oracles.hierarchy import Reference
from tests.oracles.object_requests import scans_and_favourites
from tiersim._base.registry import build, load
from tiersim.experiments.plan import make_plan
from tiersim.models.caches import simulate_lines
from tiersim.sim import cache_loop, object_loop
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import requests_from
from tiersim.traces import Writer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md"))]
MADE = (DOCS / "reference", DOCS / "policies", DOCS / "gallery")  # by scripts, whose tests look at them
PAGES = [page for page in PAGES if not any(folder in page.parents for folder in MADE)]
EXAMPLES = DOCS / "examples"
STUDIES = sorted(path.name for path in EXAMPLES.glob("*.yaml") if "\nstudy:" in path.read_text(encoding="utf-8"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:tests|docs|sim|policies|experiments|benchmarks)/[\w./-]+)`")
UNDER = """
study: under-a-fragment
scenario: memory-hierarchy
trace: generated/stride
"""
UNDER_OBJECTS = """
study: under-a-fragment
scenario: object-cache
trace: generated/zipf-objects
cache: {capacity: 1 %}
"""
UNDER_SERVING = """
study: under-a-fragment
scenario: serving
trace: {use: generated/conversations, requests: 3k}
system: {instance: {time_model: {use: linear, prefill: 1 ms/token}, memory: {capacity: 1M tokens}}}
"""
OF_OBJECTS = re.compile(r"\bcache[:.]")
OF_SERVING = re.compile(r"^(slo|load|capacity):", re.MULTILINE)


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.append(str(DOCS))  # the scripts use each other
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(DOCS))
    return module


OUTPUTS = _module("outputs")


def blocks(language: str) -> list[Any]:
    """The code blocks of a language, each with a name for its place."""
    return [
        pytest.param(
            match[2],
            id=f"{page.relative_to(ROOT)}:{page.read_text(encoding='utf-8')[: match.start()].count(chr(10)) + 1}",
        )
        for page in PAGES
        for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if match[1] == language
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples and small traces, as the reader of a page has it."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    with Writer(tmp_path / "my-program.parquet") as out:
        count = 200
        address = np.arange(count, dtype=np.uint64) * np.uint64(64)
        kind = np.zeros(count, np.uint8)
        out.append({"address": address, "size": np.full(count, 8, np.uint16), "kind": kind, "gap": kind + np.uint32(1)})
    write_trace(tmp_path / "my-routing.parquet", 1, sequences=20, layers=26, experts=64, active=6)
    (tmp_path / "program.lackey.gz").write_bytes(gzip.compress(b"I  04000000,3\n L 1ffe0000,8\n"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_on_a_page_is_a_study_or_a_part_of_one(folder: Path, text: str) -> None:
    """A part is put over a study. Its keys, units, names, metrics and figures are all checked by planning it."""
    if "study:" not in text and OF_OBJECTS.search(text):
        (folder / "under.yaml").write_text(UNDER_OBJECTS)
        text = f"extends: under.yaml\n{text}"
    elif "study:" not in text and OF_SERVING.search(text):
        (folder / "under.yaml").write_text(UNDER_SERVING)
        text = f"extends: under.yaml\n{text}"
    elif "study:" not in text:
        whole = "  memory:" in text  # a machine of its own; others are put over a preset
        (folder / "under.yaml").write_text(UNDER if whole and "use:" not in text else f"{UNDER}system: desktop-cpu\n")
        text = f"extends: under.yaml\n{text}"
    (folder / "page.yaml").write_text(text)
    assert make_plan("page.yaml").runs


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """All loops in the interpreter: compiling them takes a minute, and the outputs are made with the compiled ones."""
    for module in (cache_loop, object_loop):
        monkeypatch.setattr(module, "make_loop", partial(_plain, module.make_loop))


def _plain(make_loop: Any, *given: Any, compiled: bool = True) -> Any:
    return make_loop(*given, compiled=False)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("study", STUDIES)
def test_every_example_runs(folder: Path, study: str) -> None:
    text = (folder / study).read_text()
    asked = "scenario: object-cache" in text or "scenario: serving" in text
    generated = "references" if "references:" in text else "records"
    count = "requests" if asked else "limit" if "captured/" in text else generated
    result = tiersim.run(folder / study, [f"trace.{count}=3k"], keep=False)
    assert len(result.rows) > 1
    assert not result.skipped
    for row in result.rows:
        assert row.status == "done", row.error
    assert all(result.rows[0].metrics[name] > 0 for name in result.shown)
    assert all(any(row.metrics.get(name, 0) > 0 for name in result.shown) for row in result.rows)


def test_every_policy_on_a_page_is_in_an_example_or_a_command() -> None:
    used = [(EXAMPLES / study).read_text(encoding="utf-8") for study in STUDIES]
    used += [command for output in OUTPUTS.ALL for command in output.commands]
    files = [path.name for path in EXAMPLES.glob("*.py")]
    assert files
    assert [name for name in files if not any(f"{name}:" in text or f"python {name}" in text for text in used)] == []


def references(lines: tuple[int, ...]) -> list[Reference]:
    return [("load", line) for line in lines]


def one_set(policy: Any, ways: int, lines: tuple[int, ...], engine: Any) -> tuple[int, set[int]]:
    cache = {"l1": {"sets": 1, "ways": ways, "policy": policy, "serves": "data"}}
    result = simulate_lines(cache, references(lines), engine=engine)
    return result.counters["l1"]["read_misses"], {line for line, _ in result.contents["l1"]}


@pytest.mark.parametrize("engine", ["plain", pytest.param("compiled", marks=pytest.mark.slow)])
def test_bip_on_paper(folder: Path, engine: str) -> None:
    """Two ways. 1 and 2 come in at the bottom, 2 below 1. 1 hits: on top. 3 replaces 2, 4 replaces 3, 1 hits.

    5 is the fifth to come in, so `every: 5` puts it on top; 4 goes for it. 6 now replaces 1, not 5.
    """
    lines = (1, 2, 1, 3, 4, 1, 5, 6)
    assert one_set({"use": "bip.py:Bip", "every": 5}, 2, lines, engine) == (6, {5, 6})
    assert one_set({"use": "bip.py:Bip", "every": 99}, 2, lines, engine) == (6, {1, 6})


def test_bip_that_always_keeps_is_lru(folder: Path) -> None:
    rng = np.random.default_rng(1)
    lines = tuple(map(int, rng.integers(0, 9, 600)))
    assert one_set({"use": "bip.py:Bip", "every": 1}, 4, lines, "plain") == one_set("lru", 4, lines, "plain")


def test_mru_on_paper(folder: Path) -> None:
    """Two ways. 1 2 fill, 3 replaces 2, 1 hits, 2 replaces 1, 3 hits, 1 replaces 3."""
    assert not load("way-replacement", "mru.py:Mru").compiled
    assert one_set("mru.py:Mru", 2, (1, 2, 3, 1, 2, 3, 1), "plain") == (5, {1, 2})


LAZY = ("plain_lazy.py:PlainLazy", "slow_lazy.py:SlowLazy", "lazy.py:Lazy")


def missed(policy: Any, capacity: int, requests: Any) -> list[int]:
    """The numbers of the requests that miss, in the interpreter."""
    held: list[Any] = []
    made = build("object-replacement", policy)
    replay_objects(made, capacity, requests, outcomes=held, compiled=False)
    found: list[int] = np.flatnonzero(np.concatenate(held) == object_loop.MISS).tolist()
    return found


@pytest.mark.parametrize("policy", LAZY)
def test_lazy_on_paper(folder: Path, policy: str) -> None:
    """Room for two. 1 and 2 enter. 1 hits once and stays old: 3 replaces it. 2 hits twice and is moved.

    So 1 replaces 3. 1 hits once, and 2, the older, once more: 3 replaces 2.
    """
    assert missed(policy, 2, requests_from([1, 2, 1, 3, 2, 2, 1, 1, 2, 3])) == [0, 1, 3, 6, 9]


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("policy", LAZY[1:])
def test_all_lazy_ones_decide_alike(folder: Path, policy: str, sized: bool) -> None:
    ids = scans_and_favourites(3000, 5, objects=100)
    requests = requests_from(ids, **({"size": (ids % np.uint64(7)).astype(np.int64)} if sized else {}))
    assert missed(policy, 40, requests) == missed(LAZY[0], 40, requests)


def test_lazy_that_moves_at_every_hit_is_lru(folder: Path) -> None:
    requests = requests_from(scans_and_favourites(3000, 5, objects=100))
    assert missed({"use": "lazy.py:Lazy", "every": 1}, 40, requests) == missed("lru", 40, requests)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("text", blocks("python"))
def test_python_on_a_page_runs(folder: Path, text: str) -> None:
    """Studies on a page are only planned here, not run: `test_python_on_a_page_gives_results` does that."""
    compile(text, "page", "exec")
    if "tiersim.run(" in text:
        for study in re.findall(r'tiersim\.run\("([^"]+)"', text):
            assert make_plan(study).runs
    else:
        assert run_page(folder, re.sub(r"requests=\d[\d_]+", "requests=3_000", text))


def run_page(folder: Path, text: str) -> dict[str, Any]:
    """The names that a block leaves behind, run as a file."""
    (folder / "page.py").write_text(text)
    return runpy.run_path(str(folder / "page.py"), run_name="page")


def runs_here(text: str) -> bool:
    """Whether a block runs studies, and needs no cluster: `tests/experiments/test_dask.py` has one for it."""
    return "tiersim.run(" in text and "Cluster(" not in text


@pytest.mark.slow
@pytest.mark.parametrize("text", [block for block in blocks("python") if runs_here(str(block.values[0]))])
def test_python_on_a_page_gives_results(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas", reason="to_pandas needs pandas")
    run_page(folder, text)
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    made = {f"{name}.md" for name in _module("reference").PAGES}
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        file, _, heading = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if there.parent == DOCS / "reference":
            assert there.name in made, target
        elif DOCS / "policies" in there.parents:
            assert str(there.relative_to(DOCS)) in _module("policy_pages").pages(), target
        else:
            assert there.exists(), target
            assert not heading or heading in _anchors(there), target


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in NAMED.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists() or "NAME" in name, name


def test_quotes_are_what_is_kept_and_quick_commands_print_it_now() -> None:
    assert OUTPUTS.check([output for output in OUTPUTS.ALL if output.kind == "quick"]) == []


@pytest.mark.slow
def test_every_output_is_what_its_commands_print_now() -> None:
    assert OUTPUTS.check([output for output in OUTPUTS.ALL if output.kind == "exact"]) == []


@pytest.mark.parametrize("name", ["three-lines", "what-matters", "figure-tutorial"])
def test_a_tutorial_works_from_end_to_end(name: str) -> None:
    output = next(output for output in OUTPUTS.ALL if output.name == name)
    assert not OUTPUTS.check([output])


def test_a_stale_quote_and_a_stale_output_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = next(output for output in OUTPUTS.ALL if output.kind == "quick")
    kept = tmp_path / "outputs"
    shutil.copytree(DOCS / "outputs", kept)
    (kept / f"{quick.name}.txt").write_text("something else\n")
    page = tmp_path / "page.md"
    page.write_text(f"<!-- quote: outputs/{quick.name}.txt -->\n```console\nas it was\n```\n<!-- end -->\n")
    for name, value in (("OUTPUTS", kept), ("DOCS", tmp_path)):
        monkeypatch.setattr(OUTPUTS, name, value)
    monkeypatch.setattr(OUTPUTS, "pages", lambda: [page])
    wrong = OUTPUTS.check([quick])
    assert len(wrong) == 2
    page.write_text(OUTPUTS.quoted(page.read_text()))
    assert "something else" in page.read_text()
    assert len(OUTPUTS.check([quick])) == 1


def test_every_output_is_quoted_and_every_quote_is_made() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    made = {f"outputs/{name}.txt" for name in (*(output.name for output in OUTPUTS.ALL), *OUTPUTS.BENCHMARKED)}
    assert made == {match["file"] for match in OUTPUTS.QUOTE.finditer(text) if match["file"].startswith("outputs/")}


def test_reference_pages_hold_all_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = _module("reference")
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "reference")
    reference.main()
    text = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "reference").iterdir())
    assert len(list((tmp_path / "reference").iterdir())) == len(reference.PAGES)
    families = ("way-replacement", "object-replacement", "admissions", "generators", "readers")
    translation = ("translations", "walk-cost-predictors", "time-models")
    experts = ("experts", "expert-replacement", "expert-predictions")
    for kind in (*families, *translation, *experts, "presets", "traces", "metrics", "claims"):
        for row in reference.listing(kind):
            assert f"{row['name']}`" in text, row["name"]
    assert all(f"tiersim {name}" in text for name in reference.COMMANDS)


def test_the_navigation_names_every_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents}
    pages |= {f"reference/{name}.md" for name in _module("reference").PAGES}
    pages |= {page for page in _module("policy_pages").pages() if page.endswith("/index.md")}
    assert pages | {"gallery/index.md"} == set(re.findall(r"[\w/-]+\.md", navigation))


def test_pages_name_no_machine() -> None:
    for path in [*PAGES, *(DOCS / "outputs").iterdir()]:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in ("/home/", "/root/", "/tmp/") if word in text], path
