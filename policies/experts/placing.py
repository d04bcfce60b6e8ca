"""Which experts stay for good, where each is worth something by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["gpu_of", "group_of", "worthiest"]


def gpu_of(x: int, experts: int, gpus: int) -> int:
    """The GPU that an expert is with."""
    return x % experts * gpus // experts


def group_of(x: int, layers: int, experts: int, gpus: int, scope: str) -> int:
    """The number of the slots that an expert may have: its GPU's, or its layer's there."""
    gpu = gpu_of(x, experts, gpus)
    return gpu * layers + x // experts if scope == "layer" else gpu


def worthiest(worth: Sequence[int], room: int, layers: int, experts: int, gpus: int, scope: str) -> list[int]:
    """The experts that are worth most, in each group of slots as many as have room; of equals the lower number."""
    taken: Counter[int] = Counter()
    chosen = []
    for x in sorted(range(layers * experts), key=lambda x: (-worth[x], x)):
        group = group_of(x, layers, experts, gpus, scope)
        if taken[group] < room:
            taken[group] += 1
            chosen.append(x)
    return sorted(chosen)
