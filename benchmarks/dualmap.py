"""Runs the studies of DualMap, judges their claims, and makes what docs/explanation/dualmap.md quotes.

python benchmarks/dualmap.py --out results --workers 2      16 CPU minutes; resumes
python benchmarks/dualmap.py --out results --only dualmap   some of the studies
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from pages import make, table, verdicts

from tiersim.experiments.claims.expressions import Evaluator, parse
from tiersim.experiments.claims.tables import Runs, UnmeasuredError, estimated, in_order, label_of
from tiersim.experiments.results import Row, StudyResult
from tiersim.experiments.statistics import Estimate
from tiersim.experiments.yaml_tree import from_data

ALONG = {  # study -> what varies from column to column
    "dualmap": "load.rate",
    "dualmap-finer": "load.rate",
    "dualmap-clock": "load.rate",
    "dualmap-engine": "load.rate",
    "dualmap-routers": "load.rate",
    "dualmap-stale": "system.cluster.refresh",
    "dualmap-failures": "load.rate",
    "dualmap-growing": "load.rate",
    "dualmap-sizes": "system.cluster.instances",
}
CANDIDATES = ("one candidate", "base", "three candidates", "four candidates")
MINUTE = 60_000  # milliseconds
PERIODS = {  # of a cluster that grows after six minutes
    "up to 6 min": (0, 6),
    "6 to 8": (6, 8),
    "8 to 10": (8, 10),
    "then": (10, np.inf),
}


def main() -> None:
    """Run what is asked for, and write the texts."""
    make("dualmap", "Judge the studies of DualMap.", tuple(ALONG), texts, {"dualmap": ("attainment",)})


def texts(study: str, result: StudyResult) -> dict[str, str]:
    """The tables of a study by the names of their files."""
    along = ALONG[study]
    if study == "dualmap":
        made = {
            "attainment": grid(result, along, "slo_attainment", "{:.1%}"),
            "p90": grid(result, along, "ttft.p90", "{:.1f} s", 1000),
            "candidates": candidates(result),
        }
        if result.claims is not None:
            made["verdicts"] = verdicts(result)
    elif study == "dualmap-finer":
        made = {"goodput": goodput(result, along)}
    elif study == "dualmap-growing":
        made = {
            "attainment": periods(result, "4 /s", in_time, "{:.1%}"),
            "hits": periods(result, "2 /s", hits, "{:.1%}"),
        }
    elif study == "dualmap-sizes":
        made = {
            "capacity": sizes(result, along),
            "hits": grid(result, along, "prefix_hit_ratio.tokens", "{:.1%}"),
        }
    else:
        made = {"attainment": grid(result, along, "slo_attainment", "{:.1%}")}
    return {
        f"{study}-{name}": f"{text}\n{runs(result)}\n" if name != "verdicts" else text for name, text in made.items()
    }


def runs(result: StudyResult) -> str:
    """How many runs a table is made of."""
    seeds = len({row.seed for row in result.rows})
    return f"{len(result.rows)} runs: {len(variants(result))} variants, {seeds} seed{'s' if seeds > 1 else ''}"


def variants(result: StudyResult) -> list[str]:
    return list(dict.fromkeys(str(row.factors["what_if"]) for row in result.rows))


def name_of(variant: str) -> str:
    return "DualMap" if variant == "base" else variant


def mean(rows: Iterable[Row], metric: str) -> float:
    return float(np.mean([row.metrics[metric] for row in rows]))


def grid(result: StudyResult, along: str, metric: str, written: str, unit: float = 1) -> str:
    """A metric of each variant, from value to value of what varies, as the mean over seeds."""
    values = in_order(dict.fromkeys(label_of(row.factors[along]) for row in result.rows))
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in result.rows:
        cells.setdefault((str(row.factors["what_if"]), label_of(row.factors[along])), []).append(row)
    lines = [["", *values]]
    for variant in variants(result):
        found = [mean(cells[variant, value], metric) / unit for value in values]
        lines.append([name_of(variant), *map(written.format, found)])
    return table(lines)


def measured(result: StudyResult, expression: str) -> Estimate | None:
    """What an expression of claims gives, with its interval over seeds; None where that was not reached."""
    try:
        (found,) = Evaluator(Runs(result.rows)).numbers(parse(from_data(expression, "expression")))
    except UnmeasuredError:
        return None
    return estimated(found)


def candidates(result: StudyResult) -> str:
    """How even loads are with one to four candidates, as means over rates."""
    lines = [["candidates", "largest deviation", "less than before", "", "CV", "of the tokens hit", "in time"]]
    for count, name in enumerate(CANDIDATES, 1):
        rows = [row for row in result.rows if row.factors["what_if"] == name]
        step = ("", "")
        if count > 1:
            less = measured(result, f"mean(load_deviation['{CANDIDATES[count - 2]}'] - load_deviation['{name}'])")
            step = ("-", "") if less is None else less.parts()
        shares = [f"{mean(rows, metric):.1%}" for metric in ("prefix_hit_ratio.tokens", "slo_attainment")]
        cv = f"{mean(rows, 'load_cv'):.3f}"
        lines.append([str(count), f"{mean(rows, 'load_deviation'):.3f}", *step, cv, *shares])
    return table(lines)


def goodput(result: StudyResult, along: str) -> str:
    """Up to which rate each variant keeps nine of ten requests in time, and how much less or more DualMap does."""
    kept = "crossing(slo_attainment['{}'], 0.9, '" + along + "')"
    lines = [["", "90 % up to (/s)", "", "DualMap's above it (%)", ""]]
    for variant in variants(result):
        own = measured(result, kept.format(variant))
        cells = ["-", "", "", ""] if own is None else [*own.times(1e-9).parts(), "", ""]  # from requests in 1e9 s
        if own is not None and variant != "base":
            ratio = measured(result, f"{kept.format('base')} / {kept.format(variant)} - 1")
            cells[2:] = ["-", ""] if ratio is None else ratio.times(100).parts("+")
        lines.append([name_of(variant), *cells])
    return table(lines)


def sizes(result: StudyResult, along: str) -> str:
    """The largest rate that each variant keeps, with its interval, and how it grows from end to end."""
    found = {(str(row.factors["what_if"]), label_of(row.factors[along])): row for row in result.rows}
    values = in_order(dict.fromkeys(value for _, value in found))
    lines = [["", *(f"{value} instances (/s)" for value in values), f"{values[-1]} by {values[0]}"]]
    for variant in variants(result):
        rows = [found[variant, value] for value in values]
        small, large = rows[0].metrics["capacity"], rows[-1].metrics["capacity"]
        lines.append([name_of(variant), *map(_kept, rows), f"{large / small:.2f} x" if small and large else "-"])
    return table(lines)


def _kept(row: Row) -> str:
    """The rate that a search found, and its interval; where it is below all rates that were looked at, that."""
    found, low, high = (row.metrics.get(name) for name in ("capacity", "capacity.low", "capacity.high"))
    if not found:
        return f"below {label_of(row.factors['capacity.least']).removesuffix(' /s')}"
    return f"{found:.2f} ({low:.2f} {'or more' if high is None else f'to {high:.2f}'})"


Part = Callable[[Sequence[Row], float, float], float]


def _parts(rows: Sequence[Row], columns: Sequence[str], begin: float, end: float) -> list[float]:
    """Sums of columns over the measured requests of runs that came in a period, in minutes."""
    sums = np.zeros(len(columns))
    for row in rows:
        held = {name: np.array(values) for name, values in row.table("requests").items()}
        came = (held["arrival"] >= begin * MINUTE) & (held["arrival"] < end * MINUTE)
        came[: len(came) - int(row.metrics["requests"])] = False
        sums += [held[name][came].sum() if name else came.sum() for name in columns]
    return [float(each) for each in sums]


def in_time(rows: Sequence[Row], begin: float, end: float) -> float:
    kept, all_ = _parts(rows, ("slo_attainment", ""), begin, end)
    return kept / all_


def hits(rows: Sequence[Row], begin: float, end: float) -> float:
    hit, asked = _parts(rows, ("hit", "input"), begin, end)
    return hit / asked


def periods(result: StudyResult, rate: str, part: Part, written: str) -> str:
    """What came of requests before a cluster grew and after, and of the same requests where it was large before."""
    clusters = {"4": "", "8": "8 up: "}
    lines = [["", *(f"{head}{period}" for head in clusters.values() for period in PERIODS)]]
    for variant in variants(result):
        cells = []
        for up in clusters:
            rows = [
                row
                for row in result.rows
                if (row.factors["what_if"], label_of(row.factors["load.rate"])) == (variant, rate)
                and label_of(row.factors["system.cluster.up"]) == up
            ]
            cells += [written.format(part(rows, *period)) for period in PERIODS.values()]
        lines.append([name_of(variant), *cells])
    return table(lines)


if __name__ == "__main__":
    main()
