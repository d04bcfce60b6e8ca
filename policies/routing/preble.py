"""To where most of the prompt was computed, or to where recent prompts cost least."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
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
    computed: int = 0  # time for what was new of its prompts, times how many they are
    often: bool = False
    renewed: int = 0  # the turn when it was last charged: of equal costs the one that is charged longest moves first


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
    recents: int = 0  # of it and all behind it
    given: int = 0  # the last turn when it and all behind it were given away, and to whom
    taker: int = -1
    known: int = 0  # the turn of the gift that `instances` knows of; those of nodes with `recent` know of all

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
        self.roots: dict[int, Node] = {}  # by their first blocks
        self.leaves: dict[int, tuple[Node, int]] = {}  # of each request that is not finished, with its instance
        self.entries: deque[tuple[int, Recent, int, int]] = deque()  # time, for whom, hit, prompt
        self.costs: dict[int, int] = {}  # of each instance
        self.firm: dict[int, int] = {}  # of nodes that more than one recent request counts for
        self.owned: dict[int, set[Recent]] = {}
        self.routed = self.turn = 0
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        """Those that have gone have computed nothing."""
        self.up, gone = list(instances), self.costs.keys() - instances
        costly = (recent.node for _, recent, *_ in self.entries)
        nodes = dict.fromkeys([*self._nodes(), *costly] if gone else [])
        for node in nodes:
            self._learn(node.path())
        for node in nodes:
            node.instances -= gone
            node.active = {instance: count for instance, count in node.active.items() if instance not in gone}
            if node.recent is not None:
                self._renew(node, node.recent)
        self.leaves = {number: held for number, held in self.leaves.items() if held[1] not in gone}
        self.costs = {instance: self.costs.get(instance, 0) for instance in instances}
        self.firm = {instance: self.firm.get(instance, 0) for instance in instances}
        self.owned = {instance: self.owned.get(instance, set()) for instance in instances}

    def route(self, request: Asked, view: View) -> int:
        if request.number in self.leaves:  # it comes again
            self.ended([request.number])
        self._forget(request.time - self.window)
        leaf, matched = self._insert(request)
        shared = request.prompt - matched < matched
        path = leaf.path()
        self._learn(path)
        those = self._computed(path) if shared else None
        if not those:
            costs = list(self.costs.values())
            place = costs.index(min(costs))
            chosen = self.up[place]
        else:
            chosen = those[0] if len(those) == 1 else min(those, key=self._by_cost)
            place = self.up.index(chosen)
        for important in path:
            if important.tokens > important.before:
                break
        recent = important.recent
        if recent is None:
            recent = important.recent = Recent(important)
            self._count(important, 1)
        wait = view.pending[place] + request.prompt - matched
        self.entries.append((request.time, recent, matched, request.prompt))
        recent.count += 1
        recent.hits += matched
        recent.prompts += request.prompt
        recent.seen.append((request.time, chosen, wait))
        self.leaves[request.number] = leaf, chosen
        self._active(path, chosen, 1)
        for node in path:
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
            if (held := self.leaves.pop(number, None)) is not None:
                self._active(held[0].path(), held[1], -1)

    def _by_cost(self, instance: int) -> tuple[int, int]:
        return self.costs[instance], instance

    def _computed(self, path: list[Node]) -> list[int]:
        """Who has the last node on the way that anybody has."""
        for node in path:
            if node.instances:
                return list(node.instances)
        return []

    # the tree

    def _insert(self, request: Asked) -> tuple[Node, int]:
        """The node at whose end the prompt ends, and how many of its tokens were there before."""
        blocks = request.blocks if request.block else ()
        parent, known = self._known(blocks)
        if parent is not None and known < parent.first + len(parent.blocks):
            parent = self._split(parent, known - parent.first, request.block)
        matched = min(known * request.block, request.prompt)
        if parent is not None and known == len(blocks):
            return parent, matched
        leaf = Node(parent, blocks[known:], known, matched, request.prompt - matched, 1, known=self.turn)
        if parent is not None:
            parent.children[blocks[known]] = leaf
            leaf.depth = parent.depth + 1
        elif blocks:
            self.roots[blocks[0]] = leaf
        return leaf, matched

    def _known(self, blocks: Sequence[int]) -> tuple[Node | None, int]:
        """The last node on the way of a prompt, and how many of its blocks are in the tree."""
        node, known, count, following = None, 0, len(blocks), self.roots
        while known < count and (child := following.get(blocks[known])) is not None:
            node, own = child, child.blocks
            high = min(len(own), count - known)
            if blocks[known + high - 1] != own[high - 1]:  # equal blocks come first, and there is one
                low, high = 1, high - 1
                while low < high:
                    middle = (low + high + 1) // 2
                    low, high = (middle, high) if blocks[known + middle - 1] == own[middle - 1] else (low, middle - 1)
            known += high
            if high < len(own):
                break
            following = child.children
        return node, known

    def _nodes(self) -> Iterator[Node]:
        """All that have blocks; the others are nowhere in the tree."""
        left = list(self.roots.values())
        while left:
            node = left.pop()
            left += node.children.values()
            yield node

    def _split(self, node: Node, count: int, block: int) -> Node:
        """A new node with the first blocks of one, which keeps the others."""
        blocks, parent = node.blocks, node.parent
        self._learn(node.path())
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
            recents=node.recents,
            known=self.turn,
        )
        if parent is not None:
            parent.children[blocks[0]] = upper
        else:
            self.roots[blocks[0]] = upper
        node.parent, node.blocks, node.first = upper, blocks[count:], node.first + count
        node.before, node.tokens, node.depth = node.before + upper.tokens, node.tokens - upper.tokens, node.depth + 1
        if node.recent is not None and upper.is_large and not node.is_large:
            self._discharge(node.recent)
            upper.recent, node.recent = node.recent, None
            node.recents -= 1
            upper.recent.node = upper
            self._renew(upper, upper.recent)
        if node.recent is not None:
            self._renew(node, node.recent)
        return upper

    def _count(self, node: Node | None, more: int) -> None:
        """So many nodes more that carry costs, of this one and all before it."""
        while node is not None:
            node.recents += more
            node = node.parent

    def _learn(self, path: list[Node]) -> None:
        """Tell nodes, the first one last, of what was given away since they heard of it."""
        given, taker = 0, -1
        for node in reversed(path):
            if node.given > given:
                given, taker = node.given, node.taker
            if given > node.known:
                node.instances, node.known = {taker}, given

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
                self._count(recent.node, -1)

    def _active(self, path: list[Node], instance: int, more: int) -> None:
        """So many requests more of some nodes at an instance, each of which costs it an answer."""
        cost = more * self.answer * self.tpot
        for node in path:
            active, recent = node.active, node.recent
            active[instance] = active.get(instance, 0) + more
            if recent is not None and instance in recent.charged:
                recent.charged[instance] += cost
                self.costs[instance] += cost
                if recent.often:
                    self.firm[instance] += cost

    def _renew(self, node: Node, recent: Recent) -> None:
        """Charge instances anew for what has changed of a node."""
        self.turn += 1
        recent.renewed = self.turn
        instances, active, charged, costs = node.instances, node.active, recent.charged, self.costs
        decode, often = self.answer * self.tpot, recent.count > 1
        recent.computed = (recent.prompts - recent.hits) * recent.count * node.tokens * self.prefill
        if often is recent.often and instances and charged.keys() == instances:  # by the difference, as a rule
            share, firm = recent.computed // (recent.prompts * len(instances)), self.firm
            for instance, before in charged.items():
                charged[instance] = cost = share + active.get(instance, 0) * decode
                costs[instance] += cost - before
                if often:
                    firm[instance] += cost - before
            return
        self._discharge(recent)
        recent.often = often
        if not instances:
            return
        share = recent.computed // (recent.prompts * len(instances))
        recent.charged = {instance: share + active.get(instance, 0) * decode for instance in instances}
        for instance, cost in recent.charged.items():
            costs[instance] += cost
            if often:
                self.firm[instance] += cost
                self.owned[instance].add(recent)

    def _discharge(self, recent: Recent) -> None:
        for instance, cost in recent.charged.items():
            self.costs[instance] -= cost
            if recent.often:
                self.firm[instance] -= cost
                self.owned[instance].remove(recent)
        recent.charged = {}

    # rebalancing

    def _rebalance(self, now: int) -> None:
        """Every instance but the cheapest gives to that one, the dearest first."""
        costs = list(self.firm.values())
        least = min(costs)
        bar = self._dear(least)
        if max(costs) < bar:
            return
        cheap = next(instance for instance in reversed(self.up) if self.firm[instance] == least)
        bar = max(bar, 1)
        order = [(cost, instance) for instance, cost in self.firm.items() if cost >= bar and instance != cheap]
        order.sort(key=itemgetter(0), reverse=True)
        for cost, dear in order:  # as they were: some have nodes in common
            if cost < bar:
                return
            movable = [recent for recent in self.owned[dear] if recent.node.tokens > recent.node.before]
            if len(movable) == 1:
                more = self._share(movable[0], dear, cheap, now)
            elif movable:
                more = self._move(
                    [(recent.charged[dear], recent.renewed, recent) for recent in movable], cost, cheap, least
                )
            else:
                continue
            if more:
                least += more
                bar = max(self._dear(least), 1)

    def _dear(self, least: int) -> int:
        """What is too much where the cheapest costs so much."""
        return -(-self.uneven * least // WHOLE)

    def _move(self, movable: list[tuple[int, int, Recent]], most: int, cheap: int, least: int) -> int:
        """Give away what costs least first, by what it cost before: some go along with others. How much that was."""
        movable.sort()
        moved = 0
        if most - least < 2 * movable[0][0]:
            return moved
        for cost, _, recent in movable:
            if most - moved - cost < least + moved + cost:
                break
            moved += cost
            self._give(recent.node, cheap)
            if most - moved < self._dear(least + moved):
                break
        return moved

    def _give(self, node: Node, instance: int) -> None:
        """A node and all behind it are an instance's alone; those that carry no costs learn of it later."""
        self.turn = turn = self.turn + 1
        node.given, node.taker, decode, taken, kept = turn, instance, self.answer * self.tpot, 0, 0
        costs, firm, owned = self.costs, self.firm, self.owned
        left = [node]
        while left:
            held = left.pop()
            recent = held.recent
            if recent is not None:
                held.instances, held.known = {instance}, turn
                due = recent.computed // recent.prompts + held.active.get(instance, 0) * decode
                for giver, cost in recent.charged.items():
                    costs[giver] -= cost
                    if recent.often:
                        firm[giver] -= cost
                        owned[giver].remove(recent)
                recent.charged = {instance: due}
                taken += due
                if recent.often:
                    kept += due
                    owned[instance].add(recent)
                self.turn += 1
                recent.renewed = self.turn
            if held.recents > (recent is not None):
                left += [child for child in held.children.values() if child.recents]
        costs[instance] += taken
        firm[instance] += kept

    def _share(self, recent: Recent, dear: int, cheap: int, now: int) -> int:
        """What the cheapest instance takes of the costs of a node, if it is to have it too."""
        if cheap in recent.node.instances or not self._waits_longer(recent, dear, now):
            return 0
        half = recent.charged[dear] // 2
        recent.node.instances.add(cheap)
        recent.seen = deque(held for held in recent.seen if held[1] != dear)
        self._renew(recent.node, recent)
        return half

    def _waits_longer(self, recent: Recent, instance: int, now: int) -> bool:
        """Whether prompts waited twice as long in the second half of the window as in the first."""
        half = now - self.window // 2
        early = [wait for time, where, wait in recent.seen if where == instance and time < half]
        late = [wait for time, where, wait in recent.seen if where == instance and time >= half]
        return bool(early and late) and sum(late) * len(early) >= 2 * sum(early) * len(late)
