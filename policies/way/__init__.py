"""Way replacement: which way of a set gives up its line.

A policy is a class registered in the family ``way-replacement``. Its fields are its parameters; its verbs are static
functions in plain Python over one flat array of 64-bit integers, which the engine compiles or runs as they stand:

``hit(s, at, way, kind)``    a line in this way was used
``fill(s, at, way, kind)``   a new line was put into this way
``victim(s, at, allowed)``   the way that gives up its line; only called when no allowed way is empty

``s`` is the state of the whole cache and ``at`` the index where the words of this set begin. ``kind`` is what the
line holds (`DATA` and so on, in `tiersim.policies.way.contract`). ``allowed`` has bit ``w % 64`` set when way ``w`` may
be chosen; -1 allows all. A verb may ask for more by name: ``ways``; any field of the class; ``pressure``, which is 1
while address translation misses often and else 0; and ``next_use``, the position of the line's next reference at this
cache (`NEVER` when there is none), which only a known future can give.

``lowest(mask)`` and ``highest(mask)`` of `tiersim._base.bits` are an instruction or two in a compiled verb.

``state(sets, ways, seed)`` returns the words before the first access, shape (sets, words a set).

Class attributes declare what the engine may rely on:

``hit_is_idempotent``  a second hit on the line that was just used changes no later decision (the engine skips it)
``in_order_of_use``    it is LRU, so that the engine may keep sets in that order instead; not inherited
``random``             draws random numbers, so that seeds matter
``needs_future``       wants ``next_use``
``compiled``           False runs the verbs as plain Python: slow but right, and not bound to the compilable subset
"""
