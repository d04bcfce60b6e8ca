"""What an offloading engine replays: steps of a model, and what each of their layers needs of its experts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Costs", "Rows"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Rows of steps, as flat arrays; row = step x ``layers`` + layer.

    A row needs ``expert[start[row] : start[row + 1]]``, experts of its layer in rising order, each with its number of
    ``tokens``, its best ``rank`` (0 the first) and its largest ``weight`` (in parts of 10**6). Of it are ``predicted``
    those from ``predicted_start[row]`` on, the likeliest first. A step has ``size`` tokens, ``context`` tokens that
    attention reads (of all its sequences, its own included), ``pairs`` of tokens and those before them, ``sampled``
    tokens whose successors are told, and begins a new sequence where ``begins`` is 1; it is a prefill where ``prefill``
    is 1.
    """

    layers: int
    experts: int
    start: Numbers
    expert: Numbers
    tokens: Numbers
    rank: Numbers
    weight: Numbers
    predicted_start: Numbers
    predicted: Numbers
    size: Numbers
    context: Numbers
    pairs: Numbers
    sampled: Numbers
    begins: Numbers
    prefill: Numbers
    sequence: Numbers
    """Of each step the sequence that begins with it, or the first one of those in it."""

    @property
    def steps(self) -> int:
        """Forward passes."""
        return len(self.size)


@dataclass(frozen=True)
class Costs:
    """Times in picoseconds, of steps and of experts by their tokens (arrays from 0 tokens on).

    ``before``, ``dense``, ``after`` and ``exchange`` are of each step. A load takes ``load`` of a link, or
    ``load_low``, and ``latency`` besides; ``read`` of a drive, of which the host holds ``host_experts`` experts (all
    where it is 0). ``size`` and ``size_low`` are bytes of an expert, ``hidden`` those of a token's hidden state.
    ``ship`` is with the latency; it has times up to the tokens of the largest step, ``run`` and ``cpu`` up to the most
    of an expert. ``stream`` is how long the keys and values that each layer of a step reads from DRAM take each GPU's
    link; it may be empty.
    """

    before: Numbers
    dense: Numbers
    after: Numbers
    exchange: Numbers
    run: Numbers
    cpu: Numbers
    ship: Numbers
    load: int
    load_low: int
    latency: int
    size: int
    size_low: int
    hidden: int
    read: int = 0
    host_experts: int = 0
    stream: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Those that are arrays, by name."""
        return {name: held for name, held in vars(self).items() if isinstance(held, np.ndarray)}
