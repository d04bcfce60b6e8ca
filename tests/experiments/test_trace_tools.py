"""`tiersim traces convert`, `sample`, `split`, `merge` and `annotate`: nothing is lost unsaid, nothing half written."""

from __future__ import annotations

import gzip
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiersim._base.errors import StudyError, TraceError
from tiersim.cli import main
from tiersim.experiments.miss_ratio_curve import miss_ratio_curve
from tiersim.experiments.trace_tools import annotate, convert, merge, sample, split
from tiersim.sim.requests import scattered
from tiersim.traces import Writer, stream_trace
from tiersim.traces.readers.oracle_general import RECORD
from tiersim.traces.schema import OBJECT

RICH: dict[str, Any] = {
    "id": [5, 2**64 - 1, 5, 9, 5, 9],
    "time": [0, 1, 1_500_000_000, 2_000_000_000, 2_000_000_001, 7_000_000_000],
    "size": [1, 2**40, 3, 0, 5, 6],
    "op": [0, 1, 2, 3, 4, 0],
    "ttl": [0, 1_000_000, 0, 0, 0, 0],
    "tenant": [0, 1, 2, 3, 4, 2**32 - 1],
    "cost": [1.0, 0.1, 1e300, 1, 1, 1],
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stored(name: str, **columns: Any) -> Path:
    with Writer(name, schema=OBJECT) as out:
        out.append({column.name: np.array(columns[column.name], column.dtype) for column in OBJECT.present(columns)})
    return Path(name)


def accesses(name: str, address: list[int], gap: list[int], tail: int = 0) -> Path:
    with Writer(name) as out:
        out.append(
            {
                "address": np.array(address, np.uint64),
                "size": np.full(len(address), 4, np.uint16),
                "kind": np.arange(len(address)).astype(np.uint8) % 4,
                "gap": np.array(gap, np.uint32),
            }
        )
        out.tail_instructions = tail
    return Path(name)


def held(path: Path | str, **options: Any) -> dict[str, list[Any]]:
    chunks = list(stream_trace(path, **options).chunks())
    return {name: np.concatenate([chunk[name] for chunk in chunks]).tolist() for name in chunks[0]}


def left() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["traces", *arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


# convert and annotate


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_there_and_back(out: str) -> None:
    made = convert(stored("t.parquet", **RICH), Path(out))
    assert (made.records, made.notes) == (6, [])
    assert held(out) == RICH
    assert left() == [out, "t.parquet"]


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 9) | st.sampled_from([2**40, 2**62]), min_size=1, max_size=60), st.sampled_from([1, 7, 64])
)
def test_spread_times(values: list[int], size: int) -> None:
    values.sort()
    rows = [(time, values.count(time), values[:at].count(time)) for at, time in enumerate(values)]
    later = {time: min((other for other in values if other > time), default=time) for time in values}
    wanted = [time + (later[time] - time) * place // count for time, count, place in rows]
    for path in Path().glob("*.parquet"):
        path.unlink()
    stored("t.parquet", id=range(len(values)), time=values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tiersim.experiments.trace_doctor.CHUNK", size)  # so that chunks end everywhere
        made = convert("t.parquet", Path("out.parquet"), spread_times=True)
    assert made.records == len(values)
    assert held("out.parquet") == {"id": list(range(len(values))), "time": wanted}


def test_times_that_cannot_be_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TraceError, match="time goes back at record 3"):
        convert(stored("a.parquet", id=[1, 2, 3], time=[5, 6, 1]), Path("out.parquet"), spread_times=True)
    with pytest.raises(TraceError, match="has no times"):
        convert(stored("b.parquet", id=[1, 2]), Path("out.parquet"), spread_times=True)
    monkeypatch.setattr("tiersim.experiments.trace_tools.AT_ONCE", 2)
    with pytest.raises(TraceError, match="more than 2 records have the time of record 2"):
        convert(stored("c.parquet", id=[1, 2, 3, 4], time=[0, 1, 1, 1]), Path("out.parquet"), spread_times=True)
    assert left() == ["a.parquet", "b.parquet", "c.parquet"]


def test_a_spread_clock_is_coarse_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text("time,key\n" + "".join(f"{place // 4},{place % 3}\n" for place in range(40)))
    status, out, _ = cli(capsys, "check", "t.csv", "--quiet")
    assert "`tiersim traces convert --spread-times` spreads it evenly" in out
    status, _, _ = cli(capsys, "convert", "t.csv", "s.csv", "--spread-times", "--quiet")
    assert status == 0
    status, out, _ = cli(capsys, "check", "s.csv", "--quiet")
    assert "coarse" not in out


def test_times_in_a_table_have_no_exponent() -> None:
    convert(stored("t.parquet", id=[7, 8], time=[0, 12_000_000_005]), Path("out.csv"))
    assert Path("out.csv").read_text().splitlines()[1:] == ["7,0.000000000", "8,12.000000005"]


def test_keys_alone_in_a_table() -> None:
    convert(stored("t.parquet", id=[7, 8, 7]), Path("out.csv"))
    assert held("out.csv") == {"id": [7, 8, 7], "size": [1, 1, 1]}


def test_accesses_in_a_table() -> None:
    made = convert(accesses("t.parquet", [1, 2, 3], [1, 1, 1]), Path("out.csv"))
    lines = Path("out.csv").read_text().splitlines()
    assert [line.replace('"', "") for line in lines] == [
        "address,size,kind,gap",
        "1,4,load,1",
        "2,4,store,1",
        "3,4,modify,1",
    ]
    assert "does not read CSV of access records" in made.notes[0]


@pytest.mark.parametrize("name", ["out.oracleGeneral", "out.oracleGeneral.bin"])
def test_next_use(name: str) -> None:
    ids = (np.random.default_rng(2).zipf(1.2, 3000) % 200).tolist()
    path = stored("t.parquet", id=ids, time=np.arange(3000) * 500_000_000, size=[key % 7 for key in ids], op=[1] * 3000)
    made = annotate(path, Path(name))
    assert [note.split()[0] for note in made.notes] == ["op", "times"]
    rows = np.fromfile(name, RECORD)
    after = dict.fromkeys(ids, -1)
    for at in range(2999, -1, -1):
        assert rows["next"][at] == after[ids[at]]
        after[ids[at]] = at
    assert rows["time"].tolist() == [at // 2 for at in range(3000)]
    again = held(name, format="oracle-general")
    assert again["id"] == ids
    assert again["size"] == [key % 7 for key in ids]


def test_without_times_and_sizes() -> None:
    annotate(stored("t.parquet", id=[4, 6, 4]), Path("out.oracleGeneral"))
    assert np.fromfile("out.oracleGeneral", RECORD).tolist() == [(0, 4, 1, 2), (0, 6, 1, -1), (0, 4, 1, -1)]


def test_what_does_not_fit() -> None:
    for columns, said in [
        ({"op": [0, 2]}, "record 2 is a delete"),
        ({"size": [1, 2**32]}, "record 2 has a size of 4,294,967,296"),
        ({"time": [0, 2**32 * 10**9]}, "record 2 has a time of"),
    ]:
        path = stored("t.parquet", id=[1, 2], **columns)
        with pytest.raises(TraceError, match=said):
            convert(path, Path("out.oracleGeneral"))
        assert left() == ["t.parquet"]
    with pytest.raises(StudyError, match="requests for objects"):
        annotate("captured/sort", Path("out.oracleGeneral"))
    with pytest.raises(StudyError, match="oracleGeneral only"):
        annotate(path, Path("out.csv"))


def test_instructions_are_kept() -> None:
    convert(accesses("t.parquet", [1, 2, 3], [5, 6, 7], tail=9), Path("out.parquet"))
    assert stream_trace("out.parquet").instructions == 27


def test_nothing_is_overwritten() -> None:
    path = stored("1.parquet", id=[1, 2])
    before = path.read_bytes()
    for make in (
        lambda: convert(path, path),
        lambda: sample(path, path, 0.5),
        lambda: merge([path, path], path),
        lambda: split(path, "{}.parquet", parts=2),
    ):
        with pytest.raises(StudyError, match="exists already"):
            make()
    assert path.read_bytes() == before
    with pytest.raises(StudyError, match="in which form"):
        convert(path, Path("out.txt"))
    with pytest.raises(StudyError, match="there is no folder"):
        convert(path, Path("none/out.csv"))
    assert left() == ["1.parquet"]


@pytest.mark.parametrize("out", ["out.csv", "out.parquet", "out.oracleGeneral"])
def test_a_damaged_trace_leaves_nothing(out: str) -> None:
    whole = gzip.compress("".join(f"{key * key % 99_991}\n" for key in range(300_000)).encode())
    Path("t.txt.gz").write_bytes(whole[: len(whole) // 2])
    for make in (
        lambda: convert("t.txt.gz", Path(out)),
        lambda: sample("t.txt.gz", Path(out), 0.5),
        lambda: merge(["t.txt.gz", "t.txt.gz"], Path(out), same_ids=True),
        lambda: split("t.txt.gz", f"{{}}{out}", every=50_000),
    ):
        with pytest.raises(TraceError, match="breaks off"):
            make()
        assert left() == ["t.txt.gz"]


# sample


def test_sample_is_by_key() -> None:
    ids = (np.random.default_rng(5).zipf(1.1, 60_000) % 20_000).astype(np.uint64)
    made = sample(stored("t.parquet", id=ids, size=ids % 9 + 1), Path("out.parquet"), 0.25, seed=3)
    chosen = scattered(ids, 3) < np.uint64(2**62)
    assert held("out.parquet") == {"id": ids[chosen].tolist(), "size": (ids[chosen] % 9 + 1).tolist()}
    assert made.records == int(chosen.sum())
    curve = miss_ratio_curve("t.parquet", "lru", points=10, share=0.25, seed=3)
    assert curve.error is not None
    assert f"at most {100 * max(curve.error):.2f} points" in made.notes[1]
    sample("t.parquet", Path("other.parquet"), 0.25, seed=4)
    assert held("other.parquet") != held("out.parquet")


def test_sample_of_accesses_keeps_instructions() -> None:
    address = list(range(0, 64_000, 16))
    sample(accesses("t.parquet", address, list(range(1, 4001)), tail=11), Path("out.parquet"), 0.1)
    found = stream_trace("out.parquet")
    assert found.instructions == stream_trace("t.parquet").instructions == sum(range(4001)) + 11
    kept = held("out.parquet")
    # each record's gap reaches back to the record kept before
    place = [at // 16 for at in kept["address"]]
    assert np.cumsum(kept["gap"]).tolist() == [(at + 1) * (at + 2) // 2 for at in place]
    assert {at // 64 for at in kept["address"]} == {
        line for line in range(1000) if scattered(np.array([line], np.uint64), 0)[0] < np.uint64(int(0.1 * 2**64))
    }


def test_samples_that_cannot_be() -> None:
    path = stored("t.parquet", id=[1, 2, 3])
    with pytest.raises(TraceError, match="not one of 3 requests"):
        sample(path, Path("out.parquet"), 1e-9)
    for share in (0, 1, 2):
        with pytest.raises(StudyError, match="no part of the objects"):
            sample(path, Path("out.parquet"), share)
    assert left() == ["t.parquet"]


# split


@pytest.mark.parametrize(
    ("given", "sizes"), [({"parts": 3}, [3, 3, 4]), ({"every": 4}, [4, 4, 2]), ({"every": 99}, [10])]
)
@pytest.mark.parametrize("foreign", [False, True])
def test_split(given: dict[str, int], sizes: list[int], foreign: bool) -> None:
    source = accesses("t.parquet", list(range(10)), [2] * 10, tail=5)
    if foreign:
        source = Path("t.txt")
        source.write_text("".join(f"{key}\n" for key in range(10)))
    made = split(source, "part-{:02}.parquet", **given)
    assert [path.name for path in made.paths] == [f"part-{number:02}.parquet" for number in range(1, len(sizes) + 1)]
    found = [held(path)["id" if foreign else "address"] for path in made.paths]
    assert [len(part) for part in found] == sizes
    assert list(chain(*found)) == list(range(10))
    assert made.records == 10
    if not foreign:
        assert [stream_trace(path).instructions for path in made.paths] == [
            2 * size + (5 if path == made.paths[-1] else 0) for size, path in zip(sizes, made.paths)
        ]


def test_split_across_chunks() -> None:
    made = split("generated/zipf-objects", "{}.parquet", parts=7)
    whole = held("generated/zipf-objects")["id"]
    assert list(chain(*(held(path)["id"] for path in made.paths))) == whole


def test_splits_that_cannot_be() -> None:
    path = stored("t.parquet", id=[1, 2, 3])
    for pattern in ("part.parquet", "{x}.parquet", "{.parquet", "{0.x}.parquet"):
        with pytest.raises(StudyError, match="does not name every part"):
            split(path, pattern, parts=2)
    with pytest.raises(StudyError, match="do not make 4 parts"):
        split(path, "{}.parquet", parts=4)
    with pytest.raises(StudyError, match="give one of them"):
        split(path, "{}.parquet")
    Path("2.parquet").touch()
    with pytest.raises(StudyError, match="exists already"):
        split(path, "{}.parquet", parts=3)
    assert left() == ["2.parquet", "t.parquet"]


# merge


def test_merge_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiersim.experiments.trace_doctor.CHUNK", 7)  # so that chunks end everywhere
    rng = np.random.default_rng(8)
    times = [np.sort(rng.integers(0, 60, count)) for count in (100, 33, 250)]
    paths = [
        stored(f"{place}.parquet", id=np.arange(len(time)) + 1000 * place, time=time)
        for place, time in enumerate(times)
    ]
    made = merge(paths, Path("out.parquet"))
    rows = sorted(
        ((int(time), place, at) for place, held_ in enumerate(times) for at, time in enumerate(held_)),
    )
    assert held("out.parquet") == {"id": [1000 * place + at for _, place, at in rows], "time": [row[0] for row in rows]}
    assert made.notes[0] == "merged by time"
    assert made.records == 383


@pytest.mark.parametrize(("times", "told"), [([0, 0], True), ([0, 5], False), ([5, 6, 0], False), ([0, 5, 0], True)])
def test_merge_tells_that_each_counts_from_its_own_first_record(times: list[int], told: bool) -> None:
    paths = [stored(f"{place}.parquet", id=[place], time=[time]) for place, time in enumerate(times)]
    by_time, *more = merge(paths, Path("out.parquet")).notes
    assert by_time == "merged by time"
    assert [note.startswith("times count from each trace's own first record") for note in more] == [True] * told


def test_merge_tells_of_logs_that_began_at_different_moments() -> None:
    for name, begin in (("one.csv", 100), ("two.csv", 160)):
        Path(name).write_text("time,key\n" + "".join(f"{begin + step},{name}{step}\n" for step in range(3)))
    made = merge(["one.csv", "two.csv"], Path("out.parquet"))
    assert held("out.parquet")["time"] == [0, 0, 10**9, 10**9, 2 * 10**9, 2 * 10**9]  # not a minute apart
    assert "put the lines of their files into one, sort it" in made.notes[1]


def test_merge_one_after_the_other() -> None:
    stored("a.parquet", id=[1, 2], time=[5, 6], tenant=[3, 4])
    stored("b.parquet", id=[3, 4], size=[8, 9])
    made = merge(["a.parquet", "b.parquet"], Path("out.parquet"))
    assert held("out.parquet") == {"id": [1, 2, 3, 4], "size": [1, 1, 8, 9], "tenant": [3, 4, 0, 0]}
    assert "without times" in made.notes[0]


def test_equal_ids() -> None:
    stored("a.parquet", id=[1, 2, 1])
    stored("b.parquet", id=[2, 3])
    with pytest.raises(TraceError, match=r"b.parquet has 1 ids that a trace before it has too, such as 2") as caught:
        merge(["a.parquet", "b.parquet"], Path("out.parquet"))
    assert "--separate-ids" in caught.value.remedy
    merge(["a.parquet", "b.parquet"], Path("same.parquet"), same_ids=True)
    assert held("same.parquet")["id"] == [1, 2, 1, 2, 3]
    merge(["a.parquet", "b.parquet"], Path("separate.parquet"), separate_ids=True)
    ids = held("separate.parquet")["id"]
    assert ids[0] == ids[2]
    assert len(set(ids)) == 4
    accesses("c.parquet", [64, 128], [1, 1])
    merge(["c.parquet", "c.parquet"], Path("spaces.parquet"), separate_ids=True)
    assert held("spaces.parquet")["asid"] == [0, 0, 1, 1]


def test_merges_that_cannot_be() -> None:
    stored("a.parquet", id=[1, 2], time=[6, 5])
    stored("b.parquet", id=[3], time=[1])
    accesses("c.parquet", [1], [1])
    for traces, said in [
        (["a.parquet", "b.parquet"], "a.parquet: time goes back"),
        (["a.parquet", "c.parquet"], "c.parquet has access records"),
        (["a.parquet"], "two traces or more"),
        (["a.parquet", "none"], "there is no trace"),
    ]:
        with pytest.raises((TraceError, StudyError), match=said):
            merge(traces, Path("out.parquet"))
    with pytest.raises(StudyError, match="one of"):
        merge(["a.parquet", "b.parquet"], Path("out.parquet"), same_ids=True, separate_ids=True)
    assert left() == ["a.parquet", "b.parquet", "c.parquet"]


# the command line


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    stored("t.parquet", id=np.arange(4000) % 500, time=np.arange(4000) * 10**9)
    status, out, _ = cli(capsys, "convert", "t.parquet", "t.csv", "--quiet")
    assert (status, out) == (0, "t.csv\n4,000 records\n")
    status, out, _ = cli(capsys, "sample", "t.csv", "s.parquet", "--share", "50%", "--quiet")
    assert status == 0
    assert "standard error of LRU's miss ratio at 10 sizes: at most" in out
    status, out, _ = cli(capsys, "split", "t.csv", "--every", "1k", "--out", "p{}.csv", "--quiet")
    assert out.splitlines() == ["p1.csv", "p2.csv", "p3.csv", "p4.csv", "4,000 records"]
    status, out, _ = cli(capsys, "merge", "p1.csv", "p2.csv", "m.csv", "--separate-ids", "--quiet")
    assert (status, out.splitlines()[:3]) == (0, ["m.csv", "2,000 records", "note: merged by time"])
    status, out, _ = cli(capsys, "annotate", "t.csv", "t.oracleGeneral", "--quiet")
    assert (status, out) == (0, "t.oracleGeneral\n4,000 records\n")
    for wrong in (
        ("convert", "t.csv", "t.csv"),
        ("merge", "p1.csv", "p2.csv", "n.csv"),
        ("sample", "t.csv", "u.csv", "--share", "3 GiB"),
        ("split", "t.csv", "--every", "0", "--out", "q{}.csv"),
        ("split", "t.csv", "--out", "q{}.csv"),
        ("annotate", "none", "u.oracleGeneral"),
        ("merge", "u.csv"),
    ):
        status, out, err = cli(capsys, *wrong, "--quiet")
        assert (status, out) == (2, ""), wrong
        assert "Traceback" not in err
