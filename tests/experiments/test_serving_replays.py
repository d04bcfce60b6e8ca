"""Formats of requests that the scenario `serving` replays, each in one line of a study."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tiersim.cli import main
from tiersim.traces import load_trace

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
INSTANCE = {
    "time_model": {"use": "linear", "prefill": "10 us/token", "iteration": "5 ms"},
    "memory": {"capacity": "4M tokens"},
}
CLIENTS = """client,window_start_s,rate,cv,pattern,arg1,arg2
0,0,0.5,1.4,Gamma,0.5,40
1,0,0.25,1.2,Weibull,0.8,88
0,600,0.25,1,Gamma,1,50
"""
LENGTHS = [
    {"client": 0, "windows": {"0": {"input_tokens": "{100: 0.5, 900: 0.5}", "output_tokens": "{20: 1.0}"}}},
    {"client": 1, "windows": {"0": {"input_tokens": "{2000: 1.0}", "output_tokens": "{30: 0.9, 4: 0.1}"}}},
]
BURST = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,1,3.2,ChatGPT,472,18,490,Conversation log
45,,1.9,GPT-4,1087,230,1317,API log
118,1,6.0,ChatGPT,417,276,693,Conversation log
140,,0.4,GPT-4,903,0,903,API log
150,2,0.4,ChatGPT,30,7,37,Conversation log
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(trace: Any, **keys: Any) -> Any:
    study = {"study": "replay", "scenario": "serving", "trace": trace, "system": {"instance": INSTANCE}, **keys}
    (row,) = tiersim.run(study, keep=False).rows
    assert not row.error
    return row


def test_clients_of_servegen() -> None:
    """300 and 150 requests of two clients and then 150 of the first, with lengths of each."""
    Path("clients.csv").write_text(CLIENTS)
    Path("lengths.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LENGTHS))
    trace = {"use": "clients.csv", "format": "servegen", "lengths": "lengths.jsonl"}
    row = run(trace)
    table = {name: np.array(held) for name, held in row.table("requests").items()}
    drawn = load_trace("clients.csv", format="servegen", lengths="lengths.jsonl").chunks()
    chunk = {name: np.concatenate(parts) for name, parts in _joined(drawn).items()}
    assert (len(table["input"]), row.metrics["requests"], table["served"].sum()) == (600, 600, 600)
    assert (table["input"] == chunk["input"]).all()
    assert (table["arrival"] == (chunk["arrival"] - chunk["arrival"][0]) / 1e6).all()
    assert set(zip(table["input"].tolist(), table["output"].tolist(), strict=True)) == {
        (100, 20), (900, 20), (2000, 30), (2000, 4),
    }  # fmt: skip
    assert (table["input"] == 2000).sum() == 150
    other = run({**trace, "seed": 1, "rate_scale": 0.5, "limit": 200}).table("requests")
    assert len(other["input"]) == 200


def _joined(chunks: Any) -> dict[str, list[Any]]:
    made: dict[str, list[Any]] = {}
    for chunk in chunks:
        for name, values in chunk.items():
            made.setdefault(name, []).append(values)
    return made


def test_published_clients_of_servegen() -> None:
    """The catalogue knows where their lengths are."""
    if not (MIRROR / "servegen_deepseek_r1_clients.csv.gz").exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    row = run({"use": "public/servegen-deepseek-r1-clients", "limit": 2000})
    assert row.metrics["requests"] == 2000
    assert len(np.unique(row.table("requests")["output"])) > 500


def test_a_part_of_burstgpt(capsys: pytest.CaptureFixture[str]) -> None:
    """One that failed does not come; sessions may wait for their answers."""
    Path("BurstGPT.csv").write_text(BURST)
    table = run({"use": "BurstGPT.csv", "limit": 4}).table("requests")
    assert (table["arrival"], table["input"]) == ([0, 40_000, 113_000], [472, 1087, 417])
    waits = run("BurstGPT.csv", load={"sessions": "wait", "think": "1 s"}).table("requests")
    assert waits["input"] == [472, 1087, 417, 30]
    assert waits["arrival"][2] == pytest.approx(waits["e2e"][0] + 1000)
    Path("small.yaml").write_text(
        "study: small\nscenario: serving\ntrace: {use: generated/conversations, requests: 100}\n"
        f"system: {{instance: {json.dumps(INSTANCE)}}}\n"
    )
    with pytest.raises(SystemExit) as stopped:
        main(["run", "small.yaml", "--set", "trace={use: BurstGPT.csv, limit: 4}", "--quiet", "--json"])
    assert not stopped.value.code
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["metrics"]["requests"] == 3
