"""Calibration from captures: iterations are read off the answers, and a part of them predicts the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.experiments.linear_server import captured
from tiersim._base.errors import StudyError
from tiersim.cli import main
from tiersim.experiments import presets
from tiersim.experiments.calibration import calibrate
from tiersim.experiments.observed import captured as read
from tiersim.experiments.observed import iterations
from tiersim.models.gpu import Gpu
from tiersim.models.llm.transformer import Transformer
from tiersim.traces import Writer, load_trace
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import REQUEST
from tiersim.traces.serving_journal import Answer, Journal

MODEL = {"use": "linear", "prefill": "1 ms/token", "iteration": "20 ms", "decode": "3 ms/request"}


@pytest.mark.parametrize("rate", [0.5, 5.0, 50.0])
def test_iterations_are_read_off_the_answers(tmp_path: Path, rate: float) -> None:
    log = captured(tmp_path / "a.parquet", 1, rate)
    seen = iterations(next(load_trace(tmp_path / "a.parquet").chunks()))
    told = [(one.features.get("new", 0), one.features.get("decodes", 0), one.time // 1000, end) for end, one in seen]
    assert told == log


def test_features_by_hand() -> None:
    """A prompt of 10 tokens and one of 7, then a decode of each, then one of the first; the second came at 5 ns."""
    pieces = Ragged.of([[100, 200, 300], [95, 195]], "int64")
    held = {"input": np.array([10, 7], np.uint32), "arrival": np.array([0, 5]), "pieces": pieces}
    first, second, third = iterations(held)
    assert first[1].features == {"chunks": 2, "new": 17, "area": 149, "squares": 149, "span": 17}
    assert second[1].features == {"decodes": 2, "context": 11 + 8}
    assert third[1].features == {"decodes": 1, "context": 12}
    assert [(end, one.time) for end, one in (first, second, third)] == [(100, 100_000), (200, 100_000), (300, 100_000)]


def test_a_prompt_of_unknown_length_is_left_out() -> None:
    pieces = Ragged.of([[100, 200], [150, 250]], "int64")
    held = {"input": np.array([0, 7], np.uint32), "arrival": np.array([0, 5]), "pieces": pieces}
    assert [end for end, _ in iterations(held)] == [155, 200, 255]


def test_half_of_the_requests_predict_the_others(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    log = captured(Path(path), 2, 4.0)
    found = calibrate(path)
    bounds = found.time_model.pop("fitted")
    assert found.time_model == MODEL
    assert found.held_out is not None
    arrivals = np.sort(next(load_trace(path).chunks())["arrival"])
    kept = [row for row in log if row[3] <= arrivals[30]]
    assert (found.fitted.configurations, found.held_out.configurations) == (len(kept), len(log) - len(kept))
    assert found.held_out.p95 < 1e-6
    assert bounds["decodes"] == [1, max(row[1] for row in kept)]
    assert bounds["new"] == [min(row[0] for row in kept if row[0]), max(row[0] for row in kept)]
    less = calibrate(path, hold_out=0.75)
    assert less.held_out is not None
    assert less.held_out.configurations > found.held_out.configurations
    assert calibrate(path, hold_out=0).held_out is None


def test_every_second_load_predicts_the_others(tmp_path: Path) -> None:
    rates = [8.0, 1.0, 4.0, 2.0]
    counts = {rate: len(captured(tmp_path / f"{rate}.parquet", int(rate), rate)) for rate in rates}
    found = calibrate([str(tmp_path / f"{rate}.parquet") for rate in rates])
    assert found.held_out is not None
    assert found.fitted.configurations == counts[1.0] + counts[4.0]
    assert found.held_out.configurations == counts[2.0] + counts[8.0]
    assert found.held_out.p95 < 1e-6


def test_the_journal_of_a_capture_will_do(tmp_path: Path) -> None:
    captured(tmp_path / "a.parquet", 5, 3.0)
    chunk = next(load_trace(tmp_path / "a.parquet").chunks())
    with Journal(tmp_path / "a.journal") as journal:
        for number, (at, size, pieces) in enumerate(
            zip(chunk["arrival"], chunk["input"], chunk["pieces"], strict=True)
        ):
            answer = Answer(int(at))
            answer.input, answer.whole, answer.pieces = int(size), True, pieces.tolist()
            answer.end = int(at) + answer.pieces[-1]
            facts = {"kind": "completion", "model": "m", "session": None}
            journal.end(journal.begin(int(at), facts, f"{number:04}".encode() * int(size), b"salt"), answer)
    one, other = (calibrate(str(tmp_path / name)) for name in ("a.parquet", "a.journal"))
    assert (other.time_model, other.held_out, other.notes) == (one.time_model, one.held_out, [])


def test_a_server_that_is_slower_later_is_told_so(tmp_path: Path) -> None:
    """Times of the last requests twice as long: off by a half."""
    captured(tmp_path / "a.parquet", 3, 0.5)
    chunk = next(load_trace(tmp_path / "a.parquet").chunks())
    slow = np.arange(60) >= 30
    pieces = chunk["pieces"]
    times = np.where(np.repeat(slow, pieces.counts), 2 * pieces.values, pieces.values)
    with Writer(tmp_path / "b.parquet", schema=REQUEST) as out:
        out.append({**chunk, "pieces": Ragged(times, pieces.offsets)})
    found = calibrate(str(tmp_path / "b.parquet"))
    assert found.held_out is not None
    assert found.fitted.p95 < 0.01
    assert found.held_out.bias == pytest.approx(-0.5, abs=0.01)


def test_a_roofline_of_a_capture(tmp_path: Path) -> None:
    captured(tmp_path / "a.parquet", 1, 4.0)
    model, gpu = presets.built("llama-2-7b", Transformer), presets.built("a100-80", Gpu)
    found = calibrate(str(tmp_path / "a.parquet"), model=model, gpu=gpu)
    assert found.time_model["use"] == "roofline"
    assert found.held_out is not None
    assert found.held_out.median < 0.5


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    captured(tmp_path / "a.parquet", 1, 4.0)
    sizes = next(load_trace(tmp_path / "a.parquet").chunks())["input"].tolist()
    blocks = Ragged.of([list(range(size // 4)) for size in sizes])
    captured(tmp_path / "b.parquet", 1, 4.0, blocks=blocks, output=np.full(60, 30, np.uint32))
    notes = read(str(tmp_path / "b.parquet")).notes
    assert len(notes) == 2
    assert "tokens on average, and counts as one" in notes[0]
    assert "of their tokens in common" in notes[1]
    silent = Ragged.of([[]] + [[10**8 * (k + 1), 10**8 * (k + 1) + 10**7] for k in range(59)], "int64")
    captured(tmp_path / "c.parquet", 1, 4.0, pieces=silent, output=np.full(60, 2, np.uint32))
    assert read(str(tmp_path / "c.parquet")).notes == [
        "1 of 60 answers were not streamed: the work on them is not seen"
    ]


def test_what_cannot_be_fitted(tmp_path: Path) -> None:
    name = str(tmp_path / "a.parquet")
    captured(Path(name), 1, 4.0)
    with pytest.raises(StudyError, match="captures name no model and no hardware"):
        calibrate(name, of="m")
    with pytest.raises(StudyError, match="each must be a capture"):
        calibrate([name, str(Path(__file__).parents[1] / "models" / "profiles" / "parts.csv")])
    with pytest.raises(StudyError, match="iterations are too few"):
        calibrate(name, hold_out=0.999)
    with pytest.raises(StudyError, match="a roofline is fitted for a model on a GPU"):
        calibrate(name, "roofline")
    plain = tmp_path / "plain.parquet"
    with Writer(plain, schema=REQUEST) as out:
        out.append({"input": np.ones(9, np.uint32), "output": np.ones(9, np.uint32), "arrival": np.arange(9)})
    with pytest.raises(StudyError, match="does not say when the pieces of answers came"):
        calibrate(str(plain))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = []
    for rate in (1.0, 2.0):
        names.append(str(tmp_path / f"{rate}.parquet"))
        captured(Path(names[-1]), int(rate), rate)
    with pytest.raises(SystemExit) as stopped:
        main(["calibrate", *names])
    out = capsys.readouterr().out
    assert not stopped.value.code
    assert out.startswith("# Fitted to ")
    assert f"iterations of {names[0]}, {names[1]}; it is off by 0.0% (median)" in out
    assert out.endswith("]}\n")
    with pytest.raises(SystemExit):
        main(["calibrate", names[0], "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["seen"], found["notes"], found["time_model"]["use"]) == ("iterations", [], "linear")
