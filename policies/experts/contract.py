"""What a system that offloads experts may say, and the names that it may ask for.

A system is a class with parameters and static verbs in plain Python over flat arrays (without ``len``), joined with the
engine's loop and compiled. A verb names what it asks for as its arguments: its own arrays, which ``state`` makes, its
parameters, and

- ``x``, ``layer``: the expert and the layer that is asked; ``row``, ``step``: the one at hand,
- ``n``, ``rank``, ``weight``: tokens, best rank and largest weight (in parts of 10**6) of ``x`` in this row,
- ``held``: of ``x``, ABSENT, COMING_LOW, COMING, HERE_LOW or HERE,
- ``residence``: the same of all experts,
- ``load``, ``load_low``, ``cpu``, ``run``: times of a load, and by the number of tokens (arrays) of an expert,
- ``layers``, ``experts``: of the model,
- ``prefill``: 1 where the step at hand is one,
- ``row_start``, ``row_x``: what a row needs, ``row_x[row_start[row] : row_start[row + 1]]``, numbers within its layer,
- ``row_n``, ``row_rank``, ``row_weight``: tokens, best ranks and largest weights of what is in that list,
- ``predicted_start``, ``predicted_e``: the same of what is predicted,
- ``wishes``: the list to be filled.

The verbs, of which only those that are needed are there:

- ``state(self, ...)`` gives the arrays, of 64-bit whole or floating-point numbers; it may ask for ``objects`` (how many
  experts there are in all layers), ``layers``, ``experts``, ``rows`` (how many) and ``seed``,
- ``begin(...)``: a new sequence begins with this step; called before its first row is decided,
- ``decide(...)`` gives HIGH, LOW, CPU, DEFER or SKIP for one needed expert; HIGH where there is none,
- ``wish(...)`` fills ``wishes`` with experts ``x``, the most urgent first, and gives how many, at most all there are.

``replacement`` and ``scope`` are parameters that each system has. One that replaces in its own way where
``replacement`` is None has ``use(...)``, which may ask for ``want`` (what ``decide`` gave) too, and ``worth(...)``:
they are what those of the family ``expert-replacement`` are, but may ask for all that the other verbs may, and share
its arrays. Only ``decide`` and ``use`` may ask for ``n``, ``rank``, ``weight``.

``place(self, ...)`` is plain Python and not compiled. It gives the experts that stay for good, of each GPU at most so
many as there are slots, and may ask for

- ``layers``, ``experts``, ``gpus``, and ``slots``: those of a layer on a GPU, or of a GPU, as ``scope`` is,
- ``popular``: how many tokens of the training share of the trace passed each expert,
- ``needed_row``, ``needed_x``, ``needed_n``: row, expert and tokens of each need in its rows, as arrays in their order,
- ``load``, ``load_low``, ``cpu``, ``run``, ``ship``: as above; ``ship`` is the time of hidden states.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from tiersim._base.params import Param

__all__ = ["ABSENT", "COMING", "COMING_LOW", "CPU", "DEFER", "HERE", "HERE_LOW", "HIGH", "LOW", "SKIP", "Scope"]

ABSENT: Final = 0
COMING_LOW: Final = 1
COMING: Final = 2
HERE_LOW: Final = 3
HERE: Final = 4
"""Where an expert is; an even one is in full precision."""

SKIP: Final = 0
LOW: Final = 1
HIGH: Final = 2
CPU: Final = 3
DEFER: Final = 4
"""What a system wants of a needed expert."""

Scope: TypeAlias = Annotated[
    Literal["layer", "model"], Param("whose slots an expert takes: its layer's, or any of the GPU's")
]
