"""Named streams of random numbers that all come from one seed."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one purpose, such as ``arrivals`` or ``cache.l2``: independent of those of other names.

    The same seed and name give the same numbers on every machine, whatever else draws; any whole number of 0 or more is
    a seed. Raises ValueError for others.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"a seed is a whole number of 0 or more, and not {seed!r}")
    words = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=16).digest(), "<u4")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(seed), spawn_key=tuple(map(int, words)))))
