"""`tiersim diff`: folders and labels, what is printed, drawn and refused."""

import json
import re
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import tiersim
from tests.experiments.diff.test_diff import STUDY, TIME
from tiersim.cli import main
from tiersim.experiments.figures.words import words

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`tiersim diff` in a folder with a stored study: exit status, output and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    tiersim.run(STUDY)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as status:
            main(["diff", *arguments, "--workers", "1", "--quiet"])
        out = capsys.readouterr()
        return int(status.value.code or 0), out.out, out.err

    return call


def refused(command: Command, *arguments: str) -> str:
    """The message of a command that is refused in one piece."""
    status, out, message = command(*arguments)
    assert status == 2
    assert out == ""
    assert message.startswith("error: ")
    assert "Traceback" not in message
    return message


ENDS = ("results/small:base", "results/small:all three")


def test_a_waterfall_adds_up_as_it_is_printed(command: Command) -> None:
    status, out, message = command(*ENDS, "--metric", TIME)
    assert (status, message) == (0, "")
    for line in ("system.caches.l2.capacity", "system.caches.l2.policy", "lru      srrip", "by part", "by change"):
        assert line in out
    shown = re.split(r"by change", out)[1]
    rows = re.findall(r"^ (A|B|system\.\S+) +([-+]?[\d.,]+) +([│█▌▐]+)(?: +(better|worse))?", shown, re.MULTILINE)
    (first, a, *_), *steps, (last, b, *_) = rows
    assert (first, last) == ("A", "B")
    assert sum((Fraction(step) for _, step, *_ in steps), Fraction(a)) == Fraction(b)
    assert {(step[0], mark) for _, step, _, mark in steps} == {("-", "better"), ("+", "worse")}
    sizes = [abs(Fraction(step)) for _, step, *_ in steps]
    assert sizes == sorted(sizes, reverse=True)
    assert "Runs between A and B: 6; simulated now: 4, kept in results/diff." in " ".join(out.split())
    assert "simulated now: 0" in " ".join(command(*ENDS, "--metric", TIME)[1].split())


def test_json_has_exact_steps(command: Command) -> None:
    status, out, _ = command(*ENDS, "--metric", TIME, "--json", "--out", "elsewhere")
    found = json.loads(out)
    assert status == 0
    assert set(found) == {
        *("a", "b", "metric", "value", "differs", "by_part", "by_change", "runs", "only_a", "only_b", "notes")
    }
    steps = [Fraction(step["exact"]) for step in found["by_change"]["steps"]]
    assert (
        sum(steps) == Fraction(found["value"]["exact"]) == Fraction(found["value"]["b"]) - Fraction(found["value"]["a"])
    )
    assert found["by_change"]["folder"] == "elsewhere"
    assert len(list(Path("elsewhere/runs").glob("*.parquet"))) == 4
    assert found["differs"][0] == {"key": "system.caches.l2.capacity", "a": "32 KiB", "b": "64 KiB"}
    parts = {part["part"]: Fraction(part["exact"]) for part in found["by_part"]}
    assert sum(parts.values()) == Fraction(found["value"]["exact"])


def test_two_equal_studies_say_what_was_compared(command: Command) -> None:
    shutil.copytree("results/small", "results/copy")
    status, out, _ = command("results/small", "results/copy")
    assert status == 0
    assert "nothing differs: 4 runs of each have the same configuration, content of the trace, code and seed" in out
    assert "by change" not in out
    assert not Path("results/diff").exists()


def test_two_studies_have_a_table_of_their_runs(command: Command) -> None:
    tiersim.run(STUDY, ["system.memory.latency=90 ns", "what_if.extra={system.line: 128 B}"], out="results/other")
    status, out, _ = command("results/small", "results/other", "--metric", TIME)
    assert status == 0
    runs = re.findall(r"^ (base|policy|all three|capacity, latency) +[\d.]+ +[\d.]+ +(=|\+[\d.]+ %)", out, re.MULTILINE)
    assert {name for name, _ in runs[:2]} == {"base", "policy"}
    assert [change for _, change in runs[2:]] == ["=", "="]
    assert "only in B: extra (results/small has no such run)" in out
    assert "The mean of the pairs." in out


def test_a_variant_stands_for_its_swept_points(command: Command) -> None:
    tiersim.run(STUDY, ["sweep.trace.seed=[2, 3]"], out="results/swept")
    status, out, _ = command("results/swept:base", "results/swept:policy")
    assert status == 0
    assert "mean of 2" in out
    assert "base, seed 2 to policy, seed 2" in out


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_a_waterfall_is_drawn(command: Command, ending: str) -> None:
    _, out, _ = command(*ENDS, "--plot", f"fall.{ending}")
    assert out.splitlines()[-1] == f"figure: fall.{ending}"
    first = Path(f"fall.{ending}").read_bytes()
    assert first.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[ending])
    command(*ENDS, "--plot", f"fall.{ending}")
    assert Path(f"fall.{ending}").read_bytes() == first


def test_a_figure_is_a_column_wide_and_has_every_step(command: Command) -> None:
    from tiersim.experiments.diff.figure import draw_diff

    found = tiersim.diff(*ENDS, TIME)
    figure = draw_diff(found)
    assert figure.get_size_inches()[0] == 3.5
    (axes,) = figure.axes
    largest = sorted(found.changes.steps, key=lambda change: -abs(change.step))
    names = {change.name: words(change.name) for change in largest}
    assert names["system.caches.l2.capacity"] == "L2 capacity"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", *names.values(), "B"]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [found.mark(change.step) == "worse" for change in largest]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx([abs(float(change.step)) for change in largest])


def test_what_is_no_study_is_refused(command: Command) -> None:
    message = refused(command, "results/smal", "results/small")
    assert "'results/smal' is no folder of a study" in message
    assert "results/small" in message.splitlines()[1]
    Path("empty").mkdir()
    assert "empty" in refused(command, "empty", "results/small")


def test_a_label_and_a_metric_have_their_nearest_spelling(command: Command) -> None:
    message = refused(command, "results/small:bas", "results/small:all three")
    assert "no run of small is called 'bas'" in message
    assert "did you mean 'base'" in message
    message = refused(command, *ENDS, "--metric", "averge_access_time")
    assert "did you mean 'average_access_time'" in message


def test_a_figure_of_no_known_kind_is_refused_before_anything_runs(command: Command) -> None:
    assert "not as .gif" in refused(command, *ENDS, "--plot", "fall.gif")
    assert not Path("results/diff").exists()


def test_python_has_the_same(command: Command) -> None:
    public: dict[str, Any] = json.loads(command(*ENDS, "--metric", TIME, "--json")[1])
    again = tiersim.diff("results/small:base", Path("results/small:all three"), TIME).to_dict()
    for one in (public, again):
        del one["by_change"]["simulated"], one["by_change"]["folder"]
    assert again == public
