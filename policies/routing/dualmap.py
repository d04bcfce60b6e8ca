"""To the warmer of two candidates while it is in time, with queues in front of the instances and moves between them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from operator import add
from typing import Annotated, Literal

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.candidates import Candidates
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.dualmap_rule import SECOND, Cold, Count, Hot, Prefill, Profile, Slo, budget, shares
from tiersim.policies.routing.prefix_table import PrefixTable
from tiersim.policies.routing.ring import Points

Key = tuple[int, int, int]  # where in a queue a request stands: minus its hit, when it came, its number
NEVER = 1 << 63  # later than anybody comes


@dataclass(eq=False, slots=True)
class Held:
    """A request that waits for a place."""

    request: Asked
    candidates: list[int]
    place: int = -1
    work: int = 0  # time to compute it there, as estimated when it entered the queue
    key: Key = (0, 0, 0)
    reach: int = 0  # a bit for each instance that it might move to


class Pass:
    """A look at the queues at one time: hits by request, and who has moved."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.known: dict[int, Sequence[int]] = {}
        self.moved: set[int] = set()

    def hits(self, request: Asked) -> Sequence[int]:
        found = self.known.get(request.number)
        if found is None:
            found = self.known[request.number] = self.view.hits(request)
        return found


@register(
    "dualmap",
    family="routing",
    paper="DualMap, ICLR 2026, arXiv 2602.06502; A-zhudong/DualMap, dualmap/scheduler/",
)
class DualMap:
    """Holds requests in a queue for each instance, gives them out one by one, and moves them from queues that are late.

    A prompt's candidates are those of `dualmap-no-rebalance`, and so is the choice among them, but for the load: it is
    the time to compute what waits in the queue, and what was given out and has no first token yet, as estimated when
    it entered the queue. The longest hit stands first, then who came first. An instance is given the next one when
    fewer than `pending` of its requests have no first token. After each arrival, end, first token or change there is a
    look at all queues; the artifact does not look at first tokens, nor does `eager: false`.

    An instance is overloaded when its load is above the budget, or somebody in its queue has waited for `patience`.
    When all candidates of who just came are, their queues are relieved, first that which took it; and whenever somebody
    has waited so long, or, in the artifact, the load is above the budget, that queue is. To relieve a queue is to move
    requests, the largest gain first, until it has lost what was too much, or nobody gains. The gain is what the
    estimate of the time to its first token falls by; the load there must stay within the budget, and nobody must have
    waited for long there. Nobody moves twice at once.

    In the paper a request moves between its candidates only. Its gains are estimated once, and looked at again when its
    turn comes. In the artifact gains are estimated anew after each move, a request that can move to no candidate may
    move to the next instance that is none, which then is one, and a queue of one is left as it is. Whom the artifact's
    later versions give priority, by predicted times, is not modelled. When instances come or go all that wait are
    routed anew, those that came first before others. Without `rebalance` nobody moves.
    """

    profile: Profile = "paper"
    candidates: Count = 2
    slo: Slo = 5 * SECOND
    prefill: Prefill = 160 * 10**6
    cached: Annotated[
        int, Param("of a cached token, in the estimate", unit="time_per_item", ge=0, source="DualMap: not counted")
    ] = 0
    rebalance: Annotated[bool, Param("whether requests move between queues")] = True
    order: Annotated[
        Literal["hit", "arrival"], Param("who stands first in a queue: the longest hit, or who came first")
    ] = "hit"
    pending: Annotated[
        int, Param("requests without a first token that an instance has, at most", unit="count", ge=1, source="DualMap")
    ] = 1
    patience: Annotated[
        int | None,
        Param("waiting for longer is overload; null: it is not", unit="time", ge=0, source="DualMap"),
    ] = 3 * SECOND
    eager: Annotated[bool, Param("whether a first token lets the next one go, and not only an arrival or an end")] = (
        True
    )
    hot: Hot = None
    cold: Cold = None
    points: Points = 160

    def start(self, instances: int, seed: int) -> None:
        self.whole = self.profile == "paper"
        self.shortest = 1 if self.whole else 2  # requests that a queue has which is relieved
        self.table = PrefixTable(0, 0, whole=self.whole)
        self.limit = budget(self.profile, self.slo, self.prefill) * self.prefill
        self.held: dict[int, Held] = {}
        self.sent: dict[int, tuple[int, int]] = {}  # without a first token: the instance's number, and the work
        self.homeless: list[Asked] = []
        self.moves = 0
        self.changed(range(instances))

    def changed(self, instances: Sequence[int]) -> None:
        """Others are there than before; who waits is routed anew as soon as hits can be looked up."""
        self.instances = list(instances)
        self.places = {instance: place for place, instance in enumerate(self.instances)}
        self.homeless += [held.request for held in self.held.values()]
        self.homeless.sort(key=lambda request: (request.time, request.number))
        self.held.clear()
        count = len(self.instances)
        self.queues: list[list[Key]] = [[] for _ in range(count)]
        # heaps of times and requests, for each queue; who has left stays until all that came before have left too
        self.ages: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        self.oldest = [NEVER] * count  # when who has waited longest in a queue came
        # a bit for each instance: all; whose load is above the budget; where somebody has waited for too long; whose
        # queue is long enough to be relieved
        self.all, self.full, self.late, self.many = (1 << count) - 1, 0, 0, 0
        self.until, self.next = -1, NEVER  # who came until then has waited for too long; when another one is to
        self.reach = [0] * count  # of all in a queue, and perhaps of some that have left it
        self.ready: set[int] = set()  # whose queue or whose count has changed
        self.queued = [0] * count  # work in the queue
        self.given = [0] * count  # work of requests that were given out and have no first token
        self.counts = [0] * count  # of these
        for instance, work in self.sent.values():
            if instance in self.places:
                self.given[self.places[instance]] += work
                self.counts[self.places[instance]] += 1
        for place in range(count):
            self._weigh(place)
        if count:
            self.table.hot, self.table.cold = shares(self.profile, self.hot, self.cold, count)
            self.of = Candidates(self.instances, self.candidates, self.points, self.table).of
        self.due = True

    def arrive(self, request: Asked, view: View) -> None:
        self._forget(request.number)  # who was given out and comes again
        if self.homeless:
            self._settle(view)
        self._enter(request, view)
        self.due = True

    def first(self, requests: Sequence[int]) -> None:
        for number in requests:
            self._forget(number)
        self.due |= self.eager

    def ended(self, requests: Sequence[int]) -> None:
        for number in requests:
            self._forget(number)
        self.due = True

    def dispatch(self, view: View) -> list[tuple[int, int]]:
        if not self.due or not self.instances:
            return []
        self.due = False
        if self.homeless:
            self._settle(view)
        if self.rebalance and self.many:
            self._look(view)
        if not self.ready:
            return []
        places, self.ready = sorted(self.ready), set()
        return [(number, place) for place in places if self.queues[place] for number in self._next(place)]

    def _look(self, view: View) -> None:
        """Relieve the queues that somebody has waited in for long; in the artifact those above the budget too."""
        self._pass_time(view.time)
        those, look = self._those(), None
        if not those or not (room := self._room()):
            return
        for place, reach in enumerate(self.reach):  # as it is when its turn comes
            if reach & room and those >> place & 1:
                look = look or Pass(view)
                self._relieve(place, look)
                room, those = self._room(), self._those()

    def _those(self) -> int:
        """A bit for each queue that is to be relieved, if somebody can move."""
        return (self.late if self.whole else self.late | self.full) & self.many

    def _next(self, place: int) -> list[int]:
        """Give out the first ones of a queue; the budget is of several, since one alone may exceed it."""
        queue, out = self.queues[place], []
        while queue and (
            not self.counts[place] or (self.counts[place] < self.pending and self.given[place] < self.limit)
        ):
            number = queue[0][2]
            held = self.held.pop(number)
            self._take(held)
            work = held.work
            self.sent[number] = self.instances[place], work
            self.given[place] += work
            self.counts[place] += 1
            out.append(number)
        self._weigh(place)
        return out

    def _forget(self, number: int) -> None:
        """A request that was given out has its first token, or will have none."""
        instance, work = self.sent.pop(number, (-1, 0))
        place = self.places.get(instance)
        if place is not None:
            self.given[place] -= work
            self.counts[place] -= 1
            self._weigh(place)
            self.ready.add(place)

    def _settle(self, view: View) -> None:
        homeless, self.homeless = self.homeless, []
        for request in homeless:
            self._enter(request, view)

    def _enter(self, request: Asked, view: View) -> None:
        """Route a request into a queue, and relieve its candidates if all of them are overloaded."""
        candidates, hits = self.of(request), view.hits(request)
        held = self.held[request.number] = Held(request, candidates)
        chosen = self._chosen(request, candidates, hits, view)
        self._put(held, chosen, hits[chosen])
        if not self.rebalance:
            return
        self._pass_time(view.time)
        overloaded = self.full | self.late
        for place in candidates:
            if not overloaded >> place & 1:
                return
        if overloaded == self.all:
            return
        look = Pass(view)
        look.known[request.number] = hits
        self._relieve(chosen, look)
        for place in candidates:
            if place != chosen:
                self._relieve(place, look)

    def _chosen(self, request: Asked, candidates: Sequence[int], hits: Sequence[int], view: View) -> int:
        warm = self._least(candidates, [-hits[place] for place in candidates], view)
        if self._load(warm) + self._work(request, hits[warm]) <= self.limit:
            return warm
        times = [self._load(place) + self._work(request, hits[place]) for place in candidates]
        return self._least(candidates, times, view)

    def _least(self, candidates: Sequence[int], costs: list[int], view: View) -> int:
        """Whose cost is least; of equals who has the least load, or, in the artifact, memory taken."""
        least = min(costs)
        if costs.count(least) == 1:  # as a rule, and then nobody's memory is looked up
            return candidates[costs.index(least)]
        equal = [place for place, cost in zip(candidates, costs, strict=True) if cost == least]
        return min(equal, key=self._load if self.whole else view.pages.__getitem__)

    # the books

    def loads(self) -> list[int]:
        """For each instance the work in its queue, and of what it was given and has no first token."""
        return list(map(add, self.queued, self.given))

    def _work(self, request: Asked, hit: int) -> int:
        return (request.prompt - hit) * self.prefill + hit * self.cached

    def _load(self, place: int) -> int:
        return self.queued[place] + self.given[place]

    def _put(self, held: Held, place: int, hit: int) -> None:
        request = held.request
        held.place, held.work = place, self._work(request, hit)
        held.key = self._key(request, hit)
        insort(self.queues[place], held.key)
        heappush(self.ages[place], (request.time, request.number))
        if request.time < self.oldest[place]:
            self._set_oldest(place, request.time)
        if self.rebalance:
            held.reach = self._reach(held)
            self.reach[place] |= held.reach
            if len(self.queues[place]) >= self.shortest:
                self.many |= 1 << place
        self.queued[place] += held.work
        self._weigh(place)
        self.ready.add(place)

    def _take(self, held: Held) -> None:
        place, held.place = held.place, -1
        queue = self.queues[place]
        del queue[bisect_left(queue, held.key)]
        if len(queue) < self.shortest:
            self.many &= ~(1 << place)
        self.queued[place] -= held.work
        self._weigh(place)
        if held.request.time == self.oldest[place]:
            ages = self.ages[place]
            while ages and not self._waits(place, *ages[0]):
                heappop(ages)
            self._set_oldest(place, ages[0][0] if ages else NEVER)

    def _waits(self, place: int, time: int, number: int) -> bool:
        held = self.held.get(number)
        return held is not None and held.place == place and held.request.time == time

    def _reach(self, held: Held) -> int:
        """The candidates that it is not at; in the artifact the next instance that is no candidate too."""
        reach = 0
        for place in held.candidates if self.whole else [*held.candidates, *self._neighbours(held)]:
            reach |= 1 << place
        return reach & ~(1 << held.place)

    def _key(self, request: Asked, hit: int) -> Key:
        return -hit if self.order == "hit" else 0, request.time, request.number

    def _weigh(self, place: int) -> None:
        """The load of an instance has changed."""
        if self.queued[place] + self.given[place] > self.limit:
            self.full |= 1 << place
        else:
            self.full &= ~(1 << place)

    def _set_oldest(self, place: int, time: int) -> None:
        self.oldest[place] = time
        if time <= self.until:
            self.late |= 1 << place
        else:
            self.late &= ~(1 << place)
            self.next = min(self.next, time)

    def _pass_time(self, now: int) -> None:
        """Somebody may have waited for too long by now."""
        if self.patience is None:
            return
        self.until = until = now - self.patience
        if until >= self.next:  # as a rule not
            self.next = min([time for time in self.oldest if time > until], default=NEVER)
            self.late = sum([1 << place for place, time in enumerate(self.oldest) if time <= until])

    def _room(self) -> int:
        """A bit for each instance that is not overloaded."""
        return self.all & ~(self.full | self.late)

    def _before(self, place: int, key: Key) -> int:
        """The work before a request that stands, or would stand, here in a queue."""
        queue, held = self.queues[place], self.held
        ahead = queue[: bisect_left(queue, key)]
        return self.given[place] + sum([held[number].work for _, _, number in ahead])

    # moves

    def _relieve(self, place: int, look: Pass) -> None:
        if not self.many >> place & 1 or not self.reach[place] & self._room():
            return
        goal, lost = self._load(place) - self.limit, 0
        moves = self._moves(place, look)
        while moves and not 0 < goal <= lost:
            _, number = moves.pop(0)
            held = self.held[number]
            gain, to = self._gain(held, self._before(place, held.key) + held.work, look)
            if gain <= 0:  # others have moved there meanwhile
                continue
            lost += held.work
            self._move(held, to, look)
            if not self.whole:
                moves = self._moves(place, look)

    def _move(self, held: Held, to: int, look: Pass) -> None:
        place = held.place
        self._take(held)
        if not self.whole:
            held.candidates = [to, place, *(one for one in held.candidates if one not in (to, place))]
            del held.candidates[max(self.candidates, 2) :]
        self._put(held, to, look.hits(held.request)[to])
        look.moved.add(held.request.number)
        self.moves += 1

    def _moves(self, place: int, look: Pass) -> list[tuple[int, int]]:
        """Who of a queue would gain from a move, as its gain and its number, the largest gain first."""
        found, ahead, reach, room = [], self.given[place], 0, self._room()
        for _, _, number in self.queues[place]:
            held = self.held[number]
            ahead += held.work
            reach |= held.reach
            if held.reach & room and number not in look.moved:
                gain, _ = self._gain(held, ahead, look)
                if gain > 0:
                    found.append((gain, number))
        self.reach[place] = reach
        found.sort(key=lambda move: -move[0])
        return found

    def _gain(self, held: Held, time: int, look: Pass) -> tuple[int, int]:
        """What a request would gain that moved, and where to, if it takes so long here; nothing where it may not."""
        found = self._best(held, held.candidates, time, look)
        if found is None and not self.whole:
            found = self._best(held, self._neighbours(held), time, look)
        return (0, -1) if found is None else (time - found[0], found[1])

    def _best(self, held: Held, places: Sequence[int], most: int, look: Pass) -> tuple[int, int] | None:
        """The least estimate where a request fits within the budget, and the place, if it may be below `most`."""
        request, best, room = held.request, None, self._room()
        for to in places:
            if to == held.place or not room >> to & 1 or (self.whole and self.given[to] >= most):
                continue
            hit = look.hits(request)[to]
            work = self._work(request, hit)
            if self._load(to) + work <= self.limit:
                estimate = self._before(to, self._key(request, hit)) + work
                if best is None or estimate < best[0]:
                    best = estimate, to
        return best

    def _neighbours(self, held: Held) -> list[int]:
        """The next instance that is no candidate."""
        count, candidates = len(self.queues), held.candidates
        for step in range(1, count):
            place = (held.place + step) % count
            if place not in candidates:
                return [place]
        return []
