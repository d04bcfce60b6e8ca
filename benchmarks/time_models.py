"""How far time models are off where others measured: the tables of docs/explanation/time-models.md.

    python benchmarks/time_models.py           print them
    python benchmarks/time_models.py --write   and put them into the page

It reads public traces that `tiersim traces fetch` brings, or that are in the folder TIERSIM_TRACE_MIRROR.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tiersim._base.registry import build
from tiersim.experiments import presets
from tiersim.experiments.calibration import Residuals, calibrate, predicted
from tiersim.experiments.observed import Observation, observations
from tiersim.models.gpu import Gpu
from tiersim.models.llm.parallel import Parallel
from tiersim.models.llm.profile import profile_of
from tiersim.models.llm.times.roofline import Costs, Roofline
from tiersim.models.llm.times.table import interpolated
from tiersim.models.llm.transformer import Transformer
from tiersim.traces import load_trace

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "time-models.md"
SPLITWISE = "splitwise_perf_model.csv.gz"
VIDUR = "vidur_a100_llama2_7b_mlp.csv.gz"
REDUCES = "vidur_a100_dgx_all_reduce.csv.gz"
GPUS = {"A100": ("a100-80gb", "a100-80"), "H100": ("h100-80gb", "h100-sxm")}
SIZES = ((0, 1 << 20, "up to 1 MiB"), (1 << 20, 16 << 20, "to 16 MiB"), (16 << 20, 1 << 40, "above"))
MEETINGS = 64  # all-reduces of an iteration of Llama 2 7B


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    write = parser.parse_args().write
    made = {"splitwise": splitwise(), "vidur": vidur()}
    for name, table in made.items():
        print(table)
        if write:
            place = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
            PAGE.write_text(place.sub(rf"\g<1>\n{table}\n\g<2>", PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def splitwise() -> str:
    """Llama 2 70B on two to eight GPUs."""
    rows: list[Sequence[str]] = [("GPUs", "roofline as it is: prompts", "tokens", "roofline, fitted", "linear, fitted")]
    model = presets.built("llama-2-70b", Transformer)
    for name, (on, preset) in GPUS.items():
        gpu = presets.built(preset, Gpu)
        for tensor in (2, 4, 8):
            seen = observations(profile_of(SPLITWISE).only("llama2-70b", on, tensor), model)
            setting = (model, gpu, Parallel(tensor=tensor))
            said = {"model": model, "gpu": gpu, "tensor": tensor, "of": "llama2-70b", "on": on}
            cells = [_off("roofline", seen, setting, feature) for feature in ("new", "decodes")]
            cells += [_shown(calibrate(SPLITWISE, form, **said).held_out) for form in ("roofline", "linear")]  # type: ignore[arg-type]
            rows.append((f"{tensor} {name}", *cells))
    return _table(rows)


def vidur() -> str:
    """The parts of Llama 2 7B, and all-reduces."""
    model, gpu = presets.built("llama-2-7b", Transformer), presets.built("a100-80", Gpu)
    seen = observations(profile_of(VIDUR).only(None, None, 1), model)
    held_out = {form: calibrate(VIDUR, form, model=model, gpu=gpu).held_out for form in ("roofline", "linear")}
    measured = {item.features["new"]: item.time for item in seen}
    known = {tokens: time for k, (tokens, time) in enumerate(measured.items()) if k % 2 == 0}
    between = [interpolated(known, tokens) / measured[tokens] - 1 for tokens in measured if tokens not in known]
    rows: list[Sequence[str]] = [
        ("what", "off by"),
        ("parts of a layer: the roofline as it is", _off("roofline", seen, (model, gpu, Parallel()), "new")),
        ("the roofline, fitted to one half, on the other", _shown(held_out["roofline"])),
        ("linear, likewise", _shown(held_out["linear"])),
        ("a table of one half, on the other", _percents(between)),
    ]
    for tensor in (2, 4, 8):
        errors = dict(_reduces(model, gpu, tensor))
        for least, most, words in SIZES:
            held = [error for size, error in errors.items() if least < size <= most]
            rows.append((f"all-reduces between {tensor} GPUs, {words}", _percents(held)))
    return _table(rows)


def _reduces(model: Transformer, gpu: Gpu, tensor: int) -> Iterator[tuple[int, float]]:
    """Relative errors of all-reduces by the bytes of a device, within a node."""
    parts = list(load_trace(REDUCES).chunks())
    table = {name: np.concatenate([part[name] for part in parts]) for name in ("size", "median", "workers", "per_node")}
    inside = (table["workers"] == tensor) & (table["per_node"] == tensor)
    costs = Costs(Roofline(), model, gpu, Parallel(tensor=tensor))
    byte = float(costs.wire()) / (MEETINGS * model.hidden * 2)
    for size in np.unique(table["size"][inside]).tolist():
        measured = float(np.median(table["median"][inside & (table["size"] == size)])) * 1000
        yield size, (Roofline().meeting + byte * size) / measured - 1


def _off(name: str, seen: Sequence[Observation], setting: Any, feature: str) -> str:
    part = [item for item in seen if feature in item.features]
    said = predicted(build("time-model", name), part, setting)
    return _percents([there / item.time - 1 for there, item in zip(said, part)])


def _percents(errors: Sequence[float]) -> str:
    sizes = np.abs(errors)
    return f"{np.median(sizes):.1%}, {np.percentile(sizes, 95):.1%}"


def _shown(residuals: Residuals | None) -> str:
    assert residuals is not None
    return f"{residuals.median:.1%}, {residuals.p95:.1%}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *others]) + "\n"


if __name__ == "__main__":
    main()
