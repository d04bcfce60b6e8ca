"""The bound that no system beats."""

from __future__ import annotations

from typing import ClassVar

from tiersim._base.registry import register
from tiersim.policies.experts.contract import Scope


@register(
    "perfect-prefetch",
    family="experts",
    aliases=("oracle",),
    paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078",
)
class PerfectPrefetch:
    """Not a system but a bound: it knows the whole trace and loads the least, as early as the link allows.

    The expert offloading page says what it does. No system that computes on GPUs in full precision is faster with the
    same slots and the same experts placed; where ``scope`` is the layer, no such system with this scope.
    """

    scope: Scope = "model"

    bound: ClassVar[bool] = True
    needs_future: ClassVar[bool] = True
