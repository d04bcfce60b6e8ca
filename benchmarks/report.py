"""What a report of many runs costs: part of `make bench`.

A study of 10,000 runs with 40 metrics is made up (four variants over 250 latencies, ten seeds each), its report is
written, and Chromium opens it as a file: until the first table and the first figure are drawn, and until every control
works. Each is the middle of five fresh pages, on the clock, and wants a machine that does nothing else.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tiersim.experiments.report import write_report
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.scenario import Metric

RUNS, METRICS, SEEDS, OPENED = 10_000, 40, 10, 5
VARIANTS = {"base": 1.0, "twice the cache": 0.8, "another policy": 0.9, "both": 0.7}  # what each does to a metric


def many(folder: Path | None, runs: int = RUNS, metrics: int = METRICS) -> StudyResult:
    """A study of four variants over a swept latency with ten seeds each, whose metrics are drawn."""
    names = [f"caches.l2.metric_{place}" for place in range(metrics)]
    drawn = np.random.default_rng(0).lognormal(0, 0.02, (runs, metrics))
    rows, variants = [], list(VARIANTS)
    for place in range(runs):
        variant, step, seed = variants[place // SEEDS % len(VARIANTS)], place // SEEDS // len(VARIANTS), place % SEEDS
        factors = {"what_if": variant, "system.memory.latency": f"{50 + step} ns", "seed": seed}
        values = dict(zip(names, (drawn[place] * VARIANTS[variant]).tolist(), strict=True))
        rows.append(Row(f"{variant}, latency {50 + step} ns", factors, seed, f"{place:020x}", metrics=values))
    described = {name: Metric(name, "cycles", f"what {name} counts", "less") for name in names}
    figures = [
        {"x": "system.memory.latency", "y": names[0], "by": "what_if", "title": None},
        {"x": "system.memory.latency", "y": names[1], "by": "what_if", "title": None},
    ]
    question = "Which of four variants is best over many latencies?"
    return StudyResult("many-runs", question, rows, [], described, names[:3], "base", figures, {}, folder=folder)


def opened(page: Path) -> tuple[float, float]:
    """Seconds from opening a file until its first table and figure are drawn, and until all is there.

    The browser is there already.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        found = []
        for _ in range(OPENED):
            tab = browser.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
            told = tab.evaluate("[document.documentElement.dataset.drawn, document.documentElement.dataset.ready]")
            found.append([float(one) / 1000 for one in told])
            tab.close()
        browser.close()
    drawn, ready = (statistics.median(times) for times in zip(*found, strict=True))
    return drawn, ready


def benches() -> Iterator[dict[str, Any]]:
    """All of them, each as what was measured and what came out."""
    with tempfile.TemporaryDirectory() as folder:
        result = many(Path(folder))
        begun = time.process_time()
        write_report(result)
        spent = time.process_time() - begun
        page = Path(folder) / "report.html"
        size = page.stat().st_size
        yield {
            "what": f"the report of {RUNS:,} runs with {METRICS} metrics",
            "result": f"{size / 1e6:.1f} MB (wanted: under 15), written in {spent:.1f} s",
            "bytes": size,
            "seconds": spent,
        }
        if shutil.which("chromium") is None:
            yield {"what": "opening it", "result": "skipped: there is no chromium on the path"}
            return
        drawn, ready = opened(page)
        yield {
            "what": "opening it in Chromium until its first table and figure are drawn",
            "result": f"{drawn:.2f} s (wanted: under 3), and {ready:.2f} s until every control works",
            "seconds": drawn,
        }


def main() -> None:
    rows = []
    for row in benches():
        rows.append(row)
        print(f"{row['what']}\n    {row['result']}", flush=True)
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
