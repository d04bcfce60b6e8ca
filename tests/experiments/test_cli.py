"""The command line: what it prints where, its exit statuses, and that a mistake is one message."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiersim.cli import COMMANDS, main
from tiersim.experiments.catalogue import kinds

STUDY = """\
# Which one?
study: small
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 20k, footprint: 256 KiB, write_share: 20 %, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 1 ns}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
what_if:
  twice the cache: {system.caches.l1.capacity: 8 KiB}
sweep:
  system.memory.latency: [80 ns, 120 ns]
"""
PLAIN = """
import numpy as np


class Plain:
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
"""
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Path("s.yaml").write_text(STUDY, encoding="utf-8")


@pytest.fixture
def tiersim(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line here: exit status, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        status = left.value.code
        assert isinstance(status, int)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("capture", "memory")])
def test_help(tiersim: Call, command: tuple[str, ...]) -> None:
    for flag in ("-h", "--help"):
        status, out, err = tiersim(*command, flag)
        assert (status, err) == (0, "")
        assert out.startswith(f"Usage: {' '.join(['tiersim', *command])}")
    if not command:
        assert all(f"\n  {name} " in out for name in COMMANDS)


def test_version(tiersim: Call) -> None:
    assert tiersim("--version") == (0, "tiersim, version 0.1.0\n", "")


def test_help_loads_no_engine() -> None:
    code = (
        "import sys\nfrom tiersim.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('numpy', 'numba', 'pyarrow', 'pydantic', 'rich') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_run_prints_a_table_and_where_things_are(tiersim: Call) -> None:
    status, out, err = tiersim("run", "s.yaml", "--workers", "1")
    assert status == 0
    assert out.startswith("Which one?\n")
    assert "twice the cache" in out
    assert "report: results/small/report.html" in out
    assert "small: 0 of 4 runs, 40,000 accesses\n" in err
    assert "small: 4 of 4 runs, " in err
    assert Path("results/small/report.html").exists()
    assert tiersim("run", "s.yaml", "--quiet")[2] == ""


@pytest.mark.parametrize("columns", ["80", "200"])
def test_a_table_fits_the_terminal(tiersim: Call, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for arguments in (["list", "policies"], ["explain", "system.caches.l2"], ["list", "metrics"]):
        out = tiersim(*arguments)[1]
        assert max(map(len, out.splitlines())) <= int(columns)


def test_run_json(tiersim: Call) -> None:
    status, out, err = tiersim("run", "s.yaml", "--json", "--workers", "1")
    assert status == 0
    assert "4 of 4 runs" in err  # progress goes elsewhere
    made = json.loads(out)
    assert made["study"] == "small"
    assert made["skipped"] == []
    assert len(made["runs"]) == 4
    row = made["runs"][3]
    assert row.keys() == {"label", "factors", "seed", "status", "error", "metrics"}
    assert row["label"] == "twice the cache, latency 120 ns"
    assert row["factors"] == {"what_if": "twice the cache", "system.memory.latency": "120 ns"}
    assert (row["seed"], row["status"], row["error"]) == (0, "done", None)
    assert row["metrics"]["accesses"] == 20_000
    assert 0 < row["metrics"]["caches.l1.miss_ratio"] < 1


def test_run_json_lists_what_was_skipped(tiersim: Call) -> None:
    Path("plain.py").write_text(PLAIN, encoding="utf-8")
    refused = [
        "--set=system.caches.l2={capacity: 8 KiB, ways: 4, latency: 5 ns, inclusion: inclusive, policy: belady}",
        "--set=what_if={mine: {system.caches.l2.policy: 'plain.py:Plain'}}",
    ]
    made = json.loads(tiersim("run", "s.yaml", "--json", "--quiet", *refused)[1])
    assert [item.keys() for item in made["skipped"]] == [{"what", "why"}] * 4
    assert made["skipped"][0]["what"] == "base, latency 80 ns"
    assert made["skipped"][0]["why"].startswith("belady in l2 needs")
    assert [row["status"] for row in made["runs"]] == ["done", "done"]


def test_seeds_that_reach_nothing_are_noted(tiersim: Call) -> None:
    status, out, _ = tiersim("run", "s.yaml", "--quiet", "--set", "repeat.seeds=3")
    assert status == 0
    assert "note: repeat asks for 3 seeds, but nothing in this study is random: run once" in out


def test_dry_run_writes_nothing(tiersim: Call) -> None:
    status, out, err = tiersim("run", "s.yaml", "--dry-run")
    assert (status, err) == (0, "")
    assert out.startswith("small: 4 runs, 0 of them stored already; 2 simulations left\nabout 40,000 accesses")
    assert "memory" in out
    made = json.loads(tiersim("run", "s.yaml", "--dry-run", "--json")[1])
    assert (made["runs"], made["simulations"], made["stored"], made["steps"]) == (4, 2, 0, 40_000)
    assert made["seconds"] > 0
    assert made["bytes"] > 0
    assert [path.name for path in Path().iterdir()] == ["s.yaml"]


def test_set_and_out(tiersim: Call) -> None:
    arguments = ["--set", "system.caches.l1.ways=full", "--set", "what_if=null", "--set", "sweep=null"]
    made = json.loads(tiersim("run", "s.yaml", "--json", "--quiet", "--out", "there", "--dry-run", *arguments)[1])
    assert made["runs"] == 1
    assert not Path("there").exists()


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no command of this name": (["rum", "s.yaml"], "there is no command 'rum'; did you mean 'run'?"),
    "no study": (["run"], "Missing argument 'STUDY'"),
    "no such option": (["run", "s.yaml", "--worker", "2"], "Did you mean '--workers'?"),
    "no workers": (["run", "s.yaml", "--workers", "0"], "0 is not in the range"),
    "no file": (["run", "nofile.yaml"], "there is no file 'nofile.yaml'"),
    "a folder": (["run", "."], "'.' is a folder"),
    "set without a value": (["run", "s.yaml", "--set", "foo"], "--set takes KEY=VALUE"),
    "set of an unknown key": (["run", "s.yaml", "--set", "timming=queued"], "did you mean 'timing'?"),
    "copies": (["run", "s.yaml", "--set", "copies=2"], "with additive time cores do not meet"),
    "results into a file": (["run", "s.yaml", "--out", "s.yaml"], "the results cannot go into s.yaml"),
    "no such kind": (["list", "polices"], "there is no kind 'polices'; did you mean 'policies'?"),
    "nothing to explain": (["explain", "lruu"], "nothing is called 'lruu'; did you mean 'lru'?"),
    "an empty word": (["explain", ""], "nothing is called ''"),
    "schema of nothing": (["schema", "memory"], "no scenario is called 'memory'"),
    "new of nothing": (["new", "memory-hirarchy"], "did you mean 'memory-hierarchy'?"),
    "new over a file": (["new", "memory-hierarchy", "s.yaml"], "s.yaml is there already"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_and_exit_status_2(tiersim: Call, mistake: str) -> None:
    arguments, message = MISTAKES[mistake]
    status, out, err = tiersim(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert Path("s.yaml").read_text(encoding="utf-8") == STUDY
    assert [path.name for path in Path().iterdir()] == ["s.yaml"]


@pytest.mark.parametrize("flags", [[], ["--json"], ["--dry-run"], ["--dry-run", "--json"]])
def test_a_mistake_in_the_study_shows_line_and_caret(tiersim: Call, flags: list[str]) -> None:
    Path("s.yaml").write_text(STUDY.replace("ways: 4", "wyas: 4"), encoding="utf-8")
    status, out, err = tiersim("run", "s.yaml", *flags)
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "error: s.yaml:7:27: unknown key 'wyas'; did you mean 'ways'?",
        "    7 |     l1: {capacity: 4 KiB, wyas: 4, latency: 1 ns}",
        "                                  ^^^^",
        "  `tiersim explain system.caches.l1` tells what may stand here",
        "  also: s.yaml:7:9: the key 'ways' is missing",
    ]


def test_a_failed_run_is_shown_and_ends_with_2(tiersim: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiersim._base.errors import AuditError
    from tiersim.experiments.scenarios.memory_hierarchy import MemoryHierarchy

    def simulate(*_: Any) -> Any:
        raise AuditError("the books do not balance")

    monkeypatch.setattr(MemoryHierarchy, "simulate", simulate)
    status, out, err = tiersim("run", "s.yaml", "--quiet", "--workers", "1")
    assert status == 2
    assert "failed: base, latency 80 ns: the books do not balance" in out
    assert err == "error: 4 of 4 runs failed; the first: base, latency 80 ns: the books do not balance\n"
    status, out, _ = tiersim("run", "s.yaml", "--quiet", "--json", "--workers", "1")
    assert status == 2
    assert {row["error"] for row in json.loads(out)["runs"]} == {"the books do not balance"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_is_told_and_keeps_what_is_finished(workers: str) -> None:
    sets = ["--set", "trace.records=300M", "--set", "sweep=null"]
    with subprocess.Popen(
        [sys.executable, "-m", "tiersim", "run", "s.yaml", "--workers", workers, *sets],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell ignores interrupts in what it runs in the background, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        assert running.stderr is not None
        assert "reading the trace" in running.stderr.readline()
        time.sleep(1)
        os.killpg(running.pid, signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.splitlines()[-1] == "interrupted; what is finished is kept"
    assert "Traceback" not in err
    assert not Path("results").exists()


@pytest.mark.parametrize("kind", ["policies", *kinds()])
def test_list(tiersim: Call, kind: str) -> None:
    status, out, _ = tiersim("list", kind)
    assert status == 0
    rows = json.loads(tiersim("list", kind, "--json")[1])
    assert rows
    names = [(row["name"], row.get("family"), row.get("scenario")) for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert row["about"]
        assert row["name"] in out


def test_list_without_a_kind_lists_the_kinds(tiersim: Call) -> None:
    rows = json.loads(tiersim("list", "--json")[1])
    assert [row["kind"] for row in rows] == ["policies", *kinds()]
    assert all(kind in tiersim("list")[1] for kind in kinds())


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("system.caches.l2", ["system.caches.NAME.capacity", "a size such as 80 GiB", "preset desktop-cpu", "57647"]),
        ("system.caches.l2.capacity", ["bytes of data that it holds", "1 MiB"]),
        ("system.caches.l2.policy", ["srrip", "FILE.py:CLASS"]),
        ("system.core", ["4.2 to 5.7 GHz", "3.2 GHz"]),
        ("trace", ["trace.warm_up"]),
        ("miss_kinds", ["true | false"]),
        ("sweep", ["dotted key"]),
        ("report", ["report.baseline", "base"]),
        ("report.figures.x", ["a factor"]),
        ("memory-hierarchy", ["system.memory.latency"]),
        ("srrip", ["Jaleel", "bits", "width of a prediction"]),
        ("opt", ["belady", "Source: Belady"]),
        ("desktop-cpu", ["caches.l3.capacity", "32 MiB"]),
        ("generated/zipf", ["skew", "0.9"]),
        ("caches.l2.miss_ratio", ["misses / (reads + writes)"]),
        ("average_access_time", ["ns"]),
    ],
)
def test_explain(tiersim: Call, monkeypatch: pytest.MonkeyPatch, word: str, told: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    status, out, err = tiersim("explain", word)
    assert (status, err) == (0, "")
    for text in told:
        assert text in out
    made = json.loads(tiersim("explain", word, "--json")[1])
    assert made["title"]
    assert all(key["doc"] for key in made["keys"])


def test_new_writes_a_study_that_runs(tiersim: Call) -> None:
    status, out, _ = tiersim("new", "memory-hierarchy", "mine.yaml")
    assert (status, out) == (0, "mine.yaml is written; try: tiersim run mine.yaml\n")
    text = Path("mine.yaml").read_text(encoding="utf-8")
    assert "study: mine\n" in text
    assert text.startswith("# ")
    # smaller than it is written, and with the one policy that other tests compile for this machine too
    smaller = ["--set", "trace.limit=20k", "--set", "system.caches.l2.policy=lru"]
    made = json.loads(tiersim("run", "mine.yaml", "--json", "--quiet", *smaller)[1])
    assert made["study"] == "mine"
    assert len(made["runs"]) > 1
    assert {row["status"] for row in made["runs"]} == {"done"}
    assert json.loads(tiersim("new", "memory-hierarchy", "--json")[1]) == {"file": "memory-hierarchy.yaml"}
    assert tiersim("new", "memory-hierarchy", "s.yaml", "--force")[0] == 0
    assert Path("s.yaml").read_text(encoding="utf-8") == text.replace("study: mine\n", "study: s\n")


def test_a_pipe_whose_reader_leaves_is_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m tiersim schema | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_the_package_runs_as_a_module_and_knows_its_names() -> None:
    import tiersim

    assert dir(tiersim) == sorted(tiersim.__all__)
    assert all(getattr(tiersim, name) is not None for name in tiersim.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tiersim.nothing  # noqa: B018 (the access is the test)
