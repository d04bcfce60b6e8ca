"""Requests to language models, as an engine serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lists", "Prompts"]

Numbers = NDArray[np.int64]


class Lists(Protocol):
    """A list of numbers a row: those of row ``i`` are ``values[offsets[i] : offsets[i + 1]]``."""

    @property
    def values(self) -> NDArray[Any]: ...

    @property
    def offsets(self) -> Numbers: ...


@dataclass(frozen=True)
class Prompts:
    """Requests in the order of their arrival, one a row.

    ``arrival`` is in picoseconds since the first, and 0 where the trace does not know it; ``input`` and
    ``output`` are tokens, each at least 1. ``blocks`` has the blocks of each prompt as numbers of nodes, by first
    appearance, and ``parent`` the node before each (-1 for a first one): equal numbers are equal blocks after equal
    prompts. ``block`` is how many tokens a block has, 0 where the trace knows none. ``session`` and ``category`` are
    numbers by first appearance, -1 where they are not known.
    """

    arrival: Numbers
    input: Numbers
    output: Numbers
    blocks: Lists
    parent: Numbers
    block: int
    session: Numbers
    category: Numbers

    def __len__(self) -> int:
        return len(self.input)
