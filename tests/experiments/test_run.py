"""Running studies: the same bytes each time, what is kept and made again, and what bad input leaves behind."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tiersim
from tiersim._base.errors import AuditError, PolicyError, StudyError, TiersimError
from tiersim.experiments import runner
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.scenarios.memory_hierarchy import MemoryHierarchy
from tiersim.experiments.store import Parts, read_table, write_bytes
from tiersim.traces.store import Writer

STUDY = """\
# How large must it be?
study: small
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 20k, footprint: 256 KiB, write_share: 20 %, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 1 ns}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
what_if:
  twice: {system.caches.l1.capacity: 8 KiB}
sweep:
  system.memory.latency: [80 ns, 120 ns]
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(STUDY, encoding="utf-8")


def content(folder: str | Path) -> dict[str, bytes]:
    """Every file under the byte contract."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    return {name: held for name, held in found.items() if name != "log.json"}


def simulations(folder: str | Path) -> int:
    made: int = json.loads((Path(folder) / "log.json").read_text())["simulations"]
    return made


def test_a_study_gives_rows_metrics_and_a_folder() -> None:
    result = tiersim.run("s.yaml")
    assert result.study == "small"
    assert result.question == "How large must it be?"
    assert [row.label for row in result.rows] == [
        "base, latency 80 ns",
        "base, latency 120 ns",
        "twice, latency 80 ns",
        "twice, latency 120 ns",
    ]
    assert {row.status for row in result.rows} == {"done"}
    base, slower, twice, _ = (row.metrics for row in result.rows)
    assert base["accesses"] == base["caches.l1.reads"] + base["caches.l1.writes"] == 20_000
    assert twice["caches.l1.misses"] < base["caches.l1.misses"]
    assert base["average_access_time"] == pytest.approx(1 + 80 * base["memory.reads"] / 20_000)
    assert slower["average_access_time"] == pytest.approx(1 + 120 * base["memory.reads"] / 20_000)
    assert {name.split("/")[0] for name in content("results/small")} == {
        "resolved.yaml",
        "study.json",
        "runs.csv",
        "runs",
    }
    assert not list(Path("results").rglob(".*"))  # no draft is left


def test_runs_that_differ_in_latency_share_a_simulation() -> None:
    tiersim.run("s.yaml")
    assert simulations("results/small") == 2


def test_the_same_study_gives_the_same_bytes_on_one_worker_and_on_two() -> None:
    for out, workers in (("a", 1), ("b", 1), ("c", 2)):
        tiersim.run("s.yaml", out=out, workers=workers)
        assert simulations(out) == 2
    assert len(content("a")) == 7  # three files, and a part for each run
    assert content("a") == content("b") == content("c")


def test_a_file_and_a_dict_give_the_same_runs() -> None:
    study: dict[str, Any] = {
        "study": "small",
        "scenario": "memory-hierarchy",
        "trace": {"use": "generated/zipf", "records": "20k", "footprint": "256 KiB", "write_share": "20 %", "seed": 1},
        "system": {
            "caches": {"l1": {"capacity": "4 KiB", "ways": 4, "latency": "1 ns"}},
            "memory": {"latency": "80 ns"},
            "core": {"frequency": "1 GHz"},
        },
        "what_if": {"twice": {"system.caches.l1.capacity": "8 KiB"}},
        "sweep": {"system.memory.latency": ["80 ns", "120 ns"]},
    }
    one, other = tiersim.run("s.yaml", keep=False), tiersim.run(study, keep=False)
    assert [(row.key, row.factors, row.metrics) for row in one.rows] == [
        (row.key, row.factors, row.metrics) for row in other.rows
    ]


def test_a_run_without_a_folder_writes_nothing() -> None:
    result = tiersim.run("s.yaml", keep=False)
    assert result.folder is None
    assert [path.name for path in Path().iterdir()] == ["s.yaml"]


def test_finished_runs_are_not_run_again() -> None:
    first = tiersim.run("s.yaml")
    before = content("results/small")
    second = tiersim.run("s.yaml")
    assert simulations("results/small") == 0
    assert content("results/small") == before
    assert [row.metrics for row in second.rows] == [row.metrics for row in first.rows]
    assert [row.windows for row in second.rows] == [row.windows for row in first.rows]


def test_only_what_is_new_is_run() -> None:
    tiersim.run("s.yaml")
    result = tiersim.run("s.yaml", ["what_if.twice.system.caches.l1.capacity=16KiB"])
    assert simulations("results/small") == 1
    assert [row.status for row in result.rows] == ["done"] * 4


def test_another_seed_of_the_trace_is_another_run() -> None:
    tiersim.run("s.yaml")
    tiersim.run("s.yaml", ["trace.seed=2"])
    assert simulations("results/small") == 2


def test_fresh_runs_again() -> None:
    tiersim.run("s.yaml")
    before = content("results/small")
    tiersim.run("s.yaml", fresh=True)
    assert simulations("results/small") == 2
    assert content("results/small") == before


@pytest.mark.parametrize("harm", ["cut", "empty", "noise", "gone", "bit", "footer", "name"])
def test_a_damaged_part_is_named_and_made_again(harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    tiersim.run("s.yaml", ["what_if=null", "sweep=null"])
    before = content("results/small")
    (path,) = Path("results/small/runs").iterdir()
    whole = path.read_bytes()
    bit, footer = bytearray(whole), bytearray(whole)
    bit[8] ^= 4  # inside the first page
    footer[-30] ^= 4
    if harm == "gone":
        path.unlink()
    elif harm == "name":
        path.rename(path.with_name("0" * 20 + path.name[20:]))
    else:
        path.write_bytes(
            {"bit": bit, "footer": footer, "cut": whole[: len(whole) // 2], "empty": b"", "noise": b"PAR1" + bytes(50)}[
                harm
            ]
        )
    tiersim.run("s.yaml", ["what_if=null", "sweep=null"])
    said, log = capsys.readouterr().err, json.loads(Path("results/small/log.json").read_text())
    if harm in ("gone", "name"):  # a part of another name is that of another question
        assert (said, log["damaged"]) == ("", {})
    else:
        assert f"{path} is damaged and made again" in said
        assert list(log["damaged"]) == [path.name]
    assert before.items() <= content("results/small").items()
    assert simulations("results/small") == 1
    tiersim.run("s.yaml", ["what_if=null", "sweep=null"])
    assert simulations("results/small") == 0


def test_a_damaged_part_is_told_in_an_estimate() -> None:
    tiersim.run("s.yaml", ["what_if=null", "sweep=null"])
    (path,) = Path("results/small/runs").iterdir()
    path.write_bytes(b"")
    cost = runner.estimate("s.yaml", ["what_if=null", "sweep=null"])
    assert (cost.stored, cost.simulations) == (0, 1)
    assert any(str(path) in note for note in cost.notes)


@pytest.mark.parametrize("columns", [{"a": [1, 2]}, {"key": ["other"], "status": ["done"]}])
def test_a_part_of_something_else_is_no_run(columns: dict[str, list[Any]]) -> None:
    key = tiersim.run("s.yaml", ["what_if=null", "sweep=null"]).rows[0].key
    pq.write_table(pa.table(columns), "x.parquet")
    made = Path("x.parquet").read_bytes()
    name = f"{key}.{hashlib.sha256(made).hexdigest()[:16]}.parquet"
    Path("other/runs").mkdir(parents=True)
    Path("other/runs", name).write_bytes(made)
    parts = Parts(Path("other"))
    assert parts.find(key) is None
    assert list(parts.damaged) == [name]


def test_two_answers_to_a_question_are_none() -> None:
    (row,) = tiersim.run("s.yaml", ["what_if=null", "sweep=null"]).rows
    before = content("results/small")
    assert row.part is not None
    other = pq.read_table(row.part).append_column("more", [[1.0]])
    pq.write_table(other, "x.parquet")
    made = Path("x.parquet").read_bytes()
    row.part.with_name(f"{row.key}.{hashlib.sha256(made).hexdigest()[:16]}.parquet").write_bytes(made)
    parts = Parts(Path("results/small"))
    assert parts.find(row.key) is None
    assert len(parts.damaged) == 2
    tiersim.run("s.yaml", ["what_if=null", "sweep=null"])
    assert content("results/small") == before


def test_another_answer_to_a_question_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(self: MemoryHierarchy, simulated: Any) -> Any:
        measured = whole(self, simulated)
        measured.metrics["memory.reads"] += 1
        return measured

    tiersim.run("s.yaml", ["sweep=null"])
    whole = MemoryHierarchy.measure
    monkeypatch.setattr(MemoryHierarchy, "measure", measure)
    assert tiersim.run("s.yaml", ["sweep=null"]).notes == []
    result = tiersim.run("s.yaml", ["sweep=null"], fresh=True)
    said = "twice came out otherwise than before: the same question has another answer"
    assert said in capsys.readouterr().err
    assert sum(said in note for note in result.notes) == 1
    assert len(list(Path("results/small/runs").iterdir())) == 2


def test_a_part_holds_nothing_of_who_asked() -> None:
    one = tiersim.run("s.yaml", ["sweep=null"], out="a")
    Path("t.yaml").write_text(STUDY.replace("twice:", "larger:"), encoding="utf-8")
    two = tiersim.run("t.yaml", ["sweep=null"], out="b")
    assert [row.label for row in one.rows] == ["base", "twice"]
    assert [row.label for row in two.rows] == ["base", "larger"]
    parts = [{name: held for name, held in content(out).items() if name.startswith("runs/")} for out in ("a", "b")]
    assert parts[0] == parts[1]


def test_tables_are_read_when_they_are_asked_for() -> None:
    held = tiersim.run("s.yaml", ["sweep=null"], keep=False).rows
    kept = tiersim.run("s.yaml", ["sweep=null"]).rows
    assert [row.tables for row in kept] == [{}, {}]
    assert [row.windows for row in kept] == [row.windows for row in held]
    assert kept[0].table("none") == {}


def test_a_part_damaged_meanwhile_is_one_message() -> None:
    (row,) = tiersim.run("s.yaml", ["what_if=null", "sweep=null"]).rows
    assert row.part is not None
    row.part.write_bytes(row.part.read_bytes()[:-1])
    read_table.cache_clear()  # other tests have the same part
    with pytest.raises(StudyError, match="is damaged: its bytes are not those that were written"):
        row.windows  # noqa: B018 (the property reads)


def test_one_run_at_a_time_writes_into_a_folder() -> None:
    tiersim.run("s.yaml", ["sweep=null"])
    with Parts(Path("results/small")).alone(), pytest.raises(StudyError, match="another run writes into"):
        tiersim.run("s.yaml")
    tiersim.run("s.yaml")


def test_what_a_killed_writer_left_is_removed() -> None:
    tiersim.run("s.yaml")
    before = content("results/small")
    for name in (".runs.csv.123", ".log.json.4", "runs/.ab.parquet.77"):
        (Path("results/small") / name).write_bytes(b"half")
    tiersim.run("s.yaml")
    assert content("results/small") == before


def test_to_pandas_has_a_row_for_each_run() -> None:
    pytest.importorskip("pandas")
    frame = tiersim.run("s.yaml", keep=False).to_pandas()
    assert len(frame) == 4
    assert list(frame.columns[:5]) == ["label", "seed", "status", "what_if", "system.memory.latency"]
    assert list(frame["what_if"]) == ["base", "base", "twice", "twice"]
    assert frame["caches.l1.miss_ratio"].between(0, 1).all()


def test_the_csv_holds_what_the_rows_hold() -> None:
    result = tiersim.run("s.yaml")
    head, *lines = (Path("results/small") / "runs.csv").read_text().splitlines()
    assert head.startswith("label,seed,status,what_if,system.memory.latency,average_access_time")
    assert len(lines) == 4
    assert f",{result.rows[0].metrics['memory.reads']}," in lines[0]


def test_windows_add_up_to_the_run() -> None:
    result = tiersim.run("s.yaml", ["what_if=null", "sweep=null"], keep=False)
    windows = result.rows[0].windows
    assert windows["end"][-1] == 1
    assert windows["end"] == sorted(windows["end"])
    shares = np.diff([0, *windows["end"]])
    mean = float(np.sum(shares * np.array(windows["caches.l1.miss_ratio"])))
    assert mean == pytest.approx(result.rows[0].metrics["caches.l1.miss_ratio"])


def test_an_estimate_says_what_is_left_and_writes_nothing() -> None:
    cost = runner.estimate("s.yaml")
    assert (cost.runs, cost.simulations, cost.stored, cost.steps) == (4, 2, 0, 40_000)
    assert not Path("results").exists()
    tiersim.run("s.yaml")
    cost = runner.estimate("s.yaml")
    assert (cost.runs, cost.simulations, cost.stored, cost.steps) == (4, 0, 4, 0)


def damaged_traces() -> None:
    """A trace and files that are none."""
    with Writer("good.parquet") as out:
        for chunk in tiersim.load_trace("generated/zipf", records=20_000, footprint=1 << 18).chunks():
            out.append(chunk)
    good = Path("good.parquet").read_bytes()
    bit = bytearray(good)
    bit[len(good) // 3] ^= 16
    for name, held in {
        "cut.parquet": good[: len(good) // 2],
        "bit.parquet": bytes(bit),
        "empty.parquet": b"",
        "empty.txt": b"",
        "text.txt": b"hello\n" * 100,
        "noise.bin": bytes(range(256)) * 40,
        "half.txt": b"I  04000000,4\n L 1ffe,8\n S 1f",
        "wrong.txt": b"I  04000000,4\n L 1ffe,8\n L zzz,8\n S 1ffe,8\n",
    }.items():
        Path(name).write_bytes(held)
    Path("folder").mkdir()


BAD_TRACES = {
    "cut.parquet": "is damaged",
    "bit.parquet": "is damaged",
    "empty.parquet": "is empty",
    "empty.txt": "is empty",
    "text.txt": "is not a trace",
    "noise.bin": "is not a trace",
    "half.txt": "line 3",
    "wrong.txt": "line 3",
    "folder": "is a folder",
    "missing.txt": "there is no trace",
}
BAD_STUDIES = {
    "sweep={system.line: []}": "a sweep without values",
    "sweep=null": "",  # a key without a value is taken away: the study stands
    "system.caches.l1.capacity=1000 B": "no multiple of the line",
    "system.caches.l1.capacity=64 TiB": "of memory",
    "trace.skip=20k": "nothing is left",
    "trace.warm_up=20k": "leaves nothing",
    "copies=2": "with additive time cores do not meet",
    "system.caches.l1.policy=lruu": "did you mean 'lru'?",
}


@pytest.mark.parametrize("name", BAD_TRACES)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_trace_is_one_message_and_leaves_nothing(name: str, workers: int) -> None:
    damaged_traces()
    before = sorted(Path().rglob("*"))
    with pytest.raises(TiersimError) as caught:
        tiersim.run("s.yaml", [f"trace={name}"], workers=workers)
    assert BAD_TRACES[name] in caught.value.message
    assert name in str(caught.value)
    assert caught.value.remedy
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("edit", [edit for edit, message in BAD_STUDIES.items() if message])
def test_a_bad_study_is_one_message_and_leaves_nothing(edit: str) -> None:
    with pytest.raises(StudyError) as caught:
        tiersim.run("s.yaml", [edit])
    assert BAD_STUDIES[edit] in caught.value.message
    assert [path.name for path in Path().iterdir()] == ["s.yaml"]


def test_a_good_trace_file_runs() -> None:
    damaged_traces()
    result = tiersim.run("s.yaml", ["trace=good.parquet"], keep=False)
    assert result.rows[0].metrics["accesses"] == 20_000


@pytest.mark.parametrize("out", ["s.yaml", "s.yaml/inside"])
def test_a_folder_that_cannot_be_is_told_before_anything_runs(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_prepare", lambda *_: pytest.fail("this ran"))
    with pytest.raises(StudyError, match=r"cannot go into s.yaml.* is a file"):
        tiersim.run("s.yaml", out=out)


def test_a_file_that_cannot_be_written_leaves_no_draft() -> None:
    Path("there").mkdir()
    with pytest.raises(StudyError, match="there cannot be written"):
        write_bytes(Path("there"), b"x")
    assert sorted(path.name for path in Path().iterdir()) == ["s.yaml", "there"]


POLICY = """
import numpy as np


class Mine:
    '''Evicts way 0.'''

    compiled = False

    @staticmethod
    def state(sets, ways, seed):
        return np.zeros((sets, 1), np.int64)

    @staticmethod
    def hit(s, at):
        return

    @staticmethod
    def fill(s, at):
        return

    @staticmethod
    def victim(s, at):
        return 0


class Last(Mine):
    @staticmethod
    def victim(s, at, ways):
        return ways - 1


class Dice(Mine):
    random = True

    @staticmethod
    def state(sets, ways, seed):
        return np.full((sets, 1), seed, np.int64)

    @staticmethod
    def victim(s, at, ways):
        return s[at] % ways


class Text(Mine):
    compiled = True

    @staticmethod
    def victim(s, at):
        return int("0" + str(s[at])[1:])
"""
NO_SWEEP = ["what_if=null", "sweep=null", "trace.records=2k"]


def with_policy(name: str, *sets: str, **more: Any) -> StudyResult:
    Path("mine.py").write_text(POLICY, encoding="utf-8")
    return tiersim.run("s.yaml", [*NO_SWEEP, f"system.caches.l1.policy=mine.py:{name}", *sets], **more)


def test_a_policy_of_a_file_runs_on_one_worker_and_on_two() -> None:
    change = "what_if={last: {system.caches.l1.policy: 'mine.py:Last'}}"
    one = with_policy("Mine", change, out="a", workers=1)
    two = with_policy("Mine", change, out="b", workers=2)
    assert [row.status for row in one.rows] == ["done", "done"]
    assert one.rows[0].metrics != one.rows[1].metrics  # a class that inherits is not taken for the one above
    assert [row.metrics for row in two.rows] == [row.metrics for row in one.rows]
    assert content("a") == content("b")


def test_a_changed_policy_file_is_run_again() -> None:
    first = with_policy("Mine", keep=False).rows[0].key
    Path("other").mkdir()
    Path("other/mine.py").write_text(POLICY + "\nX = 1\n", encoding="utf-8")
    changed = tiersim.run("s.yaml", [*NO_SWEEP, "system.caches.l1.policy=other/mine.py:Mine"], keep=False)
    assert changed.rows[0].key != first


def test_the_largest_seed_is_stored() -> None:
    seed = 2**64 - 1
    result = tiersim.run("s.yaml", [*NO_SWEEP, "system.caches.l1.policy=random", f"seed={seed}"])
    assert [(row.status, row.seed) for row in result.rows] == [("done", seed)]
    again = tiersim.run("s.yaml", [*NO_SWEEP, "system.caches.l1.policy=random", f"seed={seed}"])
    assert simulations("results/small") == 0
    assert again.rows[0].metrics == result.rows[0].metrics


def test_seeds_reach_a_random_policy() -> None:
    rows = with_policy("Dice", "repeat.seeds=4", keep=False).rows
    assert [row.seed for row in rows] == [0, 1, 2, 3]
    assert len({row.metrics["caches.l1.misses"] for row in rows}) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_policy_that_cannot_be_compiled_is_one_message_and_leaves_nothing(workers: int) -> None:
    with pytest.raises(PolicyError, match="Text"):
        with_policy("Text", "sweep={system.line: [32 B, 64 B]}", workers=workers)
    assert not Path("results").exists()


def test_a_failed_run_is_told_kept_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(self: MemoryHierarchy, seed: int, progress: Any) -> Any:
        if self.system.caches["l1"].capacity > 4096:
            raise AuditError("the books do not balance")
        return whole(self, seed, progress)

    whole = MemoryHierarchy.simulate
    with monkeypatch.context() as patch:
        patch.setattr(MemoryHierarchy, "simulate", simulate)
        result = tiersim.run("s.yaml")
    assert [row.status for row in result.rows] == ["done", "done", "failed", "failed"]
    assert result.rows[2].error == "the books do not balance"
    assert (
        str(runner.unfinished(result))
        == "2 of 4 runs failed; the first: twice, latency 80 ns: the books do not balance"
    )
    again = tiersim.run("s.yaml")
    assert simulations("results/small") == 1
    assert [row.status for row in again.rows] == ["done"] * 4
    assert runner.unfinished(again) is None
    undisturbed = tiersim.run("s.yaml", out="undisturbed")
    assert undisturbed.complete
    assert content("results/small") == content("undisturbed")


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), StudyError("no", None, "mend it"), RuntimeError("a fault")])
def test_what_is_there_is_told_when_a_study_ends_early(
    error: BaseException, stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle(self: Any, job: Any, finished: Any) -> None:
        whole(self, job, finished)
        raise error

    whole = runner._Run._settle
    if stored:
        tiersim.run("s.yaml", ["sweep=null"])
    with monkeypatch.context() as patch:
        patch.setattr(runner._Run, "_settle", settle)
        with pytest.raises(type(error)) as caught:
            tiersim.run("s.yaml")
    if not isinstance(error, RuntimeError):
        assert f"{3 if stored else 2} of 4 runs are there; run again to go on" in str(caught.value)
    log = json.loads(Path("results/small/log.json").read_text())
    assert (log["complete"], log["waiting"]) == (False, 1 if stored else 2)
    statuses = [line.split(",")[-1] for line in Path("results/small/runs.csv").read_text().splitlines()]
    assert len(statuses) == 5
    result = tiersim.run("s.yaml")
    assert (result.complete, simulations("results/small")) == (True, 1)
    tiersim.run("s.yaml", out="undisturbed")
    assert content("results/small") == content("undisturbed")


def test_a_study_that_ends_before_its_first_run_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(self: Any, job: Any, finished: Any) -> None:
        raise StudyError("no")

    monkeypatch.setattr(runner._Run, "_settle", settle)
    with pytest.raises(StudyError, match=r"^no$"):
        tiersim.run("s.yaml")
    assert not Path("results").exists()


def test_an_unforeseen_error_is_a_failed_run_that_tells_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(self: MemoryHierarchy, seed: int, progress: Any) -> Any:
        if self.system.caches["l1"].capacity > 4096:
            return {}["nothing"]
        return whole(self, seed, progress)

    whole = MemoryHierarchy.simulate
    monkeypatch.setattr(MemoryHierarchy, "simulate", simulate)
    result = tiersim.run("s.yaml", ["sweep=null"])
    assert [row.status for row in result.rows] == ["done", "failed"]
    assert re.search(r"KeyError: 'nothing' \(.*test_run.py:\d+\)\n  mend it in test_run.py", result.rows[1].error)
    monkeypatch.setattr(MemoryHierarchy, "simulate", whole)
    monkeypatch.setattr("tiersim.sim.replay._audit", None)
    result = tiersim.run("s.yaml", ["sweep=null"])
    said = r"a fault in tiersim: TypeError: .* \(.*replay.py:\d+\)\n  please report it"
    assert re.search(said, result.rows[1].error)


def test_too_little_memory_is_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(MemoryHierarchy, "simulate", simulate)
    result = tiersim.run("s.yaml", ["what_if=null", "sweep=null"], keep=False)
    assert result.rows[0].error.startswith("there was not enough memory")


def test_to_dict_has_the_documented_form() -> None:
    made = tiersim.run("s.yaml", keep=False).to_dict()
    assert {"study", "runs", "skipped"} <= made.keys()
    for row in made["runs"]:
        assert row.keys() == {"label", "factors", "seed", "status", "error", "metrics"}
        assert all(re.fullmatch(r"[a-z0-9_.]+", name) for name in row["metrics"])
    assert json.loads(json.dumps(made)) == made


def test_a_row_knows_its_baseline() -> None:
    result = tiersim.run("s.yaml", keep=False)
    base, slow, twice, twice_slow = result.rows
    assert [result.base_of(row) for row in result.rows] == [None, None, base, slow]
    assert isinstance(twice, Row)
    assert twice_slow.factors["what_if"] == "twice"


def test_a_file_of_someone_else_is_read_with_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blocks.lis").write_text("".join(f"{at % 7} 1 0 {at}\n" for at in range(50)))
    study = {"study": "s", "scenario": "object-cache", "trace": "blocks.lis", "cache": {"capacity": "3 objects"}}
    tiersim.run(study, keep=False)
    assert capsys.readouterr().err == ""
    (tmp_path / "blocks.lis").write_text("".join(f"{at % 5} 1 0 {at}\n" for at in range(50)))
    tiersim.run(study, keep=False, quiet=False)
    assert "reading blocks.lis: done" in capsys.readouterr().err
