"""How often intervals of Sobol indices hold the truth, and how far delta is off, over many seeds."""

import numpy as np

from tiersim.experiments.sensitivity.methods import Factor, analyse, sample

FACTORS = [Factor("x1", "range"), Factor("x2", "range"), Factor("x3", "range")]
ALONE = np.array([(1 + 0.1 * np.pi**4 / 5) ** 2 / 2, 49 / 8, 0])
JOINT = 0.01 * np.pi**8 * (1 / 18 - 1 / 50)
LOOKED = (("delta", 0), ("delta", 2), ("dummy", 2))
KNOWN = {"first": ALONE, "total": ALONE + np.array([JOINT, 0, JOINT])}


def ishigami(shares):
    x1, x2, x3 = np.pi * (2 * shares.T - 1)
    return np.sin(x1) + 7 * np.sin(x2) ** 2 + 0.1 * x3**4 * np.sin(x1)


for samples in (64, 256):
    held, half = {kind: [] for kind in KNOWN}, {kind: [] for kind in KNOWN}
    for seed in range(100):
        shares = sample("sobol", FACTORS, samples, seed, second_order=False)
        indices = analyse("sobol", FACTORS, shares, ishigami(shares), seed, second_order=False)
        for kind, known in KNOWN.items():
            for one, truth in zip(indices.kinds[kind], known / (ALONE.sum() + JOINT), strict=True):
                held[kind].append(one.low <= truth <= one.high)
                half[kind].append(one.high - one.value)
    told = [f"{kind} in {np.mean(held[kind]):.0%}, ±{np.mean(half[kind]):.2f}" for kind in KNOWN]
    print(f"{samples} base samples: the 95 % intervals hold {'; '.join(told)}")
for samples in (100, 1000):
    found = []
    for seed in range(10):
        shares = sample("delta", FACTORS, samples, seed)
        found.append(analyse("delta", FACTORS, shares, shares[:, 0] + shares[:, 1], seed).kinds)
    matters, idle, dummy = (np.mean([kinds[kind][at].value for kinds in found]) for kind, at in LOOKED)
    print(f"{samples} samples: delta {matters:.2f} where 0.33 is right; of no effect {idle:.2f}, its dummy {dummy:.2f}")
