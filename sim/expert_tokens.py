"""Uses of experts by the tokens of sequences: what caches of experts and measures of routing go through."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExpertTokens"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class ExpertTokens:
    """Uses of experts, token by token, layer by layer, in the order in which the router names them.

    Expert e of the layer with place l among ``layers`` is ``ids`` = l * experts + e. The uses of token i are
    ``ids[starts[i] : starts[i + 1]]``, the tokens of sequence s are ``ends[s]`` to ``ends[s + 1]``, and ``first`` is
    the record with which it begins in the trace.
    """

    ids: NDArray[np.int32]
    starts: Numbers
    ends: Numbers
    first: Numbers
    layers: NDArray[np.int64]
    experts: int

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return len(self.starts) - 1

    @property
    def sequences(self) -> int:
        """How many sequences there are."""
        return len(self.ends) - 1

    @property
    def objects(self) -> int:
        """Experts of all layers."""
        return len(self.layers) * self.experts

    @property
    def active(self) -> float:
        """Mean uses of a token, over all layers."""
        return len(self.ids) / self.tokens

    def popular(self, sequences: slice) -> Numbers:
        """How often each expert is used in these sequences, which follow each other."""
        begin, end, _ = sequences.indices(self.sequences)
        part = self.ids[self.starts[self.ends[begin]] : self.starts[self.ends[end]]]
        return np.bincount(part, minlength=self.objects).astype(np.int64)

    def after(self, sequences: int) -> ExpertTokens:
        """The same without the first so many sequences."""
        if not sequences:
            return self
        token = int(self.ends[sequences])
        use = int(self.starts[token])
        return replace(
            self,
            ids=self.ids[use:],
            starts=self.starts[token:] - use,
            ends=self.ends[sequences:] - token,
            first=self.first[sequences:],
        )
