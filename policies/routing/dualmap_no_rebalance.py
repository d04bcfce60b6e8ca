"""To the warmer of two candidates, or to the faster one where that would take too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.candidates import Candidates
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.dualmap_rule import SECOND, Cold, Count, Hot, Prefill, Profile, Slo, budget, shares
from tiersim.policies.routing.prefix_table import PrefixTable
from tiersim.policies.routing.ring import Points


@register(
    "dualmap-no-rebalance",
    family="routing",
    paper="DualMap, ICLR 2026, arXiv 2602.06502; A-zhudong/DualMap, dualmap/scheduler/",
)
class DualMapNoRebalance:
    """Hashes the beginning of a prompt to two candidates, and takes the one with more of it cached while it is in time.

    In time is a candidate whose time to the first token, estimated from the tokens that are to be computed there and
    those of the prompt that it has not cached, is within `slo`; if the one with more is not, the one with the least
    estimate takes the request. This is DualMap without queues of its own, and so without migration: requests are sent
    at once. Its other ablations are `choice`: `cache-affinity` takes the candidate with most of the prompt cached
    always, `least-loaded` the one with the fewest tokens of prompts that have no first token, and `min-ttft` the one
    with the least estimate. With one candidate it is the affinity that DualMap is compared with.

    The key is one block, and a block more for each prefix that is hot. In the paper hot is a share above 2/n of recent
    requests, for n instances, and a prefix below 1/n loses the block again; `slo` is what it says; of candidates with
    as much cached the one with less to compute is taken. In the artifact hot is 0.0612, nothing shrinks, `slo` counts
    by half, and the one whose memory is less full is taken, where what is cached counts too; then the first hash's. The
    hashes are this simulator's own: the artifact takes two libraries' rings.
    """

    choice: Annotated[
        Literal["slo", "cache-affinity", "least-loaded", "min-ttft"], Param("which candidate takes it")
    ] = "slo"
    profile: Profile = "paper"
    candidates: Count = 2
    slo: Slo = 5 * SECOND
    prefill: Prefill = 160 * 10**6
    hot: Hot = None
    cold: Cold = None
    points: Points = 160

    def start(self, instances: int, seed: int) -> None:
        self.table = PrefixTable(0, 0, whole=self.profile == "paper")
        self.most = budget(self.profile, self.slo, self.prefill)
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        if instances:
            self.table.hot, self.table.cold = shares(self.profile, self.hot, self.cold, len(instances))
            self.of = Candidates(instances, self.candidates, self.points, self.table).of

    def route(self, request: Asked, view: View) -> int:
        candidates = self.of(request)
        if self.choice == "least-loaded":
            return _least(candidates, view.prompts)
        hits, pending, prompt = view.hits(request), view.pending, request.prompt
        tie = pending if self.profile == "paper" else view.pages
        if self.choice != "min-ttft":
            warm = min(candidates, key=lambda instance: (-hits[instance], tie[instance]))
            if self.choice == "cache-affinity" or pending[warm] + prompt - hits[warm] <= self.most:
                return warm
        return min(candidates, key=lambda instance: (pending[instance] + prompt - hits[instance], tie[instance]))


def _least(candidates: list[int], loads: Sequence[int]) -> int:
    return min(candidates, key=loads.__getitem__)
