"""Indices of a function whose indices are known (Ishigami and Homma, 1990), by each method."""

import numpy as np

from tiersim.experiments.sensitivity.methods import Factor, analyse, sample

FACTORS = [Factor("x1", "range"), Factor("x2", "range"), Factor("x3", "range")]


def ishigami(shares):
    x1, x2, x3 = np.pi * (2 * shares.T - 1)
    return np.sin(x1) + 7 * np.sin(x2) ** 2 + 0.1 * x3**4 * np.sin(x1)


def show(method, samples, known):
    shares = sample(method, FACTORS, samples)
    indices = analyse(method, FACTORS, shares, ishigami(shares))
    print(f"{method}: {indices.used:,} runs")
    for kind, estimates in indices.kinds.items():
        found = [
            f"{round(one.value, 2) + 0.0:5.2f}" + (f" ±{one.high - one.value:.2f}" if one.low is not None else "")
            for one in estimates
        ]
        truth = f"   known: {'  '.join(f'{one:.2f}' for one in known[kind])}" if kind in known else ""
        print(f"  {kind:8} {'  '.join(f'{text:11}' for text in found)}{truth}".rstrip())
    for pair, one in indices.second.items():
        truth = 0.24 if pair == ("x1", "x3") else 0
        print(
            f"  {' and '.join(pair)} {round(one.value, 2) + 0.0:5.2f} ±{one.high - one.value:.2f}   known: {truth:.2f}"
        )


show("sobol", 512, {"first": (0.31, 0.44, 0), "total": (0.56, 0.44, 0.24)})
show("morris", 40, {})
show("pawn", 512, {})
show("delta", 512, {})
