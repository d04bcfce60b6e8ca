"""Object replacement: which object of a cache makes room for another.

A policy is a class registered in the family ``object-replacement``. Its fields are its parameters; its verbs are static
functions in plain Python over flat arrays, which the engine compiles or runs as they stand. Objects are numbered
0 .. ``objects`` - 1 by first appearance; ``x`` is the number of the object that a verb is about.

``lookup(x)``   whether x is in the cache (anything but 0 is yes)
``touch(x)``    x was asked for and is in the cache
``insert(x)``   x enters; there is room
``victim()``    the object that should go; it stays until the engine says `evict`, and may be asked for again
``remove(x)``   x leaves because it was deleted, has expired or was pinned: nothing about it need be remembered

and, where a policy wants them,

``miss(x)``     x was asked for and is not in the cache; nothing has been evicted for it yet
``evict(x)``    x, the victim, leaves to make room; without it `remove` is called
``where(x)``    the place of x as an index into the class attribute ``places``, for `--why`; without it out or in

``state(self, ...)`` returns the arrays before the first request, by name: ``{"link": ..., "n": ...}``. A verb asks for
what it needs by the names of its arguments: any of those arrays, any field of the class, and

``objects``     how many different objects the trace has
``capacity``    bytes the cache may hold, or objects where all sizes are one
``used``        bytes (or objects) that it holds at the moment
``size``        bytes of the object that is asked for (1 where all sizes are one), in `victim` and `evict` too
``sizes``       ``sizes[v]`` is the size of an object v that is in the cache, or that it had when it was there last; in
                `insert` already the new size of x, so that what a ghost weighed must be noted in `miss`
``cost``        what missing x costs (1.0 where the trace does not say)
``now``         the number of the request, from 0
``time``        the time of the request in nanoseconds (``now`` where the trace has no times)
``next_use``    the number of the next request for x, `NEVER` when there is none: only a known future can give it
``stream``      the objects asked for, by number of request: only a known future can give it

`state` asks in the same way, for ``objects``, ``capacity``, ``most`` (how many objects can be in the cache at
once), ``seed``, ``requests`` (how many there are) and ``unit`` (whether all sizes are one).

Class attributes declare what the engine may rely on:

``places``        names of the places that `where` tells, the first for objects that are not in the cache
``random``        draws random numbers, so that seeds matter
``needs_future``  wants ``next_use`` or ``stream``
``unit_only``     the reason, as text, why it cannot work with sizes that differ
``stack``         an LRU-like stack algorithm: a larger cache holds all that a smaller one does (unit sizes)
``may_refuse``    `victim` may give x, the object that was missed: then x does not enter
``compiled``      False runs the verbs as plain Python: slow but right, and not bound to the compilable subset

A class with one method ``on_access(self, x, size)``, true for a hit, and ``start(self, capacity)`` is a policy too:
slow, trusted to keep to its capacity, and the easiest to write.
"""
