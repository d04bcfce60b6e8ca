"""The figures of a study as data that a page draws: the same series as those that matplotlib draws."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tiersim.experiments.figures.canvas import axis_label, far_apart, metric_of, titled, without_unit
from tiersim.experiments.figures.charts import placed
from tiersim.experiments.figures.cloud import Cloud, clouds
from tiersim.experiments.figures.derived import derived
from tiersim.experiments.figures.reuse import SHARE, parts_of
from tiersim.experiments.figures.series import Picked, Series, Spec, pick
from tiersim.experiments.figures.words import shortened, text_of, words
from tiersim.experiments.results import StudyResult

__all__ = ["chart"]

Chart = dict[str, Any]


def chart(result: StudyResult, spec: Spec) -> Chart:
    """One figure of a study, as plain data without not-a-numbers.

    ``kind`` is ``bars`` (which lie), ``stack`` (bars in parts), ``lines``, ``points`` or ``course`` (steps). ``x``
    holds the label, the texts of the places ``at`` and whether the axis is logarithmic; each of the ``series`` its
    label, its ``place`` in the palette, its values and the ends of their ranges. Raises StudyError as `draw` does.
    """
    result, spec = derived(result, spec)
    kinds = {"reuse": _stack, "time": _course, "what_if": _bars, "trace": _bars}
    make = kinds.get(spec["x"], _points if spec["x"] in result.drawn else _lines)
    return make(result, spec)


def _whole(kind: str, result: StudyResult, spec: Spec, picked: Picked, x: Chart, series: list[Chart]) -> Chart:
    title, note = titled(spec, picked)
    metric = metric_of(result, spec["y"])
    return {
        "kind": kind,
        "title": title,
        "note": note,
        "x": x,
        "y": {"label": axis_label(metric), "unit": metric.unit, "meaning": metric.doc},
        "by": words(picked.by) if picked.by not in (None, "what_if") and len(picked.series) > 1 else "",
        "baseline": result.baseline,
        "series": series,
    }


def _series(one: Series, picked: Picked, xs: list[str]) -> Chart:
    mean, low, high = one.columns(xs)
    many = bool(picked.many)
    return {
        "label": " = ".join(one.labels),
        "place": one.place,
        "y": _numbers(mean),
        "low": _numbers(low) if many else None,
        "high": _numbers(high) if many else None,
    }


def _bars(result: StudyResult, spec: Spec) -> Chart:
    picked = pick(result, spec)
    xs = list(picked.xs)
    short = shortened(spec["x"], xs)
    x = {"label": "", "texts": [short[text] for text in xs], "at": None, "log": False}
    return _whole("bars", result, spec, picked, x, [_series(one, picked, xs) for one in picked.series])


def _lines(result: StudyResult, spec: Spec) -> Chart:
    picked = pick(result, spec)
    xs, at, real = placed(picked)
    texts = [text_of(x) for x in xs]
    x = _axis(spec["x"], texts, at.tolist() if real else None, real and far_apart(at))
    return _whole("lines", result, spec, picked, x, [_series(one, picked, texts) for one in picked.series])


def _axis(name: str, texts: list[str], at: list[float] | None, log: bool) -> Chart:
    unit = ""
    if at is not None:
        texts, unit = without_unit(texts)
    return {"label": f"{words(name)} ({unit})" if unit else words(name), "texts": texts, "at": at, "log": log}


def _points(result: StudyResult, spec: Spec) -> Chart:
    held = clouds(result, spec)
    texts = [text_of(x) for x in held.xs]
    log = held.axis is not None and result.drawn[spec["x"]] == "log"
    x = _axis(spec["x"], texts, held.axis[0] if held.axis else None, log)
    return _whole("points", result, spec, held.picked, x, [_cloud(one, held.picked) for one in held.clouds])


def _cloud(one: Cloud, picked: Picked) -> Chart:
    means = [
        [part.middle, part.mean.value, part.mean.low, part.mean.high, float(part.left), float(part.right)]
        for part in one.parts
    ]
    return {
        **_series(one.series, picked, one.keys),
        "at": one.at.tolist(),
        "texts": one.keys,
        "means": [_numbers(mean) for mean in means],
    }


def _course(result: StudyResult, spec: Spec) -> Chart:
    picked = pick(result, spec)
    series = []
    for one in picked.series:
        stack = np.array(one.points[""])
        several = len(stack) > 1
        series.append(
            {
                "label": " = ".join(one.labels),
                "place": one.place,
                "at": [100 * end for end in one.ends],
                "y": _numbers(stack.mean(axis=0)),
                "low": _numbers(stack.min(axis=0)) if several else None,
                "high": _numbers(stack.max(axis=0)) if several else None,
            }
        )
    x = {"label": "share of the trace (%)", "texts": None, "at": None, "log": False}
    return _whole("course", result, spec, picked, x, series)


def _stack(result: StudyResult, spec: Spec) -> Chart:
    by, picked = parts_of(result, spec)
    xs = list(picked.xs)
    short = shortened(by, xs)
    x = {"label": "", "texts": [short[text] for text in xs], "at": None, "log": False}
    series = [_series(one, picked, xs) for one in picked.series]
    whole = _whole("stack", result, {**spec, "x": by}, picked, x, series)
    return {**whole, "y": {"label": f"{SHARE} (%)", "unit": "ratio", "meaning": ""}}


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
