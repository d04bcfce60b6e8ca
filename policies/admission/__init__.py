"""Admission: whether an object that was missed may enter at all, in front of any replacement policy.

A class registered in the family ``admission``, with static verbs under the contract of `tiersim.policies.object`:

``seen(x)``         x is asked for, whether it hits or misses: told first
``admit(x)``        whether a missed x may enter; asked before anything is evicted
``contest(x, v)``   whether the missed x may take the place of the victim v; when not, v stays and x does not enter

All are optional; ``state`` gives the arrays.
"""
