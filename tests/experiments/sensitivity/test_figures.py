"""Figures of a sensitivity, from indices written by hand: what is plotted, not how it looks."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex

from tiersim.experiments.figures import PALETTE, encode
from tiersim.experiments.sensitivity.figures import (
    draw_cells,
    draw_indices,
    draw_pairs,
    draw_plane,
    draw_scatter,
    draw_speedups,
)
from tiersim.experiments.sensitivity.methods import METHODS, Estimate, Factor, Indices, analyse, sample
from tiersim.experiments.sensitivity.ranks import Scatter

NAMES = ("system.link.efficiency", "system.host.memory.bandwidth", "policy.scope")


def some(*values: float | None, reach: float = 0.05) -> tuple[Estimate | None, ...]:
    return tuple(None if value is None else Estimate(value, value - reach, value + reach) for value in values)


SOBOL = Indices(
    "sobol",
    NAMES,
    {"first": some(0.1, 0.5, 0.0), "total": some(0.2, 0.6, 0.3)},
    dict(zip(combinations(NAMES, 2), (Estimate(0.02, -0.1, 0.1), Estimate(0.2, 0.1, 0.3), Estimate(-0.01, -0.1, 0.1)))),
    512,
    0,
)
MORRIS = Indices(
    "morris",
    NAMES,
    {
        "mu_star": some(2.0, 5.0, 3.0),
        "mu": (Estimate(1.0), Estimate(-5.0), None),
        "sigma": (Estimate(2.0), Estimate(0.5), None),
    },
    {},
    40,
    0,
)


def axes_of(figure: Any) -> Any:
    assert len(encode(figure, "svg")) > 1000  # and it can be written
    (axes,) = figure.axes
    return axes


def labels(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_bars_are_in_the_order_of_what_matters_with_their_intervals() -> None:
    figure = draw_indices(SOBOL, "What matters")
    axes = axes_of(figure)
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "host memory bandwidth",
        "policy scope",
        "link efficiency",
    ]
    total, first = [held for held in axes.containers if hasattr(held, "datavalues")]
    np.testing.assert_allclose(total.datavalues, [60, 30, 20])
    np.testing.assert_allclose(first.datavalues, [50, 0, 10])
    ends = total.errorbar.lines[2][0].get_segments()
    np.testing.assert_allclose([line[:, 0] for line in ends], [[55, 65], [25, 35], [15, 25]])
    assert labels(figure) == ["with interactions", "alone"]
    assert axes.get_xlabel() == "share of the variance (%)"
    assert figure.get_suptitle() == "What matters"


def test_morris_has_the_unit_of_its_output() -> None:
    axes = axes_of(draw_indices(MORRIS, "What matters", "tokens/s"))
    assert axes.get_xlabel() == "change over the range (tokens/s)"
    (bars,) = [held for held in axes.containers if hasattr(held, "datavalues")]
    np.testing.assert_allclose(bars.datavalues, [5, 3, 2])


def test_many_factors_are_cut_and_it_is_said() -> None:
    names = tuple(f"factor {at}" for at in range(20))
    many = Indices("delta", names, {kind: some(*range(20)) for kind in ("delta", "dummy", "first")}, {}, 100, 0)
    figure = draw_indices(many, "Many")
    assert len(axes_of(figure).get_yticklabels()) == 12
    assert figure.get_suptitle() == "Many\n8 more factors have less, or none"
    few = Indices("delta", names, {kind: some(*[0.0] * 18, 1, 2) for kind in ("delta", "dummy", "first")}, {}, 100, 0)
    figure = draw_indices(few, "Few")
    assert [text.get_text() for text in axes_of(figure).get_yticklabels()] == ["factor 19", "factor 18"]


def test_pairs_are_coloured_where_they_are_sure() -> None:
    axes = axes_of(draw_pairs(SOBOL, "Together"))
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "host memory bandwidth",
        "policy scope",
        "link efficiency",
    ]
    cells = {(cell.get_x() + 0.5, cell.get_y() + 0.5): to_hex(cell.get_facecolor()) for cell in axes.patches}
    told = {tuple(text.xy): text.get_text() for text in axes.texts}
    assert told == {(0, 1): "-1", (0, 2): "2", (1, 2): "20"}
    assert cells == {(0, 1): "#ffffff", (0, 2): "#ffffff", (1, 2): "#0072b2"}


def test_the_plane_has_what_has_a_spread() -> None:
    figure = draw_plane(MORRIS, "Effects", "ms")
    axes = axes_of(figure)
    points = [tuple(float(one[0]) for one in held.lines[0].get_data()) for held in axes.containers]
    assert points == [(5, 0.5), (2, 2)]
    assert labels(figure) == ["host memory bandwidth", "link efficiency", "spread = size"]
    assert figure.get_suptitle() == "Effects\nno spread: policy scope"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("mean size of the change (ms)", "spread of the change (ms)")


def test_cells_show_who_wins_and_where_nobody_ran() -> None:
    cells = [["base", "other", None], ["base", "base", "other"]]
    figure = draw_cells(
        NAMES[:2], (["60 %", "90 %"], ["1 GB/s", "2 GB/s", "4 GB/s"]), cells, ["base", "lost", "other"], "Who"
    )
    axes = axes_of(figure)
    colours = {(cell.get_x() + 0.5, cell.get_y() + 0.5): to_hex(cell.get_facecolor()).upper() for cell in axes.patches}
    names = {PALETTE[1]: "base", PALETTE[3]: "other", "#FFFFFF": None}
    assert {at: names[colour] for at, colour in colours.items()} == {
        (column, row): name for row, line in enumerate(cells) for column, name in enumerate(line)
    }
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("link efficiency", "host memory bandwidth")
    assert labels(figure) == ["base", "other", "no run"]
    low, high = axes.get_ylim()
    assert low < high  # the first setting is at the bottom


def test_samples_show_who_wins_and_what_failed() -> None:
    places = np.array([[0.1, 0.2], [0.5, 0.5], [0.9, 0.1], [0.3, 0.3]])
    scatter = Scatter(NAMES[0], NAMES[1], places, np.array([0, 2, 2, -1]))
    figure = draw_scatter(scatter, ["base", "lost", "other"], [(0, "60 %"), (1, "95 %")], [(0.5, "2 GB/s")], "Who")
    axes = axes_of(figure)
    points = {label: line.get_xydata().tolist() for label, line in zip(labels(figure), axes.lines, strict=True)}
    assert points == {
        "base (1)": [[0.1, 0.2]],
        "other (2)": [[0.5, 0.5], [0.9, 0.1]],
        "failed (1)": [[0.3, 0.3]],
    }
    assert [text.get_text() for text in axes.get_xticklabels()] == ["60 %", "95 %"]
    assert len({line.get_marker() for line in axes.lines}) == 3


def test_speedups_begin_at_the_studys_own_point() -> None:
    curves = {NAMES[0]: [(1.2, 1.05), (1.1, 1.03)], NAMES[1]: [(1.1, math.nan), (1.2, 1.0)]}
    figure = draw_speedups(curves, "tokens_per_second", "Worth")
    axes = axes_of(figure)
    first, second, _ = axes.lines
    np.testing.assert_allclose(first.get_xydata(), [[0, 0], [10, 3], [20, 5]])
    np.testing.assert_allclose(second.get_xydata(), [[0, 0], [20, 0]])
    assert labels(figure) == ["link efficiency", "host memory bandwidth"]
    assert axes.get_ylabel().replace("\n", " ") == "change of tokens per second (%)"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("constant", [False, True])
def test_what_an_analysis_gives_can_be_drawn(method: str, constant: bool) -> None:
    factors = (Factor(NAMES[0], "range"), Factor(NAMES[1], "levels", 3), Factor(NAMES[2], "categories", 2))
    shares = sample(method, factors, 64)
    indices = analyse(method, factors, shares, shares @ [1.0, 2.0, 0.0] * (not constant))
    axes_of(draw_indices(indices, "What matters", "ms"))
    if method == "sobol":
        axes_of(draw_pairs(indices, "Together"))
    if method == "morris":
        axes_of(draw_plane(indices, "Effects"))


def test_equal_figures_are_equal_bytes() -> None:
    assert encode(draw_indices(SOBOL, "What matters"), "svg") == encode(draw_indices(SOBOL, "What matters"), "svg")
