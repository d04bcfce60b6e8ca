"""Runs the studies of Victima, judges their claims, and makes what docs/explanation/victima.md quotes.

python benchmarks/victima.py --out results --workers 2      hours on two cores; resumes
python benchmarks/victima.py --out results --seeds 1        a third of it, with nothing to tell chance by
python benchmarks/victima.py --out results --only victima   some of the studies
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pages import make, table, verdicts

from tiersim.experiments.results import Row, StudyResult

STUDIES = (
    *("victima", "victima-l2-sizes", "victima-rules", "victima-guests", "victima-artifact"),
    *("victima-larger-tlbs", "victima-pages", "victima-calibration"),
)
FIGURES = {  # study -> the name of each of its figures, none for those that the page does not show
    "victima": ("native", "guests", "walks", "reuse", "block-reuse", "reach", "harm"),
    "victima-l2-sizes": ("l2-sizes", "", "l2-speedup", "l2-reach"),
    "victima-artifact": ("artifact-native", "artifact-guests", ""),
    "victima-larger-tlbs": ("larger-tlbs", ""),
    "victima-pages": ("pages", ""),
    "victima-calibration": ("one-factor", "one-factor-guests"),
}
PAIRS = {  # what is compared at other calibrations: the slower and the faster variant
    "V1 Victima over radix tables": ("base", "Victima"),
    "V2 Victima over nested paging": ("nested paging", "nested Victima"),
    "V3 Victima over POM-TLB": ("POM-TLB", "Victima"),
    "V4 the same in guests": ("nested POM-TLB", "nested Victima"),
    "V8 64 Ki-entry L2 TLB, 39 cycles": ("base", "64 Ki-entry L2 TLB, 39 cycles"),
    "V9 64 Ki-entry L3 TLB, 15 cycles": ("base", "64 Ki-entry L3 TLB, 15 cycles"),
    "128 Ki-entry L2 TLB, 12 cycles": ("base", "128 Ki-entry L2 TLB, 12 cycles"),
}
SHARES = (0.2, 0.3, 0.4)  # of the cycles of radix tables that translation takes
Cost = Callable[[Row], float]


def main() -> None:
    """Run what is asked for, and write texts and figures."""
    make("victima", "Judge the studies of Victima.", STUDIES, texts, FIGURES)


def texts(study: str, result: StudyResult) -> dict[str, str]:
    """The tables of a study by the names of their files."""
    made = {f"{study}-means": means(result)}
    if result.claims is not None:
        made[f"{study}-verdicts"] = verdicts(result)
    if study == "victima":
        made["victima-shares"] = calibrations(result)
    return made


def means(result: StudyResult) -> str:
    """Each variant at each point, as the mean over workloads and seeds."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in result.rows:
        rest = [str(value) for key, value in row.factors.items() if key not in (*OF_WORKLOAD, "seed", "what_if")]
        groups.setdefault((str(row.factors["what_if"]), *rest), []).append(row)
    lines = [["variant", *(head for head, _, _ in COLUMNS)]]
    for (variant, *rest), rows in groups.items():
        base = groups["base", *rest]
        cells = [_cell(written, taken, rows, base) for _, taken, written in COLUMNS]
        lines.append([", ".join([variant, *rest]), *cells])
    return table(lines) + f"\n{_runs(result)}\n"


OF_WORKLOAD = ("trace", "system.core.stall_factor")


def _mean(name: str) -> Callable[[Sequence[Row], Sequence[Row]], float]:
    def taken(rows: Sequence[Row], base: Sequence[Row]) -> float:
        return sum(row.metrics[name] for row in rows) / len(rows)

    return taken


def _speedup(rows: Sequence[Row], base: Sequence[Row]) -> float:
    return geomean(cycles(one) / cycles(other) for one, other in paired(base, rows)) - 1


COLUMNS: tuple[tuple[str, Callable[[Sequence[Row], Sequence[Row]], float], str], ...] = (
    ("speedup", _speedup, "{:+.1%}"),
    ("of the cycles", _mean("translation.share"), "{:.1%}"),
    ("walks /1000", _mean("walks_per_kiloinstruction"), "{:.1f}"),
    ("cycles each", _mean("walk_latency"), "{:.0f}"),
    ("host walks", _mean("host_walks_per_kiloinstruction"), "{:.1f}"),
    ("reach", _mean("translation_reach"), "{:.0f} MB"),
    ("L2 misses", _mean("caches.l2.mpki"), "{:.1f}"),
)


def _cell(written: str, taken: Any, rows: Sequence[Row], base: Sequence[Row]) -> str:
    try:
        value = taken(rows, base)
    except KeyError:  # a metric that this variant has not
        return "-"
    return written.format(value / 1e6 if written.endswith("MB") else value)


def calibrations(result: StudyResult) -> str:
    """Speedups with stall factors set for other shares of translation, and with one for all workloads.

    Cycles are linear in the stall factor, so that runs tell those of any other.
    """
    base = [row for row in result.rows if row.factors["what_if"] == "base"]
    other = _one_factor(base)
    ways = {f"{share:.0%}": _at_share(base, share) for share in SHARES}
    ways[f"one factor, {other:.1%}"] = lambda row: rest(row) + other * exposed(row)
    lines = [["", *ways]]
    for label, (slow, fast) in PAIRS.items():
        rows = [[row for row in result.rows if row.factors["what_if"] == name] for name in (slow, fast)]
        lines.append(
            [label, *(f"{geomean(way(a) / way(b) for a, b in paired(*rows)) - 1:+.1%}" for way in ways.values())]
        )
    return table(lines) + f"\n{_runs(result)}\n"


def _at_share(base: Sequence[Row], share: float) -> Cost:
    """Cycles, if the stall factor of each workload is set so that translation takes this share on `base`."""
    factors = {_workload(row): share / (1 - share) * rest(row) / exposed(row) for row in base}
    return lambda row: rest(row) + factors[_workload(row)] * exposed(row)


def _one_factor(base: Sequence[Row]) -> float:
    """The stall factor with which translation takes 30 % of the workloads' cycles on average."""
    low, high = 0.0, 10.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        shares = [middle * exposed(row) / (rest(row) + middle * exposed(row)) for row in base]
        low, high = (middle, high) if sum(shares) / len(shares) < 0.3 else (low, middle)
    return low


def cycles(row: Row) -> float:
    return float(row.metrics["cycles"])


def rest(row: Row) -> float:
    """The cycles that are not translation's."""
    return cycles(row) * (1 - row.metrics["translation.share"])


def exposed(row: Row) -> float:
    """Translation's, if nothing of them is hidden."""
    factor = float(str(row.factors["system.core.stall_factor"]).rstrip(" %")) / 100
    return cycles(row) * row.metrics["translation.share"] / factor


def _workload(row: Row) -> tuple[str, int]:
    return str(row.factors["trace"]), row.seed


def paired(left: Iterable[Row], right: Iterable[Row]) -> list[tuple[Row, Row]]:
    """Runs of the same workload with the same seed."""
    there = {_workload(row): row for row in left}
    return [(there[_workload(row)], row) for row in right]


def geomean(ratios: Iterable[float]) -> float:
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))


def _runs(result: StudyResult) -> str:
    seeds = len({row.seed for row in result.rows})
    traces = len({row.factors["trace"] for row in result.rows})
    return f"{len(result.rows)} runs: {traces} workloads, {seeds} seed{'s' if seeds > 1 else ''}"


if __name__ == "__main__":
    main()
