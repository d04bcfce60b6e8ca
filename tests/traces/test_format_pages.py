"""The pages on trace formats: each format has one, its examples are read as it says, and the index lists them all."""

from __future__ import annotations

import dataclasses
import os
import re
import runpy
import shlex
from pathlib import Path

import pytest

from tiersim._base.registry import index, load
from tiersim.cli import main
from tiersim.experiments.replays import value_of
from tiersim.traces import stream_trace
from tiersim.traces.fetch import public
from tiersim.traces.schema import SCHEMAS

PAGES = Path(__file__).parents[2] / "docs" / "formats"
READERS = sorted({entry.name for entry in index("reader").values()})
FORMATS = [*READERS, "tiersim"]
HEADINGS = ["What a record holds", "How to make one", "Traps"]
BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
CHECK = "tiersim traces check "
OPTION = re.compile(r"--option (\w+)=")
PUBLISHED = re.compile(r"public/[\w-]+")
MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")


def page(name: str) -> str:
    path = PAGES / f"{name}.md"
    assert path.exists(), f"the format {name} has no page docs/formats/{name}.md"
    return path.read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """What stands under a heading."""
    return page(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def commands(name: str) -> list[list[str]]:
    """The arguments of each call of tiersim on the example."""
    consoles = [block["text"] for block in BLOCK.finditer(page(name)) if block["language"] == "console"]
    lines = [line for text in consoles for line in text.splitlines() if line.startswith(CHECK)]
    assert lines, f"no block of the page calls `{CHECK}`"
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of who follows a page; nothing is found in a mirror."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)
    return tmp_path


def make(name: str, folder: Path) -> None:
    """Every example of a page, written or made by its program."""
    titled = [block for block in BLOCK.finditer(page(name)) if block["title"]]
    assert titled, "the page has no example"
    for block in titled:
        path = folder / block["title"]
        assert path.parent == folder
        path.write_text(block["text"], encoding="utf-8")
        if block["language"] == "python":
            runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("name", FORMATS)
def test_form_of_a_page(name: str) -> None:
    text = page(name)
    assert text.startswith("# ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert "| ---" in section(name, HEADINGS[0]) or "|---" in section(name, HEADINGS[0])
    assert section(name, HEADINGS[2]).strip()
    source = text.rstrip().rpartition("\n\n")[2]
    assert source.startswith("Source: ")
    assert re.search(r"\]\((https?://|\.\./)", source), "the last lines link to the source"


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_is_what_the_page_says(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(name, folder)
    for arguments in commands(name):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--quiet"])
        held = capsys.readouterr()
        assert not ended.value.code, held.err
        assert re.match(rf"\S+: {re.escape(name)}, [\d,]+ records\n", held.out), held.out


@pytest.mark.parametrize("name", FORMATS)
def test_the_table_tells_every_column(name: str, folder: Path) -> None:
    make(name, folder)
    file, *options = commands(name)[0][2:]
    told = {key: value_of(value) for key, _, value in (text.partition("=") for text in options if "=" in text)}
    trace = stream_trace(file, format=None if name == "tiersim" else name, **told)
    table = "\n".join(line for line in section(name, HEADINGS[0]).splitlines() if line.startswith("|"))
    columns = next(iter(trace.chunks()))
    assert [column for column in columns if f"`{column}`" not in table] == []


@pytest.mark.parametrize("name", READERS)
def test_options_on_a_page_are_options_of_the_reader(name: str) -> None:
    known = {field.name for field in dataclasses.fields(load("reader", name))}
    assert set(OPTION.findall(page(name))) <= known


@pytest.mark.parametrize("name", FORMATS)
def test_published_traces_on_a_page_exist(name: str) -> None:
    assert set(PUBLISHED.findall(page(name))) <= set(public())


@pytest.mark.parametrize("name", FORMATS)
def test_published_traces_on_a_page_are_of_the_format(name: str) -> None:
    named = PUBLISHED.findall(section(name, HEADINGS[1]))
    if named and not MIRROR.is_dir():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder of traces")
    told = name if all("--format" in arguments for arguments in commands(name)) else None
    for item in (public()[each] for each in named):
        trace = stream_trace(MIRROR / item.packed, format=item.format or told, **item.options)
        assert trace.provenance["reader"] == name


def test_the_page_of_our_own_form_has_every_schema() -> None:
    text = section("tiersim", HEADINGS[0])
    for schema in SCHEMAS.values():
        assert f"### {schema.name}\n" in text
        table = text.partition(f"### {schema.name}\n")[2].partition("\n### ")[0]
        for column in schema.columns:
            kind = "text" if column.text else f"list of {column.dtype}" if column.ragged else column.dtype
            unit = "" if column.unit in ("1", "UTF-8") else f" {column.unit}"
            assert f"\n| `{column.name}` | {kind} |{unit} |" in table, column


@pytest.mark.parametrize("name", FORMATS)
def test_the_index_lists_every_format(name: str) -> None:
    text = (PAGES / "index.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| [`{name}`]({name}.md) |")]
    if any("--format" in arguments for arguments in commands(name)):
        assert "`--format`" in row
