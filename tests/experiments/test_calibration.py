"""Calibration: it finds what times were made with, bears wrong ones, and says how far off it is on others."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import StudyError
from tiersim._base.registry import build
from tiersim._base.units import parse
from tiersim.cli import main
from tiersim.experiments import presets
from tiersim.experiments.calibration import calibrate
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.transformer import Transformer

ROOT = Path(__file__).parents[2]
MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
HEAD = "model,hardware,prompt_size,batch_size,token_size,average_power,prompt_time,token_time,e2e_time,tensor_parallel"
SIZES = [(128, 1), (512, 1), (1024, 1), (2048, 1), (4096, 1), (8192, 1), (512, 2), (512, 8), (512, 32), (512, 64)]


def made_up(
    path: Path, said: dict[str, Any], model: str, gpu: str, wrong: dict[int, float] | None = None, tensor: int = 1
) -> str:
    """A profile in Splitwise's form that a time model made; some rows are wrong by a factor."""
    setting = (presets.built(model, Transformer), presets.built(gpu, Gpu), Parallel(tensor=tensor))
    time_model = build("time-model", said)
    arrays = time_model.compiled(*setting).values()
    lines = [HEAD]
    for row, (tokens, batch) in enumerate(SIZES):
        new, squares = tokens * batch, batch * tokens**2
        prompt = time_model.step(*arrays, batch, new, squares, squares, new, 0, 0) / 1e9
        token = time_model.step(*arrays, 0, 0, 0, 0, 0, batch, batch * (tokens + 64)) / 1e9
        prompt *= (wrong or {}).get(row, 1)
        lines.append(f"m,h,{tokens},{batch},128,0,{prompt:.9f},{token:.9f},{prompt + 128 * token:.9f},{tensor}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


LINEAR = {
    "use": "linear", "prefill": "50 us/token", "iteration": "20 ms", "attention": "4 ns/token",
    "decode": "300 us/request", "cached": "60 ns/token",
}  # fmt: skip
ROOFLINE = {
    "use": "roofline", "matrices": "55 %", "attention": "40 %", "weights": "70 %", "cache": "45 %",
    "layer": "90 us/layer",
}  # fmt: skip


def test_a_linear_model_is_found_again(tmp_path: Path) -> None:
    name = made_up(tmp_path / "p.csv", LINEAR, "llama-2-7b", "a100-80")
    found = calibrate(name, "linear")
    for key, text in LINEAR.items():
        if key != "use":
            dimension = "time" if key == "iteration" else "time_per_item"
            there, wanted = (parse(said, dimension).amount for said in (found.time_model[key], text))
            assert there == pytest.approx(wanted, rel=2e-3), key
    assert found.held_out is not None
    assert (found.fitted.configurations, found.held_out.configurations) == (10, 10)
    assert found.held_out.p95 < 1e-3
    assert found.time_model["fitted"] == {"new": [128, 16384], "decodes": [1, 32], "context": [192, 18432]}


@pytest.mark.parametrize("tensor", [1, 4])
def test_a_roofline_is_found_again(tmp_path: Path, tensor: int) -> None:
    name = made_up(tmp_path / "p.csv", ROOFLINE, "llama-2-7b", "a100-80", tensor=tensor)
    model, gpu = presets.built("llama-2-7b", Transformer), presets.built("a100-80", Gpu)
    found = calibrate(name, model=model, gpu=gpu, tensor=tensor, hold_out=0.3)
    for key in ("matrices", "attention", "cache"):
        there, wanted = (parse(said[key], "ratio").amount for said in (found.time_model, ROOFLINE))
        assert there == pytest.approx(wanted, rel=0.02), key
    assert found.held_out is not None
    assert found.held_out.p95 < 0.01


def test_a_wrong_measurement_does_not_rule(tmp_path: Path) -> None:
    name = made_up(tmp_path / "p.csv", LINEAR, "llama-2-7b", "a100-80", wrong={9: 0.03, 2: 3.0})
    found = calibrate(name, "linear", hold_out=0)
    assert parse(found.time_model["prefill"], "time_per_item").amount == pytest.approx(50 * 10**6, rel=0.02)
    assert found.held_out is None
    assert found.fitted.median < 0.01 < 1 < found.fitted.p95


def test_nothing_is_below_0(tmp_path: Path) -> None:
    """Times that fall with the context would need a negative coefficient."""
    path = tmp_path / "p.csv"
    rows = [f"m,h,{tokens},1,128,0,{tokens * 0.05},{20 - tokens / 1000},100,1" for tokens in (128, 512, 1024, 4096)]
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    found = calibrate(str(path), "linear", hold_out=0)
    assert "cached" not in found.time_model
    build("time-model", found.time_model)


def test_parts_of_a_layer(tmp_path: Path) -> None:
    parts = str(ROOT / "tests" / "models" / "profiles" / "parts.csv")
    model, gpu = presets.built("llama-2-7b", Transformer), presets.built("a100-80", Gpu)
    found = calibrate(parts, model=model, gpu=gpu, hold_out=0)
    assert found.time_model["fitted"] == {"new": [1, 1024]}
    assert found.fitted.configurations == 3
    with pytest.raises(StudyError, match="it has no prompt and token, and parts of a layer need to know the model"):
        calibrate(parts, "linear")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"form": "table"}, "no time model that can be fitted is called 'table'; there are: linear, roofline"),
        ({"form": "lineal"}, "did you mean 'linear'"),
        ({}, "a roofline is fitted for a model on a GPU"),
        ({"form": "linear", "hold_out": 1.0}, "a share of 100% cannot be held out"),
        ({"form": "linear", "hold_out": 0.9}, "2 configurations are too few to fit"),
        ({"form": "linear", "tensor": 2}, "it has no times of 2 devices"),
        ({"form": "linear", "of": "n"}, "no model in it is called 'n'; did you mean 'm'|there are: m"),
    ],
)
def test_what_cannot_be_fitted(tmp_path: Path, said: dict[str, Any], message: str) -> None:
    name = made_up(tmp_path / "p.csv", LINEAR, "llama-2-7b", "a100-80")
    with pytest.raises(StudyError, match=message):
        calibrate(name, **said)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = made_up(tmp_path / "p.csv", ROOFLINE, "llama-2-7b", "a100-80")

    def run(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main(["calibrate", name, *more])
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    status, out, _ = run("--model", "llama-2-7b", "--gpu", "a100-80")
    assert status == 0
    assert out.startswith(f"# Fitted to 10 configurations of {name}; it is off by ")
    assert "\ntime_model:\n  use: roofline\n  matrices: " in out
    status, out, _ = run("--time-model", "linear", "--hold-out", "30 %", "--json")
    found = json.loads(out)
    assert (status, found["time_model"]["use"], found["held_out"]["configurations"]) == (0, "linear", 6)
    assert set(found) == {"profile", "time_model", "fitted", "held_out", "seen", "notes", "snippet"}
    assert set(found["fitted"]) == {"configurations", "median", "p95", "bias"}
    status, _, err = run("--model", "llama-2-7b", "--gpu", "llama-2-7b")
    assert (status, "'llama-2-7b' is a preset for transformer, not for gpu" in err) == (2, True)


# --- against measured times that are published


def mirrored(name: str) -> str:
    if not (MIRROR / name).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    return name


@pytest.mark.parametrize("form", ["linear", "roofline"])
@pytest.mark.parametrize(
    ("on", "gpu", "tensor"),
    [(f"{name}-80gb", preset, t) for name, preset in (("a100", "a100-80"), ("h100", "h100-sxm")) for t in (2, 4, 8)],
)
def test_llama_2_70b_as_splitwise_measured_it(form: str, on: str, gpu: str, tensor: int) -> None:
    """Half of the configurations predict the other half."""
    found = calibrate(
        mirrored("splitwise_perf_model.csv.gz"),
        form,
        model=presets.built("llama-2-70b", Transformer),
        gpu=presets.built(gpu, Gpu),
        tensor=tensor,
        of="llama2-70b",
        on=on,
    )
    assert found.held_out is not None
    assert found.held_out.configurations == 16
    assert found.held_out.median < 0.085
    assert found.held_out.p95 < 0.4
    assert np.abs(found.held_out.bias) < 0.085


def test_llama_2_7b_as_vidur_measured_it() -> None:
    found = calibrate(
        mirrored("vidur_a100_llama2_7b_mlp.csv.gz"),
        model=presets.built("llama-2-7b", Transformer),
        gpu=presets.built("a100-80", Gpu),
    )
    assert found.held_out is not None
    assert (found.fitted.configurations, found.held_out.configurations) == (130, 129)
    assert found.held_out.median < 0.03
    assert found.held_out.p95 < 0.16
    assert parse(found.time_model["matrices"], "ratio").amount == pytest.approx(64 * 10**7, rel=0.03)  # the default


def test_the_page_says_what_is_measured() -> None:
    """The tables of docs/explanation/time-models.md, made anew: equal but for the last digits of solvers."""
    for name in ("splitwise_perf_model.csv.gz", "vidur_a100_llama2_7b_mlp.csv.gz", "vidur_a100_dgx_all_reduce.csv.gz"):
        mirrored(name)
    spec = importlib.util.spec_from_file_location("time_models", ROOT / "benchmarks" / "time_models.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    page = made.PAGE.read_text(encoding="utf-8")
    for table in (made.splitwise(), made.vidur()):
        for row in table.splitlines()[2:]:
            label = row.split("|")[1]
            (quoted,) = (line for line in page.splitlines() if line.startswith(f"|{label}|"))
            shown, measured = (list(map(float, re.findall(r"([0-9.]+)%", line))) for line in (quoted, row))
            assert shown == pytest.approx(measured, rel=0.05, abs=0.3)
