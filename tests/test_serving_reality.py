"""The benchmark of a real server: what it sends, how it splits loads, and all of it on a server that does nothing."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiments.linear_server import captured
from tiersim._base.errors import DependencyError, StudyError
from tiersim.traces import Writer, load_trace
from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import REQUEST

pytest.importorskip("aiohttp")
ROOT = Path(__file__).parents[1]


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_serving", ROOT / "benchmarks" / "serving_reality.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


serving = _module()


def test_requests_are_of_the_rate_and_of_the_lengths_asked_for() -> None:
    made = serving.requests(4000, 2.0, (20, 60), (8, 24), 1)
    assert made == serving.requests(4000, 2.0, (20, 60), (8, 24), 1)
    assert made != serving.requests(4000, 2.0, (20, 60), (8, 24), 2)
    assert 4000 / made[-1].at == pytest.approx(2.0, rel=0.06)  # the mean of 4000 exponentials is within 1.6 %, mostly
    gaps = [later.at - sooner.at for sooner, later in pairwise(made)]
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(1.0, rel=0.1)
    assert {request.answer for request in made} == set(range(8, 25))
    assert {len(request.prompt.split()) for request in made} == set(range(15, 56))
    assert len({request.prompt.split()[0] for request in made}) > 3900
    assert {request.at for request in serving.requests(9, float("inf"), (1, 1), (1, 1), 1)} == {0.0}


def test_every_second_load_is_for_calibration() -> None:
    assert serving.calibrating([0.1, 0.2, 0.3, 0.4]) == [True, False, True, False]
    assert serving.calibrating([0.9, 0.1, 0.5]) == [True, True, False]


@pytest.mark.parametrize("text", ["", "5", "5-", "9-5", "0-5", "a-b", "-5-9"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(StudyError, match="is no range of tokens"):
        serving.bounds(text)


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = 18123
    with contextlib.ExitStack() as stack:
        stack.enter_context(serving.process(sys.executable, "-c", serving.NOTHING, str(port), "5"))
        while not serving.answers(f"http://127.0.0.1:{port}/health"):
            time.sleep(0.05)
        url = f"http://127.0.0.1:{port}"
        loads = ["--requests", "6", "--repeats", "1", "--shares", "0.4,0.2", "--slots", "1"]
        serving.main(["measure", "--out", str(tmp_path), "--server", url, *loads])
    told = capsys.readouterr().out
    held = json.loads((tmp_path / "experiment.json").read_text())
    assert held["most"] > 1
    assert [run["rate"] / run["share"] for run in held["runs"]] == pytest.approx([held["most"]] * 2)
    assert sorted((run["share"], run["calibrate"]) for run in held["runs"]) == [(0.2, True), (0.4, False)]
    for run in held["runs"]:
        assert len(run["clients"]) == 6
        assert all(sent <= first <= end for sent, first, end in run["clients"])
        assert load_trace(tmp_path / run["file"]).records == 6
    rows = [line.split() for line in told.splitlines()[6:]]
    assert [(row[0], row[-9:-7]) for row in rows] == [("0.20", ["6", "0"]), ("0.40", ["6", "0"])]
    serving.main(["show", str(tmp_path)])
    assert capsys.readouterr().out == told


def test_a_table_by_hand(tmp_path: Path) -> None:
    """One piece each 20 ms after 100 ms, two requests in half a second; the client sees all 3 ms later."""
    with Writer(tmp_path / "a.parquet", schema=REQUEST) as out:
        chunk = {"input": np.array([9, 9], np.uint32), "output": np.array([3, 3], np.uint32)}
        times = {"arrival": np.array([0, 10**8]), "end": np.array([15, 40]) * 10**7}
        out.append({**chunk, **times, "pieces": Ragged.of([[10**8, 12 * 10**7, 14 * 10**7]] * 2, "int64")})
    run = serving.Run("a.parquet", 0.5, 4.0, 1, 1, True, others=0.25, clients=[[0.1, 0.203, 0.6], [0.0, 0.103, 0.2]])
    one = serving.told([run], tmp_path)
    assert (one.served, one.failed) == (2, 0)
    assert one.first == pytest.approx((100.0, 100.0))
    assert (one.between, one.end, one.rate, one.seen) == pytest.approx((20.0, 150.0, 12.0, 3.0))
    held = {"runs": [dataclasses.asdict(run)], "settings": dict.fromkeys(["slots", "threads", "prompt", "answer"], 1)}
    text = serving.report({**held, "host": {"processor": "p", "processors": 2}, "most": 8.0}, tmp_path)
    assert " ".join(text.splitlines()[-1].split()) == "0.50 calibration 2 0 100 100 20.0 150 12.0 3.0 0.2"


def test_a_server_that_is_as_the_model_says_is_predicted(tmp_path: Path) -> None:
    runs = []
    for place, (share, use) in enumerate([(0.5, True), (1.0, False)]):
        captured(tmp_path / f"{place}.parquet", place, 8 * share)
        clients = [[float(n), float(n), float(n)] for n in range(60)]
        runs.append(serving.Run(f"{place}.parquet", share, 8 * share, 1, place, use, clients=clients))
    model, count = serving.fitted(runs, tmp_path)
    assert count > 100
    assert model == {"use": "linear", "prefill": "1 ms/token", "iteration": "20 ms", "decode": "3 ms/request"}
    said, seen = serving.predicted(runs[1], tmp_path, model, 3), serving.told(runs[1:], tmp_path)
    measured = (*seen.first, seen.between, seen.end, seen.rate)
    assert tuple(said.values()) == pytest.approx(measured, rel=1e-6)
    held = {"runs": [dataclasses.asdict(run) for run in runs], "settings": {"slots": 3}}
    told = serving.predict(held, tmp_path).splitlines()[-1]
    assert told.endswith("first 0.0%, 90 % 0.0%, between 0.0%, end 0.0%, tokens/s 0.0%")


def test_blocks_by_bytes_are_those_of_tokens_where_all_tokens_have_as_many_bytes(tmp_path: Path) -> None:
    prompts = serving.conversations(["prose", "code"], 8, 1)
    assert prompts == serving.conversations(["prose", "code"], 8, 1)
    prompts = [prompt.encode("ascii", "replace").decode() for prompt in prompts]
    prompts = [prompt[: len(prompt) // 4 * 4] for prompt in prompts]
    tokens = [[int.from_bytes(prompt[at : at + 4].encode()) for at in range(0, len(prompt), 4)] for prompt in prompts]
    exact = serving.prefix_hits([serving.by_tokens(tokens)], serving.BLOCK)
    assert exact == serving.prefix_hits([serving.by_bytes(prompts, tokens, tmp_path)], serving.BLOCK)
    assert 0.1 < exact.by_tokens < 0.99


def test_a_server_that_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"cannot serve: see .*server.log"):
        serving.main(["measure", "--out", str(tmp_path), "--model", "none", "--port", "18124"])


def test_a_model_that_is_not_installed(tmp_path: Path) -> None:
    asked = argparse.Namespace(out=tmp_path, model=None, port=18125, python=sys.executable, slots=1, threads=1)
    with pytest.raises(DependencyError, match="cannot serve"), serving.server(asked):
        pass
    assert "AttributeError" in (tmp_path / "server.log").read_text()
