"""Measured times of sends between two GPUs beside latency + size / bandwidth: `python benchmarks/links_measured.py`.

The data are Vidur's tables of NCCL's send and receive (``TIERSIM_TRACE_MIRROR`` names their folder). Latency and
bandwidth are fitted to every other size; the errors are those of the sizes between, which the fit has not seen. Beside
them stand the errors of the preset's link with nothing fitted at all.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from tiersim.experiments import presets
from tiersim.experiments.yaml_tree import plain
from tiersim.models.links.fit import Fit, fit
from tiersim.models.links.nvlink import Nvlink
from tiersim.traces import load_trace

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
TABLES = {
    "vidur_a100_dgx_send_recv.csv.gz": "nvlink-3",
    "vidur_a100_pairwise_nvlink_send_recv.csv.gz": "nvlink-3",
    "vidur_a40_pairwise_nvlink_send_recv.csv.gz": "",
}


def measured(file: str, per_node: int) -> tuple[np.ndarray, np.ndarray]:
    """Sizes in bytes and median times in picoseconds of sends between two GPUs, so many of them in one node."""
    parts = list(load_trace(MIRROR / file, format="vidur-profile").chunks())
    table = {name: np.concatenate([part[name] for part in parts]) for name in ("size", "median", "workers", "per_node")}
    rows = (table["workers"] == 2) & (table["per_node"] == per_node)
    order = np.argsort(table["size"][rows], kind="stable")
    return table["size"][rows][order].astype(np.int64), table["median"][rows][order] * 1000


def judged(sizes: np.ndarray, times: np.ndarray) -> tuple[Fit, float, float]:
    """The fit to every other row; the mean absolute error and the 95th percentile of the rows between."""
    found = fit(sizes[::2], times[::2])
    errors = np.abs(found.times(sizes[1::2]) / times[1::2] - 1)
    return found, float(errors.mean()), float(np.quantile(errors, 0.95))


def main() -> None:
    if absent := [file for file in TABLES if not (MIRROR / file).exists()]:
        print(f"skipped: name a folder that has {absent[0]} with TIERSIM_TRACE_MIRROR")
        return
    print(f"{'table':46} {'where':10} {'rows':>5} {'latency':>9} {'GB/s':>7} {'error':>7} {'95 %':>7} {'preset':>8}")
    for file, preset in TABLES.items():
        for per_node, where in ((2, "one node"), (1, "two nodes")):
            sizes, times = measured(file, per_node)
            found, mean, high = judged(sizes, times)
            unfitted = ""
            if preset and per_node == 2:
                link = TypeAdapter(Nvlink).validate_python(plain(presets.find(preset).tree))
                as_preset = Fit(2 * link.latency, int(link.wire().goodput))
                unfitted = f"{as_preset.error(sizes, times):8.1%}"
            print(
                f"{file:46} {where:10} {len(sizes):5} {found.latency / 1e6:6.1f} us {found.bandwidth / 1e9:7.1f} "
                f"{mean:7.1%} {high:7.1%} {unfitted:>8}"
            )


if __name__ == "__main__":
    main()
