"""Which pages are costly to walk for, from two counters of each page.

The comparator of the paper looks whether the pair lies in a box. Notes on the paper and later code give frequency 1 to
12 and cost 1 to 7, yet frequency is counted up to 7 and cost up to 15: the bounds seem swapped. So both are here, and
the default is what they agree on, the lower bounds.
"""

from __future__ import annotations

from tiersim._base.registry import register


@register("at-least-once", family="walk-cost-predictor")
class AtLeastOnce:
    """A page is costly once a walk for it has read memory."""

    @staticmethod
    def costly(freq: int, cost: int) -> bool:
        return freq >= 1 and cost >= 1


@register("box-notes", family="walk-cost-predictor")
class BoxNotes:
    """A page is costly from 1 to 12 walks, 1 to 7 of which read memory: the bounds as notes on the paper give them."""

    @staticmethod
    def costly(freq: int, cost: int) -> bool:
        return 1 <= freq <= 12 and 1 <= cost <= 7


@register("box-swapped", family="walk-cost-predictor")
class BoxSwapped:
    """A page is costly from 1 to 7 walks, 1 to 12 of which read memory: the bounds that fit the counters."""

    @staticmethod
    def costly(freq: int, cost: int) -> bool:
        return 1 <= freq <= 7 and 1 <= cost <= 12


@register("artifact-tree", family="walk-cost-predictor")
class ArtifactTree:
    """A page is costly after a walk that read memory and another walk, or one that did alone: the artifact's tree."""

    @staticmethod
    def costly(freq: int, cost: int) -> bool:
        return (cost >= 1 and freq >= 2) or (cost == 1 and freq == 1)


@register("always", family="walk-cost-predictor")
class Always:
    """Every page is costly: as without a predictor, and in the simulator of the published artifact."""

    @staticmethod
    def costly(freq: int, cost: int) -> bool:
        return True
