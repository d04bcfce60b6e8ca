"""What a policy of the family ``expert-replacement`` is.

Its fields are its parameters; its verbs are static functions in plain Python over flat arrays, which the engines
compile or run as they stand. Expert e of layer l is ``x = l * experts + e``, with layers numbered from 0.

``use(x)``     x is used: each time that a token, or a step of a batch, uses it, whether it is in the cache or not
``worth(x)``   a whole number: of those in the cache that may leave, the one of the least worth leaves, and of equals
               the one with the least x. It must not depend on what is in the cache: then a larger cache holds all that
               a smaller one does, and one pass gives caches of all sizes
``enter(x)``   a use of x has come into the window of the next ``ahead`` tokens; `use` takes it out. The windows of the
               first token are entered before it is used, the others after the last use of a token

``state(self, ...)`` returns the arrays before the first use, by name, as 64-bit integers, and is called again where
caches are emptied. It may ask for ``objects`` (how many experts there are in all layers), ``layers``, ``experts`` (of a
layer) and, in a policy with ``profile``, ``popular``. A verb asks for what it needs by the names of its arguments: any
of those arrays, any field of the class, and

``objects``, ``layers``, ``experts``
``now``        the number of the use, below 2**32: counted from 0 over all layers, no two have the same. In `worth` that
               of the use for which there must be room
``next_use``   in `use`, the ``now`` of the next use of x in what is replayed, `NEVER` if there is none
``layer``      in `worth`, the layer that needs room
``seed``       in `worth`, a whole number from 0 to 2**32 - 1

A `worth` that asks for neither ``now`` nor ``layer`` changes for x in ``use(x)`` and ``enter(x)`` only: engines keep it
until then.

Class attributes declare what an engine may rely on:

``ahead``         (a field) tokens that the policy sees ahead, that which is served among them: it has `enter`
``random``        draws random numbers, so that seeds matter
``needs_future``  wants ``next_use``, or sees ahead
``profile``       wants ``popular``: how often each x was used in some part of the trace that a study names
``bypass``        the one that comes stays out where its worth is the least; worths never change
"""

from __future__ import annotations

from tiersim.policies.object.contract import NEVER, State, Words

__all__ = ["NEVER", "USES", "State", "Words"]

USES = 32
"""Bits of ``now``: what a worth sets above the time of the last use is shifted by them."""
