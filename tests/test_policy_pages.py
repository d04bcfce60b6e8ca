"""The pages of policies: all are there, their studies can be planned, and their steps can be gone through."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.expert_studies import write_trace
from tiersim._base.registry import index
from tiersim.experiments.plan import make_plan
from tiersim.experiments.worked import FAMILIES

DOCS = Path(__file__).parents[1] / "docs"
POLICIES = [(family, name) for family in FAMILIES for name, entry in index(family).items() if name == entry.name]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("policy_pages")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, made once."""
    folder: Path = tmp_path_factory.mktemp("docs") / "policies"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        module = importlib.import_module("policy_pages")
        patch.setattr(module, "FOLDER", folder)
        module.main()
    return folder


def test_each_policy_has_a_page_and_each_family_one_with_all(made: Path, pages: Any) -> None:
    found = {f"policies/{path.relative_to(made)}" for path in made.rglob("*.md")}
    assert found == set(pages.pages())
    assert {f"policies/{family}/{name}.md" for family, name in POLICIES} < found
    for family in FAMILIES:
        text = (made / family / "index.md").read_text(encoding="utf-8")
        assert all(f"]({name}.md)" in text for owner, name in POLICIES if owner == family)


def test_a_page_tells_all_that_the_register_knows(made: Path) -> None:
    text = (made / "object-replacement" / "s3-fifo.md").read_text(encoding="utf-8")
    assert "[doi:10.1145/3600006.3613147](https://doi.org/10.1145/3600006.3613147)" in text
    assert "| `move_at` | uses in the small queue that lead to the main one | a whole number | 1 to 3 | `2` |" in text
    assert "`policies/object/s3_fifo.py`" in text
    assert "| step | request | outcome | leaves | ghost | small | main |" in text
    for path in made.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in ("/home/", "/root/", "/tmp/", "<object ", "None") if word in text], path
        for target in re.findall(r"\]\(([^):]+\.md)\)", text):
            there = (path.parent / target).resolve()
            assert there.exists() or there.parent.name == "reference", (path, target)


@pytest.mark.parametrize(("family", "name"), POLICIES)
def test_its_study_can_be_planned(
    family: str, name: str, pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "expert" in family:
        write_trace(tmp_path / "my-routing.parquet", 1, sequences=20, layers=26, experts=64, active=6)
    text = pages.study(family, name)
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    assert f": {name}" in text.partition("scenario:")[2]
    assert make_plan(tmp_path / "study.yaml").runs


def test_steps_are_gone_through_by_buttons_and_keys(made: Path, tmp_path: Path) -> None:
    """The script alone on a bare table: rows are marked, and nothing is asked of a network."""
    browser_of = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    rows = "".join(f"<tr><td>{k}</td><td>{letter}</td></tr>" for k, letter in enumerate("ABC", start=1))
    script = (DOCS / "assets" / "steps.js").read_text(encoding="utf-8")
    head = "<thead><tr><th>step</th><th>line</th></tr></thead>"
    page_text = f"<table>{head}<tbody>{rows}</tbody></table><table><thead><tr><th>name</th></tr></thead></table>"
    (tmp_path / "page.html").write_text(f"<!doctype html>{page_text}<script>{script}</script>", encoding="utf-8")
    with browser_of.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=_chromium())
        except browser_of.Error as error:
            pytest.skip(f"no Chromium: {error}")
        page = browser.new_page()
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto((tmp_path / "page.html").as_uri())
        now = "tr.step-now td:first-child"
        assert page.locator(".stepper").count() == 1  # only tables of steps have one
        assert page.locator(now).count() == 0
        page.get_by_role("button", name="Next step").click()
        assert page.locator(now).inner_text() == "1"
        page.locator(".stepper").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")  # there is none after the last
        assert page.locator(now).inner_text() == "3"
        page.keyboard.press("ArrowLeft")
        assert (page.locator(now).inner_text(), page.locator("tr.step-later").count()) == ("2", 1)
        assert page.locator(".stepper span").inner_text() == "step 2 of 3"
        page.keyboard.press("Escape")
        assert page.locator("tr.step-later").count() == page.locator(now).count() == 0
        page.get_by_role("button", name="Show step after step").click()
        assert page.locator(now).inner_text() == "1"
        browser.close()
        assert troubles == []


def _chromium() -> str | None:
    """The Chromium of this machine; that of playwright where there is none."""
    import shutil

    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
