"""Guest-physical addresses that are translated in turn: the nested TLB, host walks, and nested TLB blocks."""

from __future__ import annotations

from tiersim.sim.cache_loop import fill, join, when
from tiersim.sim.mechanisms.victima import BLOCKS, VictimaLoop
from tiersim.sim.mechanisms.victima_artifact import VictimaArtifactLoop
from tiersim.sim.translation_loop import BACKGROUND_HOST, HOST, LATENCY, Loop, TranslationWriter

__all__ = ["NestedWriter"]


class NestedWriter(TranslationWriter):
    """Writes walks of guests' tables, whose lines and pages are located by the host's.

    A host unit is the number of its row, so that it has a row and counters as a unit of the program has.
    """

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        assert loop.nested is not None, "without one the loop is native"
        self.nested = loop.nested
        self.nested_tlb = len(loop.levels) + 1 + loop.lookups.index(loop.nested.tlb)

    def known(self, k: int) -> dict[str, str]:
        known = super().known(k)
        if k < len(self.levels):
            known["kind"] += f" + (x >= {self.own('nested_blocks')})"
        return known

    def resident(self, line: str = "old", sign: str = "-") -> str:
        nested = f"{self.own('nested_resident')} {sign}= {line} >= {self.own('nested_blocks')}"
        blocks = f"({line} >= {self.own('blocks')}) & ({line} < {self.own('nested_blocks')})"
        return join(f"{self.own('resident')} {sign}= {blocks}", nested)

    def walk(self) -> str:
        mechanism, parts = self.loop.mechanism, [self.host_walk()]
        if isinstance(mechanism, VictimaArtifactLoop):
            parts.append(mechanism.nested(self))
        elif self.nested.blocks:
            assert isinstance(mechanism, VictimaLoop), "only it has TLB blocks"
            parts.append(self.blocks(mechanism))
        walk = self.virtual_walk() if self.nested.virtual else self.guest_walk()
        return "\n\n\n".join([self.read_walk(), *parts, self.locate(), *self.walk_cache_functions(), walk])

    def host_walk(self) -> str:
        """``host_walk``: reads the line of each level from the root to that of a host unit."""
        levels = len(self.loop.walk_caches) + 1
        up = ["e1 = A[(leaf - $tables) >> 6]", *(f"e{k} = A[e{k - 1} >> 9]" for k in range(2, levels - 1))]
        entries = [f"e{k}" for k in reversed(range(1, levels - 1))]
        small = self.read_entry(f"A[{entries[0]} >> 9]")  # the root of a walk that goes on to level 1
        counters = ("host_walks", "host_time", "background_host_walks", "background_host_time")
        return fill(
            HOST_WALK,
            state=self.state,
            HOST=str(HOST),
            BACKGROUND_HOST=str(BACKGROUND_HOST),
            reads=f"S[{self.memory}]",
            up=fill(join(*up), tables=self.own("tables")),
            small=small,
            down=join(*(self.read_entry(entry) for entry in entries)),
            **{name: self.own(name) for name in ("source", "delay", *counters)},
        )

    def read_entry(self, entry: str) -> str:
        return f"read_walk({self.state}, {self.own('tables')} + ({entry} >> 3))"

    def locate(self) -> str:
        """``locate``: looks a host unit up, and says whether a walk for it read memory."""
        k, virtual = self.nested_tlb, self.nested.virtual
        missing = "host_missing" if self.nested.blocks else "host_walk"
        watches = self.nested.blocks and self.loop.mechanism.watches
        gone = f"host_gone({self.state}, old)" if watches else ""
        return fill(
            VIRTUAL_LOCATE if virtual else LOCATE,
            missing=f"touched = {missing}({self.state}, u, background)",
            answered=when(f"host_found({self.state}, u)", "return False") if virtual and self.nested.blocks else "",
            pay_latency=self.pays(self.word(k, LATENCY)),
            gone=when("old >= 0", join(f"{self.own('nested_left')} += 1", self.aside(gone))),
            **self.lookup(k, "D[4 * u + 1]", "u"),
        )

    def walk_cache_functions(self) -> list[str]:
        """``has_DEPTH`` and ``keep_DEPTH`` for each page-walk cache."""
        first = len(self.levels) + 1 + len(self.loop.tlbs)
        return [
            fill(
                WALK_CACHE,
                depth=str(k - first),
                **self.paid(k),
                **self.lookup(k, "e", "e"),
            )
            for k, _ in enumerate(self.loop.walk_caches, first)
        ]

    def guest_walk(self) -> str:
        """``walk``: the guest's, from its root; each table that is read is located, and at last the page."""
        last = len(self.loop.walk_caches) - 1
        words = {name: self.own(name) for name in ("source", "delay", "tables", "table_hosts", "guests", "hosts")}
        read = fill(READ, state=self.state, reads=f"S[{self.memory}]", **words)
        steps = []
        for place in range(last + 1):
            known = f"has_{place}({self.state}, e{place})"
            line = f"x = {words['tables']} + (e{place} >> 3)"
            steps.append(when(f"not {known}", join(line, read, f"keep_{place}({self.state}, e{place})")))
        return fill(
            GUEST_WALK,
            state=self.state,
            bottom=str(last),
            up=join(*(f"e{place} = A[e{place + 1} >> 9]" for place in reversed(range(last)))),
            steps=join(*steps),
            read=read,
            begun=self.begun("source"),
            settled=self.settled(""),
            **words,
        )

    def virtual_walk(self) -> str:
        """``walk``: the guest's, from its root; then the page is looked up once for each table that was read."""
        last = len(self.loop.walk_caches) - 1
        words = {name: self.own(name) for name in ("source", "delay", "tables", "table_hosts", "guests", "hosts")}
        hosts = [f"h{place}" for place in range(last + 2)]  # of the tables that are read
        reads = [fill(VIRTUAL_READ, state=self.state, reads=f"S[{self.memory}]", h=h, **words) for h in hosts]
        steps = []
        for place in range(last + 1):
            known = f"has_{place}({self.state}, e{place})"
            line = f"x = {words['tables']} + (e{place} >> 3)"
            steps.append(when(f"not {known}", join(line, reads[place], f"keep_{place}({self.state}, e{place})")))
        looked = [when(f"{h} >= 0", f"touched |= locate({self.state}, page, {h}, background)") for h in hosts]
        return fill(
            VIRTUAL_WALK,
            state=self.state,
            bottom=str(last),
            none=join(*(f"{h} = -1" for h in hosts)),
            up=join(*(f"e{place} = A[e{place + 1} >> 9]" for place in reversed(range(last)))),
            steps=join(*steps),
            read=reads[-1],
            looked=join(*looked),
            begun=self.begun("source"),
            settled=self.settled(""),
            **words,
        )

    def blocks(self, victima: VictimaLoop) -> str:
        """What happens where the nested TLB misses, and to what has left it, with nested TLB blocks."""
        named = ("delay", "answer", "nested_block_lookups", "nested_block_hits", "nested_saved", "nested_saved_time")
        parts = victima.blocks(self, "nested_", "nested_offset", kind=3) | {name: self.own(name) for name in named}
        parts |= {"pay_answer": self.pays(self.own("answer")), "begun": self.begun("2"), "ended": self.ended("2")}
        gone = fill(HOST_GONE, **parts) if victima.watches else ""
        return join(fill(BLOCKS, **parts) + "\n\n", fill(HOST_MISSING, **parts) + "\n\n", gone)


HOST_WALK = """
@inline
def host_walk($state, u, background):
    was = $source
    $source = $BACKGROUND_HOST if background else $HOST
    paid = $delay
    before = $reads
    leaf = D[4 * u + 2]
    $up
    if D[4 * u + 3] == 0:
        $small
    $down
    read_walk($state, leaf)
    $source = was
    time = $delay - paid
    if background:
        $background_host_walks += 1
        $background_host_time += time
    else:
        $host_walks += 1
        $host_time += time
    return $reads > before
"""
LOCATE = """
@jit_apart
def locate($state, u, background):
    $seat
    $lookups += 1
    $pay_latency
    $find
    if way >= 0:
        $hit
        return False
    $misses += 1
    $missing
    $enter
    $gone
    return touched
"""
# Functions that read lines are few, for each is compiled with all that it reaches.
WALK_CACHE = """
@inline
def has_$depth($state, e):
    $seat
    $lookups += 1
    $find
    if way >= 0:
        $hit
        $pay_latency
        return True
    $misses += 1
    $pay_penalty
    return False


@inline
def keep_$depth($state, e):
    $seat
    $enter
    return 0
"""
READ = """
touched |= locate($state, D[4 * ($table_hosts + (x - $tables >> 6))], background)
before = $reads
read_walk($state, x)
touched |= $reads > before
"""
GUEST_WALK = """
@jit_apart
def walk($state, u, source):
    $source = source
    $delay = 0
    $begun
    background = source == 2
    touched = False
    row = 4 * ($guests + u)
    leaf = D[row + 2]
    table = (leaf - $tables) >> 6
    if D[row + 3]:
        e$bottom = table << 9 | D[row + 1] & 511
    else:
        e$bottom = A[table]
    $up
    $steps
    if D[row + 3] == 0:
        x = leaf
        $read
    touched |= locate($state, D[4 * ($hosts + u)], background)
    $settled
"""
# What lies beneath a lookup that fails here is another page's: the table's, whose host unit is h.
VIRTUAL_LOCATE = """
@jit_apart
def locate($state, u, h, background):
    $seat
    $lookups += 1
    $pay_latency
    $find
    if way >= 0:
        $hit
        return False
    $misses += 1
    $answered
    $enter
    $gone
    return host_walk($state, h, background)
"""
VIRTUAL_READ = """
before = $reads
read_walk($state, x)
touched |= $reads > before
$h = D[4 * ($table_hosts + (x - $tables >> 6))]
"""
VIRTUAL_WALK = """
@jit_apart
def walk($state, u, source):
    $source = source
    $delay = 0
    $begun
    background = source == 2
    touched = False
    row = 4 * ($guests + u)
    leaf = D[row + 2]
    table = (leaf - $tables) >> 6
    $none
    if D[row + 3]:
        e$bottom = table << 9 | D[row + 1] & 511
    else:
        e$bottom = A[table]
    $up
    $steps
    if D[row + 3] == 0:
        x = leaf
        $read
    page = D[4 * ($hosts + u)]
    $looked
    $settled
"""
HOST_MISSING = """
@inline
def host_missing($state, u, background):
    $locate
    $look
    $nested_block_lookups += 1
    if way >= 0:
        $hit
        $used
        $nested_block_hits += 1
        $pay_answer
        return False
    $asked
    touched = host_walk($state, u, background)
    $count
    $convert
    return touched
"""
HOST_GONE = """
@inline
def host_gone($state, u):
    $locate
    $look
    if way >= 0:
        return 0
    if not $is_costly($state, u):
        return 0
    paid = $delay
    $begun
    touched = host_walk($state, u, True)
    $ended
    $nested_saved += 1
    $nested_saved_time += $delay - paid
    $delay = paid
    $count
    $make($state, u)
    return 0
"""
