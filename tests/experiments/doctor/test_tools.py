"""What makes traces of traces, for every schema: nothing is lost unsaid, and what cannot be made is refused."""

from __future__ import annotations

import json
import math
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiersim._base.errors import StudyError, TraceError
from tiersim.cli import main
from tiersim.experiments.trace_forms import picked
from tiersim.experiments.trace_tools import annotate, convert, merge, sample, split
from tiersim.sim.requests import scattered
from tiersim.traces import Writer, stream_trace
from tiersim.traces.ragged import Ragged, joined
from tiersim.traces.readers.oracle_general import RECORD
from tiersim.traces.schema import REQUEST, SCHEMAS

NAN = float("nan")
COLUMNS: dict[str, dict[str, Any]] = {
    "access": {
        "address": [0, 64, 0, 9],
        "size": [4] * 4,
        "kind": [0, 1, 2, 3],
        "gap": [1, 2, 1, 5],
        "core": [1, 0, 2, 0],
    },
    "object": {"id": [1, 2, 1, 2**64 - 1], "time": [0, 1, 2, 2], "op": [0, 1, 2, 0]},
    "request": {
        "input": [4, 6, 8, 8],
        "output": [1, 2, 3, 0],
        "arrival": [0, 5, 9, 12_000_000_005],
        "blocks": [[2**64 - 1], [], [1, 2], [1, 2, 3]],
        "session": [1, 2, 1, 2],
        "status": [0, 0, 0, 1],
        "end": [7, 8, 3_000_000_001, 0],
        "pieces": [[5, 6], [], [1_500_000_000, 3_000_000_001], []],
    },
    "routing": {
        "layer": [0, 0, 1, 2],
        "token": [0, 1, 0, 7],
        "experts": [[1, 2], [2, 3], [], [5]],
        "phase": [0, 0, 0, 1],
    },
    "tree": {
        "tree": [1, 1, 1, 2],
        "node": [0, 1, 2, 0],
        "parent": [-1, 0, 0, -1],
        "step": [0, 1, 1, 0],
        "reward": [0.5, NAN, -1e300, 3.0],
        "text": ["so", "", '\N{EURO SIGN} "q"\n', "x"],
        "fate": [0, 0, 1, 0],
    },
    "query": {"text": ["a", "b, c", "", "a"], "group": [1, 2, 3, 1], "time": [0, 1, 2, 3]},
    "profile": {
        "operation": ["copy", "copy", 'a "b", c', ""],
        "mean": [5.0, 9.5, 0.1, 2.0],
        "deviation": [0, NAN, 1, 2],
    },
    "edge": {"source": [0, 1, 1, 2**64 - 1], "target": [1, 2, 1, 0], "weight": [1.0, -2.5, 0, 1]},
    "popularity": {
        "table": ["t", "t", "u", "u"],
        "above": [0, 1, 0, 1],
        "most": [1, 2**64 - 1, 1, 2**64 - 1],
        "rows": [0.75, 0.25, 0.5, 0.5],
        "accesses": [0.25, 0.75, 0.5, 0.5],
        "all_rows": [4, 4, 2, 2],
        "all_accesses": [12, 12, 3, 3],
    },
}
MERGED = sorted(set(SCHEMAS) - {"routing", "popularity"})


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def held(path: Path | str, **options: Any) -> dict[str, Any]:
    """The columns as plain lists, each number that is unknown as None."""
    trace = stream_trace(path, **options)
    chunks = list(trace.chunks())
    texts = {column.name for column in SCHEMAS[trace.schema].columns if column.text}
    made: dict[str, Any] = {}
    for name in chunks[0]:
        whole = joined([chunk[name] for chunk in chunks])
        if name in texts:
            made[name] = whole.strings
        elif isinstance(whole, Ragged):
            made[name] = [each.tolist() for each in whole]
        else:
            made[name] = known(whole.tolist())
    return made


def known(values: list[Any]) -> list[Any]:
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_there_and_back(schema: str, stored: Any) -> None:
    made = convert(stored(schema, **COLUMNS[schema]), Path("out.parquet"))
    assert (made.records, made.notes) == (4, [])
    assert held("out.parquet") == {name: known(values) for name, values in COLUMNS[schema].items()}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_json_lines(schema: str, stored: Any) -> None:
    made = convert(stored(schema, **COLUMNS[schema]), Path("out.jsonl"))
    assert "does not read JSON lines" in made.notes[0]
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    known_kinds = SCHEMAS[schema].kinds
    for name, values in COLUMNS[schema].items():
        found = [row[name] for row in rows]
        if name == SCHEMAS[schema].kind:
            assert found == [known_kinds[value] for value in values]
        elif name in ("time", "arrival", "end"):
            assert found == pytest.approx([value / 10**9 for value in values], abs=0)
        elif name == "pieces":
            assert [[round(value * 10**9) for value in each] for each in found] == values
        else:
            assert found == known(values)
    assert [row.keys() for row in rows] == [COLUMNS[schema].keys()] * 4


def test_times_are_exact(stored: Any) -> None:
    convert(stored("request", **COLUMNS["request"]), Path("out.jsonl"))
    assert '"arrival": 12.000000005,' in Path("out.jsonl").read_text()
    assert '"pieces": [1.500000000, 3.000000001]}' in Path("out.jsonl").read_text()


@pytest.mark.parametrize("schema", ["access", "object", "edge", "profile", "popularity"])
def test_tables(schema: str, stored: Any) -> None:
    import csv

    convert(stored(schema, **COLUMNS[schema]), Path("out.csv"))
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = SCHEMAS[schema].kinds
    for name, values in COLUMNS[schema].items():
        found = [row[name] for row in rows]
        if name == SCHEMAS[schema].kind:
            assert found == [kinds[value] for value in values]
        elif isinstance(values[0], str):
            assert found == values
        elif name == "time":
            assert [float(text) * 10**9 for text in found] == values
        else:
            assert [float(text) for text in found] == pytest.approx(values, nan_ok=True)


@pytest.mark.parametrize("schema", ["request", "routing"])
def test_lists_have_no_place_in_a_table(schema: str, stored: Any) -> None:
    path = stored(schema, **COLUMNS[schema])
    with pytest.raises(TraceError, match="holds lists") as caught:
        convert(path, Path("out.csv"))
    assert caught.value.remedy == "write .parquet or .jsonl"
    assert not Path("out.csv").exists()


# split and merge


@pytest.mark.parametrize("schema", MERGED)
def test_a_merge_of_a_split_is_the_trace(schema: str, stored: Any) -> None:
    path = stored(schema, **COLUMNS[schema])
    parts = split(path, "part-{}.parquet", parts=3).paths
    assert [len(next(iter(held(part).values()))) for part in parts] == [1, 1, 2]
    made = merge(parts, Path("out.parquet"), same_ids=True)
    assert made.records == 4
    assert held("out.parquet") == held(path)


LISTS = st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=4), st.integers(0, 20)), min_size=2, max_size=30)


@given(LISTS, st.integers(1, 8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_merge_by_arrival_is_a_sort(rows: list[tuple[list[int], int]], every: int) -> None:
    for old in Path().glob("*.parquet"):
        old.unlink()
    rows = sorted(rows, key=lambda row: row[1])
    with Writer("t.parquet", schema=REQUEST) as out:
        out.append(
            {
                "input": np.arange(len(rows), dtype=np.uint32),
                "output": np.zeros(len(rows), np.uint32),
                "arrival": np.array([row[1] for row in rows], np.int64),
                "blocks": Ragged.of([row[0] for row in rows]),
            }
        )
    parts = split("t.parquet", "{}.parquet", every=every).paths
    if len(parts) == 1:
        return
    merge(parts, Path("again.parquet"), same_ids=True)
    assert held("again.parquet") == held("t.parquet")
    # two of the same at once: at equal times those of the first file come first
    merge(["t.parquet", "t.parquet"], Path("twice.parquet"), same_ids=True)
    order = sorted([(row[1], file, at) for file in (0, 1) for at, row in enumerate(rows)])
    assert held("twice.parquet")["input"] == [at for _, _, at in order]
    assert held("twice.parquet")["blocks"] == [rows[at][0] for _, _, at in order]


def test_blocks_and_sessions_of_two_files(stored: Any) -> None:
    one = {"input": [4, 8], "output": [1, 1], "blocks": [[1], [1, 2]], "session": [7, 7]}
    a = stored("request", "a.parquet", **one)
    b = stored("request", "b.parquet", **one | {"blocks": [[3], []]})
    c = stored("request", "c.parquet", **one | {"blocks": [[3], []], "session": [8, 9]})
    with pytest.raises(TraceError, match=r"a.parquet has 2 blocks that a trace before it has too, such as 1"):
        merge([a, a], Path("out.parquet"))
    with pytest.raises(TraceError, match=r"b.parquet has 1 sessions that a trace before it has too, such as 7"):
        merge([a, b], Path("out.parquet"))
    merge([a, c], Path("apart.parquet"))
    assert held("apart.parquet")["session"] == [7, 7, 8, 9]
    merge([a, a], Path("separate.parquet"), separate_ids=True)
    found = held("separate.parquet")
    first, again, second, more = found["blocks"]
    assert first[0] == again[0]
    assert second[0] == more[0]
    assert len({*again, *more}) == 4
    assert len(set(found["session"])) == 2
    merge([a, a], Path("same.parquet"), same_ids=True)
    assert held("same.parquet")["blocks"] == one["blocks"] * 2


@pytest.mark.parametrize(
    ("schema", "what"), [("tree", "trees"), ("query", "groups"), ("edge", "nodes"), ("access", "addresses")]
)
def test_what_is_numbered_by_each_file(schema: str, what: str, stored: Any) -> None:
    columns = {name: values for name, values in COLUMNS[schema].items() if name != "core"}
    path = stored(schema, **columns)
    with pytest.raises(TraceError, match=f" {what} that a trace before it has too"):
        merge([path, path], Path("out.parquet"))
    merge([path, path], Path("out.parquet"), separate_ids=True)
    assert len(held("out.parquet")) == len(columns) + (schema == "access")


def test_what_one_of_them_lacks(stored: Any) -> None:
    a = stored("request", "a.parquet", input=[1], output=[1], arrival=[3], session=[1], status=[1])
    b = stored("request", "b.parquet", input=[2], output=[1], session=[2], model=[5])
    made = merge([a, b], Path("out.parquet"))
    assert held("out.parquet") == {"input": [1, 2], "output": [1, 1], "session": [1, 2], "status": [1, 0]}
    assert made.notes == [
        "not all have times: they come one after the other, without times",
        "not all have the column model: it is left out",
        "one after the other",
    ]


def test_merged_instructions_add_up(stored: Any) -> None:
    names = []
    for place, tail in enumerate((5, 0, 7)):
        path = stored("access", f"{place}.parquet", address=[64 * place], size=[4], kind=[0], gap=[10 + place])
        again = Path(f"{place}-with-tail.parquet")
        with Writer(again) as out:
            out.append(next(stream_trace(path).chunks()))
            out.tail_instructions = tail
        names.append(again)
    merge(names, Path("out.parquet"))
    assert held("out.parquet")["gap"] == [10, 11 + 5, 12]
    assert stream_trace("out.parquet").instructions == sum(stream_trace(name).instructions for name in names) == 45
    with Writer("long.parquet") as out:
        out.append(next(stream_trace(names[0]).chunks()))
        out.tail_instructions = 2**32 - 12
    merge(["long.parquet", names[1]], Path("fits.parquet"), same_ids=True)
    assert held("fits.parquet")["gap"][1] == 2**32 - 1
    with pytest.raises(TraceError, match="instructions or more lie before the first access of 2-with"):
        merge(["long.parquet", names[2]], Path("more.parquet"), same_ids=True)


@pytest.mark.parametrize("schema", ["routing", "popularity"])
def test_what_cannot_be_merged(schema: str, stored: Any) -> None:
    path = stored(schema, **COLUMNS[schema])
    with pytest.raises(TraceError, match="cannot be merged"):
        merge([path, path], Path("out.parquet"), same_ids=True)
    assert not Path("out.parquet").exists()


# sample


def test_sample_of_sessions(stored: Any) -> None:
    rng = np.random.default_rng(5)
    session = np.sort(rng.integers(0, 400, 3000))
    # turns of a session have the blocks of the turns before, after one that all share
    turn = np.arange(3000) - np.searchsorted(session, session)
    blocks = [
        [0, *(1000 * one + at for at in range(1, 2 + many))] for one, many in zip(session.tolist(), turn.tolist())
    ]
    columns: dict[str, Any] = {"input": [4 * len(each) for each in blocks], "output": [1] * 3000}
    path = stored("request", **columns, blocks=blocks, session=session.tolist())
    made = sample(path, Path("out.parquet"), 0.25, seed=3)
    chosen = np.flatnonzero(scattered(session.astype(np.uint64), 3) < np.uint64(2**62))
    assert held("out.parquet")["session"] == session[chosen].tolist()
    assert held("out.parquet")["blocks"] == [blocks[at] for at in chosen]
    assert made.notes[0] == f"{len(chosen):,} of 3,000 requests: whole sessions"
    assert "LRU's hit ratio of blocks at 10 sizes, against that of the whole trace: at most" in made.notes[1]
    # a prompt has one new block, but for a first turn, which has the shared one for nothing
    new, all_blocks = len(chosen) + 1, sum(len(blocks[at]) for at in chosen)
    assert f"{100 * (1 - new / all_blocks):.2f} % of blocks, " in made.notes[2]
    assert f"{100 * (1 - 3001 / sum(map(len, blocks))):.2f} % in the whole" in made.notes[2]


def test_sample_of_requests(stored: Any) -> None:
    path = stored("request", input=list(range(1000)), output=[0] * 1000)
    made = sample(path, Path("out.parquet"), 0.5)
    chosen = scattered(np.arange(1000, dtype=np.uint64), 0) < np.uint64(2**63)
    assert held("out.parquet")["input"] == np.flatnonzero(chosen).tolist()
    assert "one by one" in made.notes[0]
    assert "blocks are not known" in made.notes[1]
    with pytest.raises(TraceError, match="not one of 1,000 requests is sampled"):
        sample(path, Path("none.parquet"), 1e-12)
    assert not Path("none.parquet").exists()


def test_a_whole_sample_has_no_error(stored: Any) -> None:
    blocks = [[0, at % 7 + 1] for at in range(500)]
    path = stored("request", input=[8] * 500, output=[0] * 500, blocks=blocks)
    made = sample(path, Path("out.parquet"), 1 - 1e-15)
    assert made.records == 500
    assert "at most 0.00 points off" in made.notes[1]


@pytest.mark.parametrize("schema", ["routing", "tree", "query", "profile", "edge", "popularity"])
def test_what_cannot_be_sampled(schema: str, stored: Any) -> None:
    with pytest.raises(TraceError, match="of which a share tells nothing of all") as caught:
        sample(stored(schema, **COLUMNS[schema]), Path("out.parquet"), 0.5)
    assert "traces split" in caught.value.remedy


# annotate


def next_uses(ids: list[int]) -> list[int]:
    return [next((later for later in range(at + 1, len(ids)) if ids[later] == ids[at]), -1) for at in range(len(ids))]


def test_next_use_of_blocks(stored: Any) -> None:
    path = stored("request", **COLUMNS["request"])
    made = annotate(path, Path("out.oracleGeneral"))
    rows = np.fromfile("out.oracleGeneral", RECORD)
    ids = list(chain(*COLUMNS["request"]["blocks"]))
    assert (rows["id"].tolist(), rows["next"].tolist()) == (ids, next_uses(ids))
    assert rows["time"].tolist() == [0, 0, 0, 12, 12, 12]
    assert "each block of a prompt" in made.notes[0]
    bare = stored("request", "b.parquet", input=[1], output=[1])
    with pytest.raises(TraceError, match="name no blocks"):
        annotate(bare, Path("b.oracleGeneral"))
    empty = stored("request", "e.parquet", input=[1], output=[1], blocks=[[]])
    with pytest.raises(TraceError, match="not one block"):
        annotate(empty, Path("b.oracleGeneral"))
    assert not Path("b.oracleGeneral").exists()


def test_next_use_of_experts(stored: Any) -> None:
    path = stored(
        "routing", layer=[0, 1, 0, 0], token=[0, 0, 1, 2], experts=[[1, 2], [1, 3], [2, 1], [1]], phase=[0, 0, 0, 1]
    )
    annotate(path, Path("out.oracleGeneral"))
    rows = np.fromfile("out.oracleGeneral", RECORD)
    ids = [1, 2, 65536 + 1, 65536 + 3, 2, 1]
    assert (rows["id"].tolist(), rows["next"].tolist()) == (ids, next_uses(ids))


@pytest.mark.parametrize("schema", ["access", "tree", "query", "profile", "edge", "popularity"])
def test_what_has_no_next_use(schema: str, stored: Any) -> None:
    with pytest.raises(StudyError, match="requests for objects"):
        annotate(stored(schema, **COLUMNS[schema]), Path("out.oracleGeneral"))


# the rest


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=12), st.randoms())
def test_picked(lists: list[list[int]], random: Any) -> None:
    rows = [random.randrange(len(lists)) for _ in range(random.randrange(20))]
    found = picked({"a": np.arange(len(lists)), "b": Ragged.of(lists)}, np.array(rows, np.intp))
    assert found["a"].tolist() == rows
    assert [each.tolist() for each in found["b"]] == [lists[row] for row in rows]


def test_commands_print_json(stored: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(stored("request", **COLUMNS["request"]))
    for arguments, paths in (
        (["convert", path, "c.jsonl"], ["c.jsonl"]),
        (["sample", path, "s.parquet", "--share", "99.9999999%"], ["s.parquet"]),
        (["split", path, "--parts", "2", "--out", "p{}.parquet"], ["p1.parquet", "p2.parquet"]),
        (["merge", path, path, "m.parquet", "--separate-ids"], ["m.parquet"]),
        (["annotate", path, "a.oracleGeneral"], ["a.oracleGeneral"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["traces", *arguments, "--json", "--quiet"])
        assert not ended.value.code
        told = json.loads(capsys.readouterr().out)
        assert (sorted(told), told["paths"]) == (["notes", "paths", "records"], paths)
        assert all(Path(name).exists() for name in paths)
