"""To where most of the prompt was computed, or to where recent prompts cost least."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Annotated

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View

WHOLE = 10**9
CHAIN = 3  # nodes behind the important one, from which on nothing is rebalanced


@dataclass(eq=False, slots=True)
class Recent:
    """What the window holds of a node that carries the cost of requests, and what it costs which instance."""

    node: Node
    count: int = 0
    hits: int = 0
    prompts: int = 0
    seen: deque[tuple[int, int, int]] = field(default_factory=deque)  # time, instance, tokens before the first one
    charged: dict[int, int] = field(default_factory=dict)
    often: bool = False


@dataclass(eq=False, slots=True)
class Node:
    """A run of blocks that no prompt has left so far but at its end."""

    parent: Node | None
    blocks: Sequence[int]
    first: int  # blocks before
    before: int  # tokens before
    tokens: int
    depth: int
    instances: set[int] = field(default_factory=set)
    active: dict[int, int] = field(default_factory=dict)  # requests at each instance that are not finished
    children: dict[int, Node] = field(default_factory=dict)  # by their first blocks
    recent: Recent | None = None

    @property
    def is_large(self) -> bool:
        return self.tokens > self.before

    def path(self) -> list[Node]:
        """It and all before it, the first one last."""
        path, node = [self], self.parent
        while node is not None:
            path.append(node)
            node = node.parent
        return path


@register(
    "preble",
    family="routing",
    paper="Srivatsa et al., Preble, ICLR 2025, arXiv 2407.00023; WukLab/preble, preble/global_scheduler_with_time.py",
)
class Preble:
    """Sends a prompt where most of it was computed, if that is more than half, or else where recent ones cost least.

    This is its E2. It keeps a radix tree of all prompts, each node with the instances that computed it. What an
    instance costs is the sum over nodes of the last `window`: the time to compute them, times how often and the share
    of those prompts that was new, divided among the instances of the node; and `answer` times `tpot` for each of their
    requests that is not finished. A request counts for the last node on its way that is longer than all before it. When
    the dearest instance costs `uneven` times the cheapest, nodes go over to that one, those that cost least first, as
    long as it stays the cheaper of the two; a node that is alone is shared with it if its prompts waited twice as long
    in the second half of the window.

    A node goes over with all that stands behind it. So where all prompts begin alike, as Mooncake's conversations do,
    whoever takes that beginning takes everything: then `calm: 1M`, which moves nothing, does better.

    What the original measures is not told to routers here: a prompt's wait is the tokens to be computed before its
    first one when it is sent, and `tpot` stays what it is at the start. Its time model is a line, without the part for
    attention; a prompt that was there before counts as shared; and its term for evictions, off by default, is left out.
    """

    window: Annotated[int, Param("of requests that count", unit="time", ge=1, source="Preble")] = 180 * 10**12
    prefill: Annotated[
        int,
        Param("of a token", unit="time_per_item", ge=1, source="Preble: Mistral 7B on an RTX A6000, the line"),
    ] = 120 * 10**6
    tpot: Annotated[int, Param("of a token of an answer", unit="time", ge=0, source="Preble: at first")] = 150 * 10**9
    answer: Annotated[int, Param("tokens that answers have", unit="count", ge=0, source="Preble")] = 45
    uneven: Annotated[
        int, Param("dearest by cheapest, from which on nodes move", unit="ratio", ge=WHOLE, source="Preble")
    ] = 3 * WHOLE // 2
    calm: Annotated[
        int, Param("requests for each instance, before which none moves", unit="count", ge=0, source="Preble")
    ] = 50

    def start(self, instances: int, seed: int) -> None:
        self.where: dict[int, Node] = {}  # of each block
        self.leaves: dict[int, tuple[Node, int]] = {}  # of each request that is not finished, with its instance
        self.entries: deque[tuple[int, Recent, int, int]] = deque()  # time, for whom, hit, prompt
        self.costs: dict[int, int] = {}  # of each instance
        self.firm: dict[int, int] = {}  # of nodes that more than one recent request counts for
        self.owned: dict[int, dict[Recent, None]] = {}
        self.routed = 0
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        """Those that have gone have computed nothing."""
        self.up, gone = list(instances), self.costs.keys() - instances
        for node in set(self.where.values()) if gone else ():
            node.instances -= gone
            node.active = {instance: count for instance, count in node.active.items() if instance not in gone}
            if node.recent is not None:
                self._renew(node, node.recent)
        self.leaves = {number: held for number, held in self.leaves.items() if held[1] not in gone}
        self.costs = {instance: self.costs.get(instance, 0) for instance in instances}
        self.firm = {instance: self.firm.get(instance, 0) for instance in instances}
        self.owned = {instance: self.owned.get(instance, {}) for instance in instances}

    def route(self, request: Asked, view: View) -> int:
        if request.number in self.leaves:  # it comes again
            self.ended([request.number])
        self._forget(request.time - self.window)
        leaf, matched = self._insert(request)
        shared = request.prompt - matched < matched
        path = leaf.path()
        those = next((node.instances for node in path if node.instances), None) if shared else None
        if those:
            chosen = min(those, key=lambda instance: (self.costs[instance], instance))
        else:
            chosen = min(self.up, key=self.costs.__getitem__)
        place = self.up.index(chosen)
        important = next(node for node in path if node.tokens > node.before)
        if important.recent is None:
            important.recent = Recent(important)
        recent = important.recent
        wait = view.pending[place] + request.prompt - matched
        self.entries.append((request.time, recent, matched, request.prompt))
        recent.count += 1
        recent.hits += matched
        recent.prompts += request.prompt
        recent.seen.append((request.time, chosen, wait))
        self.leaves[request.number] = leaf, chosen
        for node in path:
            self._active(node, chosen, 1)
            if chosen not in node.instances:
                node.instances.add(chosen)
                if node.recent is not None and node is not important:
                    self._renew(node, node.recent)
        self._renew(important, recent)
        self.routed += 1
        if self.routed >= self.calm * len(self.up) and leaf.depth - important.depth < CHAIN:
            self._rebalance(request.time)
        return place

    def ended(self, requests: Sequence[int]) -> None:
        for number in requests:
            if number not in self.leaves:
                continue
            leaf, instance = self.leaves.pop(number)
            for node in leaf.path():
                self._active(node, instance, -1)

    # the tree

    def _insert(self, request: Asked) -> tuple[Node, int]:
        """The node at whose end the prompt ends, and how many of its tokens were there before."""
        blocks = request.blocks if request.block else ()
        known = self._known(blocks)
        parent = self.where[blocks[known - 1]] if known else None
        if parent is not None and known < parent.first + len(parent.blocks):
            parent = self._split(parent, known - parent.first, request.block)
        matched = min(known * request.block, request.prompt)
        if parent is not None and known == len(blocks):
            return parent, matched
        leaf = Node(parent, blocks[known:], known, matched, request.prompt - matched, 1)
        if parent is not None:
            parent.children[blocks[known]] = leaf
            leaf.depth = parent.depth + 1
        self.where.update(dict.fromkeys(leaf.blocks, leaf))
        return leaf, matched

    def _known(self, blocks: Sequence[int]) -> int:
        """How many of them are in the tree: those that are come first."""
        low, high = 0, len(blocks)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if blocks[middle] in self.where else (low, middle)
        return low

    def _split(self, node: Node, count: int, block: int) -> Node:
        """A new node with the first blocks of one, which keeps the others."""
        blocks, parent = node.blocks, node.parent
        upper = Node(
            parent,
            blocks[:count],
            node.first,
            node.before,
            count * block,
            node.depth,
            set(node.instances),
            dict(node.active),
            {blocks[count]: node},
        )
        if parent is not None:
            parent.children[blocks[0]] = upper
        self.where.update(dict.fromkeys(upper.blocks, upper))
        node.parent, node.blocks, node.first = upper, blocks[count:], node.first + count
        node.before, node.tokens, node.depth = node.before + upper.tokens, node.tokens - upper.tokens, node.depth + 1
        if node.recent is not None and upper.is_large and not node.is_large:
            self._discharge(node.recent)
            upper.recent, node.recent = node.recent, None
            upper.recent.node = upper
            self._renew(upper, upper.recent)
        if node.recent is not None:
            self._renew(node, node.recent)
        return upper

    # costs

    def _forget(self, until: int) -> None:
        while self.entries and self.entries[0][0] < until:
            _, recent, hit, prompt = self.entries.popleft()
            recent.count -= 1
            recent.hits -= hit
            recent.prompts -= prompt
            while recent.seen and recent.seen[0][0] < until:
                recent.seen.popleft()
            if recent.count:
                self._renew(recent.node, recent)
            else:
                self._discharge(recent)
                recent.node.recent = None
                recent.node.instances = set()

    def _active(self, node: Node, instance: int, more: int) -> None:
        """So many requests more at an instance, each of which costs it an answer."""
        active, recent = node.active, node.recent
        active[instance] = active.get(instance, 0) + more
        if recent is not None and instance in recent.charged:
            cost = more * self.answer * self.tpot
            recent.charged[instance] += cost
            self.costs[instance] += cost
            if recent.often:
                self.firm[instance] += cost

    def _renew(self, node: Node, recent: Recent) -> None:
        """Charge instances anew for what has changed of a node."""
        self._discharge(recent)
        if not node.instances:
            return
        computed = (recent.prompts - recent.hits) * recent.count * node.tokens * self.prefill
        share = computed // (recent.prompts * len(node.instances))
        decode = self.answer * self.tpot
        recent.charged = {instance: share + node.active.get(instance, 0) * decode for instance in node.instances}
        recent.often = recent.count > 1
        for instance, cost in recent.charged.items():
            self.costs[instance] += cost
            if recent.often:
                self.firm[instance] += cost
                self.owned[instance][recent] = None

    def _discharge(self, recent: Recent) -> None:
        for instance, cost in recent.charged.items():
            self.costs[instance] -= cost
            if recent.often:
                self.firm[instance] -= cost
                del self.owned[instance][recent]
        recent.charged = {}

    # rebalancing

    def _rebalance(self, now: int) -> None:
        """Every instance but the cheapest gives to that one, the dearest first."""
        if max(self.firm.values()) * WHOLE < self.uneven * min(self.firm.values()):
            return
        costs = dict(self.firm)
        order = sorted(self.up, key=costs.__getitem__, reverse=True)
        cheap = order.pop()
        for dear in order:
            if not costs[dear] or costs[dear] * WHOLE < self.uneven * costs[cheap]:
                return
            movable = [recent for recent in self.owned[dear] if recent.node.is_large]
            if len(movable) == 1:
                self._share(movable[0], dear, cheap, now, costs)
            elif movable:
                self._move(movable, dear, cheap, costs)

    def _move(self, movable: list[Recent], dear: int, cheap: int, costs: dict[int, int]) -> None:
        dues = [recent.charged[dear] for recent in movable]  # as they are now: some go along with others
        if costs[dear] - costs[cheap] < 2 * min(dues):
            return
        for cost, recent in sorted(zip(dues, movable, strict=True), key=itemgetter(0)):
            if costs[dear] - cost < costs[cheap] + cost:
                return
            costs[dear] -= cost
            costs[cheap] += cost
            self._give(recent.node, cheap)
            if costs[dear] * WHOLE < self.uneven * costs[cheap]:
                return

    def _give(self, node: Node, instance: int) -> None:
        """A node and all behind it are an instance's alone."""
        left = [node]
        while left:
            held = left.pop()
            held.instances = {instance}
            if held.recent is not None:
                self._renew(held, held.recent)
            left += held.children.values()

    def _share(self, recent: Recent, dear: int, cheap: int, now: int, costs: dict[int, int]) -> None:
        if cheap in recent.node.instances or not self._waits_longer(recent, dear, now):
            return
        half = recent.charged[dear] // 2
        costs[dear] -= half
        costs[cheap] += half
        recent.node.instances.add(cheap)
        recent.seen = deque(held for held in recent.seen if held[1] != dear)
        self._renew(recent.node, recent)

    def _waits_longer(self, recent: Recent, instance: int, now: int) -> bool:
        """Whether prompts waited twice as long in the second half of the window as in the first."""
        half = now - self.window // 2
        early = [wait for time, where, wait in recent.seen if where == instance and time < half]
        late = [wait for time, where, wait in recent.seen if where == instance and time >= half]
        return bool(early and late) and sum(late) * len(early) >= 2 * sum(early) * len(late)
