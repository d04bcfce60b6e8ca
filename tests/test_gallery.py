"""The gallery has a page for each study of the library, which says what was measured, and no figure is missing."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import tiersim

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = DOCS / "gallery"
LIBRARY = DOCS.parent / "experiments" / "library"
STUDIES = sorted(path.stem for path in LIBRARY.glob("*.yaml"))


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("gallery")


def test_every_study_has_a_page_and_no_page_lacks_its_study() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index") == STUDIES
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert all(f"]({study}.md)" in index for study in STUDIES)


@pytest.mark.parametrize("study", STUDIES)
def test_a_page_is_of_the_study_as_it_is(study: str, gallery: Any) -> None:
    text = (FOLDER / f"{study}.md").read_text(encoding="utf-8")
    remedy = f"python docs/gallery.py {study}"
    assert f"```yaml\n{(LIBRARY / f'{study}.yaml').read_text(encoding='utf-8').strip()}\n```" in text, remedy
    dated = re.search(r"^Measured on \d{4}-\d\d-\d\d at full size: [\d,]+ runs?", text, re.MULTILINE)
    assert bool(dated) != (gallery.NOT_RUN in text), remedy


def test_figures_are_there_are_used_and_are_small() -> None:
    used = set()
    for page in FOLDER.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert not [word for word in ("/home/", "/root/", "/tmp/") if word in text], page
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            there = (FOLDER / target).resolve()
            assert there.exists() or there.parent == DOCS / "reference", (page.name, target)
            used.add(there)
    figures = set(FOLDER.glob("*.svg"))
    assert figures <= used
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 6 << 20
    assert not [path for path in figures if b"<script" in path.read_bytes()]


def test_what_is_stored_becomes_a_page(gallery: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "library"
    library.mkdir()
    text = """# Is a cache of twice the size worth it?
study: small
scenario: object-cache
trace: {use: generated/loop-objects, requests: 2k, objects: 200, phase: 500, loop: 50}
cache: {capacity: 5 %, policy: lru}
what_if: {twice the size: {cache.capacity: 10 %}}
report: {metrics: [miss_ratio], figures: [{x: what_if, y: miss_ratio}]}
"""
    (library / "small.yaml").write_text(text, encoding="utf-8")
    (library / "other.yaml").write_text(text.replace("small", "other"), encoding="utf-8")
    for name, value in (("LIBRARY", library), ("FOLDER", tmp_path / "gallery"), ("RESULTS", tmp_path / "results")):
        monkeypatch.setattr(gallery, name, value)
    (tmp_path / "gallery").mkdir()
    made = tiersim.run(library / "small.yaml", out=tmp_path / "results" / "small")
    gallery.main(["--stored"])
    page = (tmp_path / "gallery" / "small.md").read_text(encoding="utf-8")
    assert "at full size: 2 runs in " in page
    assert f"{100 * made.rows[0].metrics['miss_ratio']:.3g} %" in page
    assert re.findall(r"\((small--[^)]*\.svg)\)", page) == [path.name for path in (tmp_path / "gallery").glob("*.svg")]
    assert gallery.NOT_RUN in (tmp_path / "gallery" / "other.md").read_text(encoding="utf-8")
    (tmp_path / "results").rename(tmp_path / "gone")
    gallery.main(["--stored"])  # what stands on a page stays
    assert (tmp_path / "gallery" / "small.md").read_text(encoding="utf-8") == page
    gallery.main(["other"])  # and what is not there is run
    assert "at full size: 2 runs" in (tmp_path / "gallery" / "other.md").read_text(encoding="utf-8")


def test_a_study_without_its_trace_says_how_to_get_it(
    gallery: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gallery, "FOLDER", tmp_path / "gallery")
    monkeypatch.setattr(gallery, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(gallery, "LIBRARY", LIBRARY)
    monkeypatch.setattr(gallery, "overview", lambda: "")
    gallery.main(["kv-tiers"])
    assert "tiersim traces fetch public/mooncake-conversation" in capsys.readouterr().err
    assert "tiersim traces fetch public/mooncake-conversation" in (tmp_path / "gallery" / "kv-tiers.md").read_text()
