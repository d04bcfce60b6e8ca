"""The results of a study as columns: what the script of a report draws its tables and figures from."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tiersim.experiments.comparison import Summary, point, repeated
from tiersim.experiments.figures import amounts, text_of, words
from tiersim.experiments.report.tables import WRITTEN, Table, described, finite
from tiersim.experiments.results import Row, StudyResult, differing
from tiersim.experiments.statistics import estimate

__all__ = ["columns", "library", "packed"]

Columns = dict[str, Any]


def packed(data: Any) -> str:
    """Data as JSON, deflated (RFC 1950) and in base64."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


@cache
def library() -> str:
    """The script of plotly, deflated and in base64."""
    import plotly

    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return base64.b64encode(zlib.compress(script.read_bytes(), 9)).decode()


def columns(result: StudyResult, summaries: list[Summary], tables: list[Table]) -> Columns:
    """All that the page draws from but its figures.

    Factors are lists of different texts with a code for each run; metrics are lists of numbers, null where a run has
    none. `points` are the variants over their seeds, with means and intervals. Long tables are here whole.
    """
    done = [row for row in result.rows if row.status == "done"]
    factors = differing(result.rows)
    shown = [name for name in result.shown if any(name in row.metrics for row in done)]
    names = [*shown, *(name for name in dict.fromkeys(n for row in done for n in row.metrics) if name not in shown)]
    out: Columns = {
        "study": result.study,
        "baseline": result.baseline,
        "seeds": repeated(result.rows),
        "confidence": result.confidence,
        "shown": len(shown),
        "metrics": [_metric(result, name) for name in names],
        "runs": _runs(result, done, factors, names),
        "tables": {table.name: table.columns() for table in tables if len(table.rows) > WRITTEN},
    }
    if repeated(result.rows):
        out["points"] = _points(result, done, summaries, [name for name in factors if name != "seed"], names)
    else:
        out["runs"] |= _reaches(result, done, summaries, shown)
    return out


def _metric(result: StudyResult, name: str) -> dict[str, str]:
    metric = described(result, name)
    return {
        "name": name,
        "words": words(name),
        "unit": metric.unit,
        "meaning": metric.doc,
        "better": metric.better,
    }


def _runs(result: StudyResult, rows: list[Row], factors: list[str], names: list[str]) -> Columns:
    """The runs that finished; `row` is where each stands among all."""
    places = {id(row): place for place, row in enumerate(result.rows)}
    return {
        "count": len(rows),
        "row": [places[id(row)] for row in rows],
        "factors": [_coded(result, name, rows) for name in factors],
        "values": [[finite(row.metrics.get(name)) for row in rows] for name in names],
    }


def _coded(result: StudyResult, name: str, rows: Sequence[Row | Summary]) -> Columns:
    """A factor as its different values in the order of the study, or of amounts, and a code for each row."""
    otherwise = result.baseline if name == "what_if" else ""
    values = [row.factors.get(name, otherwise) for row in rows]
    texts = [text_of(value) for value in values]
    there = dict(zip(texts, values, strict=True))
    found = amounts([value for value in there.values() if value != ""])
    order = list(there)
    at: list[float | None] | None = None
    if found is not None:
        known = dict(zip([text for text, value in there.items() if value != ""], found, strict=True))
        order.sort(key=lambda text: known.get(text, -math.inf))
        at = [known.get(text) for text in order]
    code = {text: place for place, text in enumerate(order)}
    return {
        "name": name,
        "words": words(name),
        "texts": order,
        "at": at,
        "log": result.drawn.get(name) == "log",
        "codes": [code[text] for text in texts],
    }


def _points(
    result: StudyResult, rows: list[Row], summaries: list[Summary], factors: list[str], names: list[str]
) -> Columns:
    """Variants over their seeds: means with intervals, as `StudyResult.compare` has them for what is shown."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(point(row.factors), []).append(row)
    there = [held for held in summaries if point(held.factors) in groups]
    values: list[list[float | None]] = []
    low: list[list[float | None]] = []
    high: list[list[float | None]] = []
    for name in names:
        ends: list[tuple[float | None, float | None, float | None]] = []
        for held in there:
            found = held.metrics[name].value if name in held.metrics else None
            measured = (finite(row.metrics.get(name)) for row in groups[point(held.factors)])
            given = [value for value in measured if value is not None]
            if found is None and given:
                found = estimate(given, confidence=result.confidence)
            ends.append((finite(found.value), finite(found.low), finite(found.high)) if found else (None, None, None))
        values.append([one for one, _, _ in ends])
        low.append([one for _, one, _ in ends])
        high.append([one for _, _, one in ends])
    return {
        "count": len(there),
        "seeds": [max(1, len(held.seeds)) for held in there],
        "factors": [_coded(result, name, there) for name in factors],
        "values": values,
        "low": low,
        "high": high,
    }


def _reaches(result: StudyResult, rows: list[Row], summaries: list[Summary], shown: list[str]) -> Columns:
    """The intervals of single runs from their parts, of the metrics that are shown."""
    by_point = {point(held.factors): held for held in summaries}
    low: list[list[float | None] | None] = []
    high: list[list[float | None] | None] = []
    for name in shown:
        found = [by_point[point(row.factors)].metrics.get(name) for row in rows]
        if all(held is None or held.value.method == "exact" for held in found):
            low.append(None)
            high.append(None)
            continue
        low.append([finite(held.value.low) if held else None for held in found])
        high.append([finite(held.value.high) if held else None for held in found])
    return {"low": low, "high": high}
