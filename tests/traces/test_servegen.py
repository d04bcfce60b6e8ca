"""Requests drawn from the statistics of clients: exact counts, families, lengths, and what is wrong in either file."""

from __future__ import annotations

import io
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiersim._base.errors import TraceError
from tiersim._base.paths import cache_folder
from tiersim._base.registry import build
from tiersim.traces import stream_trace
from tiersim.traces.fetch import find_public
from tiersim.traces.ragged import joined
from tiersim.traces.readers import servegen
from tiersim.traces.schema import REQUEST

HEAD = b"client,window_start_s,rate,cv,pattern,arg1,arg2\n"
RAW = HEAD + b"0,0,0,0,,0,0\n0,600,0.085,1,Gamma,0.5,3\n0,1200,1,1,Weibull,0.7,2\n3,600,0.01,1,Gamma,2,3\n"
LINES = [
    {
        "client": 0,
        "windows": {
            "0": {"input_tokens": "{10: 0.25, 20: 0.75}", "output_tokens": "{1: 1.0}", "reason_ratio": "{}"},
            "1200": {"input_tokens": "{30: 1}", "output_tokens": "{2: 0.5, 4294967295: 0.5}"},
        },
    },
    {"client": 3, "windows": {"0": {"input_tokens": "{5: 1.0}", "output_tokens": "{6: 1.0}"}}},
]


@pytest.fixture(autouse=True)
def lengths(tmp_path: Path) -> Path:
    return put(tmp_path / "lengths.jsonl", LINES)


def put(path: Path, held: list[Any]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in held))
    return path


def read(raw: bytes, lengths: Path | str, **options: Any) -> dict[str, Any]:
    reader = build("reader", {"use": "servegen", "lengths": str(lengths), **options})
    chunks = [REQUEST.check(chunk, "t") for chunk in reader.read(io.BytesIO(raw), "t.csv")]
    return {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}


def test_counts_are_exact(lengths: Path) -> None:
    found = read(RAW, lengths)
    since = found["arrival"] / 10**9
    zero = found["session"] == 0
    assert (np.diff(found["arrival"]) >= 0).all()
    assert int((zero & (since < 600)).sum()) == 51
    assert int((zero & (since >= 600)).sum()) == 600
    assert int((found["session"] == 3).sum()) == 6
    assert since.max() < 1200
    # lengths of the last window that began by then
    assert set(found["input"][zero & (since < 600)].tolist()) == {10, 20}
    assert set(found["input"][zero & (since >= 600)].tolist()) == {30}
    assert set(found["output"][zero & (since >= 600)].tolist()) == {2, 2**32 - 1}
    assert set(found["output"][~zero].tolist()) == {6}


def test_the_seed_matters_and_clients_do_not_disturb_each_other(lengths: Path) -> None:
    found = read(RAW, lengths)
    assert (read(RAW, lengths)["arrival"] == found["arrival"]).all()
    assert (read(RAW, lengths, seed=1)["arrival"] != found["arrival"]).any()
    alone = read(RAW[: RAW.index(b"3,600")], lengths)
    assert (alone["arrival"] == found["arrival"][found["session"] == 0]).all()


@pytest.mark.parametrize(("family", "shape"), [("Gamma", 0.5), ("Gamma", 4), ("Weibull", 0.7), ("Weibull", 3)])
def test_gaps_vary_as_the_family_says(family: str, shape: float, lengths: Path) -> None:
    raw = HEAD + f"0,0,100,1,{family},{shape},1\n".encode()
    gaps = np.diff(read(raw, lengths)["arrival"].astype(np.float64))
    square = math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1 if family == "Weibull" else 1 / shape
    assert gaps.std() / gaps.mean() == pytest.approx(math.sqrt(square), rel=0.05)


def test_lengths_are_drawn_as_often_as_they_say(lengths: Path) -> None:
    sizes = read(HEAD + b"0,0,100,1,Gamma,1,1\n", lengths)["input"]
    assert float((sizes == 20).mean()) == pytest.approx(0.75, abs=0.01)


def test_a_fraction_of_a_request(lengths: Path) -> None:
    raw = HEAD + b"".join(b"0,%d,0.01,1,Gamma,1,1\n" % (600 * place) for place in range(2000))
    assert len(read(raw, lengths)["input"]) == 12_000
    assert len(read(raw, lengths, rate_scale=0.05)["input"]) == pytest.approx(600, rel=0.15)


def test_shapes_beyond_floating_point(lengths: Path) -> None:
    found = read(HEAD + b"0,0,0.005,1,Weibull,1e-9,1\n0,600,0.005,1,Gamma,1e-300,1\n", lengths)
    assert found["arrival"].tolist() == [150 * 10**9, 300 * 10**9, 450 * 10**9, *[x * 10**9 for x in (750, 900, 1050)]]


def test_clients_without_lengths(tmp_path: Path) -> None:
    lengths = put(tmp_path / "one.jsonl", LINES[:1])
    with pytest.raises(TraceError, match=r"has no lengths of client 3 for the window at 600 s of t\.csv"):
        read(RAW, lengths)
    assert set(read(RAW, lengths, without_lengths="skip")["session"].tolist()) == {0}


def test_the_file_of_lengths(tmp_path: Path, lengths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TraceError, match=r"t\.csv has no lengths"):
        read(RAW, "")
    with pytest.raises(TraceError, match="cannot be read"):
        read(RAW, tmp_path / "none")
    with pytest.raises(TraceError, match="has no public trace 'public/none'"):
        read(RAW, "public/none")
    with pytest.raises(TraceError, match="has the sha256"):
        read(RAW, lengths, lengths_sha256="0" * 64)
    path = tmp_path / "t.csv"
    path.write_bytes(RAW)
    monkeypatch.setenv("TIERSIM_TRACE_MIRROR", str(tmp_path))
    before = stream_trace(path, lengths="lengths.jsonl").fingerprint
    lengths.write_text(lengths.read_text().replace("30", "31"))
    assert stream_trace(path, lengths="lengths.jsonl").fingerprint != before


def test_lengths_that_are_published(tmp_path: Path, lengths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)
    name = "public/servegen-deepseek-r1-lengths"
    with pytest.raises(TraceError, match=f"{name} is not here yet"):
        read(RAW, name)
    kept = cache_folder("public") / find_public(name).file
    kept.write_bytes(lengths.read_bytes())  # as if it had been fetched, and what is fetched has been checked
    published, own = read(RAW, name), read(RAW, lengths)
    assert all(np.array_equal(published[column], own[column]) for column in own)


@pytest.mark.parametrize(
    "bad",
    [
        b"0,600,1,1,Gamma,1,1",
        b"0,1800,1,1,,1,1",
        b"0,1800,1,1,Pareto,1,1",
        b"0,1800,1,1,Gamma,0,1",
        b"0,1800,nan,1,Gamma,1,1",
        b"0,1800,-1,1,Gamma,1,1",
        b"0,1800,inf,1,Gamma,1,1",
        b"0,-5,1,1,Gamma,1,1",
        b"a,1800,1,1,Gamma,1,1",
        b"0,1800,1,1,Gamma,1",
    ],
)
def test_a_wrong_window(bad: bytes, lengths: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read(RAW + bad + b"\n", lengths)
    assert caught.value.message.startswith(f"t.csv: line 6 (byte {len(RAW)}) is not a ")
    assert "expected" in caught.value.remedy


def test_more_than_is_drawn(lengths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TraceError, match="client 0 has 6e\\+303 requests"):
        read(HEAD + b"0,0,1e301,1,Gamma,1,1\n", lengths)
    monkeypatch.setattr(servegen, "MOST_ROWS", 3)
    with pytest.raises(TraceError, match=r"line 5 .* first 3 windows"):
        read(RAW, lengths)


def window(text: Any) -> dict[str, Any]:
    return {"client": 7, "windows": {"0": {"input_tokens": text, "output_tokens": "{1: 1}"}}}


@pytest.mark.parametrize(
    "bad",
    [
        LINES[0],
        {"client": 7},
        {"client": "7", "windows": {}},
        {"client": 7, "windows": {"a": {}}},
        {"client": 7, "windows": {"0": {}}},
        *map(
            window,
            ["{1: 1", "[1]", "{-1: 1}", "{1.5: 1}", "{1: 2}", "{1: 0}", "{4294967296: 1}", "{{}}", 5, None, "", "{1}"],
        ),
        window("{" * 5000),
        window("__import__('os')"),
        [1],
    ],
)
def test_wrong_lengths(bad: Any, tmp_path: Path) -> None:
    path = put(tmp_path / "bad.jsonl", [*LINES, bad])
    with pytest.raises(TraceError, match=r"bad\.jsonl: line 3 \(byte \d+\) is not the lengths of a client"):
        read(RAW, path)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), table=st.booleans())
def test_changed_bytes(seed: int, table: bool, tmp_path: Path) -> None:
    draw = random.Random(seed)
    held = bytearray(RAW if table else b"".join(json.dumps(item).encode() + b"\n" for item in LINES))
    for _ in range(draw.randrange(1, 6)):
        held[draw.randrange(len(held))] = draw.choice([draw.randrange(256), *b"019e.-,\n{}"])
    path = tmp_path / "changed.jsonl"
    path.write_bytes(bytes(held))
    try:
        read(bytes(held) if table else RAW, tmp_path / "lengths.jsonl" if table else path, rate_scale=1e-3)
    except TraceError as error:
        made = error
    except IndexError:  # not one chunk, of which `Foreign` says that there is no request
        return
    else:
        return
    assert made.remedy
