"""Studies made by hand whose reports are opened in a browser."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tests.experiments.test_report import LATENCY, METRICS, run, study
from tiersim.experiments.figures import style
from tiersim.experiments.results import StudyResult
from tiersim.experiments.sections import Column, Drawing, Grid, Section, Slot

VARIANTS = ("base", "twice the cache", "another policy in it")
LATENCIES = ("70 ns", "90 ns", "120 ns")
OVER_LATENCY = {"x": LATENCY, "y": "cycles_per_instruction", "by": "what_if", "title": None}
BARS = {"x": "what_if", "y": "caches.l2.miss_ratio", "by": None, "title": None, "where": {LATENCY: "70 ns"}}
MANY = 1_250  # runs of the long table


def small(folder: Path) -> StudyResult:
    """Three variants at three latencies with four seeds each, two figures, an analysis and all that a page can have."""
    draw = np.random.default_rng(1)
    rows = []
    for variant in VARIANTS:
        for place, latency in enumerate(LATENCIES):
            for seed in range(4):
                row = run(variant, place, seed, **{LATENCY.replace(".", "__"): latency})
                row.factors["seed"] = seed
                less = 0.12 * VARIANTS.index(variant)
                row.metrics["cycles_per_instruction"] = 1 + 0.3 * place - less + float(draw.normal(0, 0.02))
                row.metrics["caches.l2.miss_ratio"] = 0.4 - less + float(draw.normal(0, 0.01))
                rows.append(row)
    result = study(rows, folder, figures=[OVER_LATENCY, BARS], notes=["nothing else is random"])
    result.question = "Which is worth more, a larger cache or another policy in it?\n\nAn example of a study."
    result.scenario = "memory-hierarchy"
    for row in rows:
        row.config = {"timing": "additive", "miss_kinds": True, "system": {"line": "64 B"}}
    return _Analysed(**{name: getattr(result, name) for name in StudyResult.__dataclass_fields__ if name[0] != "_"})


@dataclass
class _Analysed(StudyResult):
    """A result with a section, as analyses add them."""

    def sections(self) -> list[Section]:
        grid = Grid(
            "indices",
            "How much each factor decides.",
            (Column("factor"), Column("total", "", "total index"), Column("share", "ratio")),
            (
                (Slot("latency"), Slot("0.7", 0.7, 0.6, 0.8), Slot("70 %", 0.7)),
                (Slot("capacity"), Slot("0.3", 0.3, 0.25, 0.35), Slot("30 %", 0.3)),
            ),
        )
        return [Section("What decides", ("Two factors were varied.",), (grid,), (Drawing("indices", "Bars", _bars),))]


def _bars() -> Figure:
    with style():
        figure = Figure(figsize=(3.5, 1.5))
        figure.subplots().barh([0, 1], [0.7, 0.3])
        return figure


def long(folder: Path) -> StudyResult:
    """More runs than a page shows at a time, with integers, ratios and very different numbers."""
    draw = np.random.default_rng(2)
    rows = []
    for place in range(MANY):
        row = run("base", 0, 0, **{LATENCY.replace(".", "__"): f"{50 + place} ns"})
        row.metrics["cycles_per_instruction"] = float(draw.lognormal(0, 1))
        row.metrics["memory.reads"] = int(draw.integers(0, 10**7))
        row.tables = {}
        rows.append(row)
    result = study(rows, folder, figures=[{**OVER_LATENCY, "by": None}])
    return replace(result, metrics=METRICS)
