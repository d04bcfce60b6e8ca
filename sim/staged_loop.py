"""Writes the loop of translation in stages, where that comes to the same: each part takes a block of references.

What TLBs hold depends on the references alone, and without TLB blocks what a cache holds on what is asked of it. So the
first TLB goes through a block, the next one through what was missing there, walks through what is missing then; their
reads are put before the data of their references, and each cache passes on what the next one is asked for, in order.
Each part is a small loop whose turns do not wait for one another. Where the policy is LRU a set is kept in the order of
use (`tiersim.sim.pointers.renew`), so that hits and misses take the same few steps, without a branch that no processor
foresees: what was missing is always noted down, but only counted if it was.

Counts are those of `tiersim.sim.translation_loop`. A block ends with its window of instructions.

A stream is words: the number of a line, and above it who reads: the slot that has the time of a walk, and flags; then
the low bits of the line's address / 64, its place, by which sets are found. A line that is written back has the number
of its set above there, and the sign.
"""

from __future__ import annotations

from textwrap import indent
from typing import ClassVar

from tiersim.sim.cache_loop import BLOCK as WHOLE
from tiersim.sim.cache_loop import ROOMY, SHARED, fill, join, when
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.pages import ENTRY, ENTRY_MASK, FRAME, FRAME_MASK, LARGE, LINE, OWN, OWN_MASK, UNIT_MASK
from tiersim.sim.prefetchers import PREFETCH
from tiersim.sim.translation_loop import (
    BIN,
    BINS,
    LATENCY,
    MEANS,
    MISSES_BY,
    READS_BY,
    REUSE,
    Loop,
    TranslationWriter,
)

__all__ = ["StagedWriter", "TlbStagesWriter", "in_stages", "room_of", "tlbs_in_stages"]

BLOCK = 512  # references, at most
FAR = 64  # references ahead of which rows are asked for
SLOT, WALK, AHEAD, PLACE, STORED, MISSED = 32, 42, 43, 44, 60, 61  # bits of a word of a stream
LINE_MASK, SLOT_MASK, READ_MASK = (1 << SLOT) - 1, (1 << WALK - SLOT) - 1, (1 << STORED) - 1
PLACES = OWN_MASK + 1 << LINE  # a cache of no more sets finds them by the place
BACK = -(1 << 62)
UNIT, PUSHED = 10, 35  # bits of a word of what was missing; units there count from 1
UNITS = (1 << PUSHED - UNIT) - 1
TOUCHED = 48  # bit of a walk's time
PAGE, LAST, SPOT, CURSOR, COUNT, ZERO, STORES = range(7)  # words in front of the streams
WIDEST = 16  # ways that are kept in order


def tlbs_in_stages(loop: Loop) -> bool:
    """Whether the TLBs of a loop without fetches and shootdowns may go through a block at once."""
    first = [tlb for tlb in loop.tlbs if "data" in tlb.serves]
    plain = all(tlb.sizes == {0, 1} and not tlb.direct and not tlb.coalesces for tlb in loop.tlbs)
    return plain and loop.nested is None and len(first) == 1


def in_stages(loop: Loop) -> bool:
    """Whether all of it may."""
    caches = all(
        level.write_back and level.write_allocate and level.inclusion == "non-inclusive" and not level.log
        for level in loop.levels
    )
    return caches and tlbs_in_stages(loop) and isinstance(loop.mechanism, RadixLoop)


def path_of(loop: Loop) -> list[int]:
    """The caches that data goes through, from the first on."""
    path = [next(k for k, level in enumerate(loop.levels) if "data" in level.serves)]
    while (below := loop.levels[path[-1]].below) is not None:
        path.append(below)
    return path


class _Layout:
    """Where streams lie in the array of all."""

    def __init__(self, loop: Loop) -> None:
        self.size = 16
        self.times = self.take(1 + BLOCK)
        self.asked = self.take(BLOCK + 1)  # what was missing in the TLBs: a reference, its unit, what it pushed out
        self.notes = self.take(BLOCK)  # of each reference
        levels = len(loop.walk_caches) + 1
        self.most = 4 if levels <= 4 else 8  # lines of a walk
        self.reads = self.take(self.most * (BLOCK + 1))
        count = BLOCK * (1 + levels) + self.most
        self.streams = [self.take(count)]
        for k in path_of(loop):
            count *= 2 + 2 * sum(own.degree for own in loop.prefetchers if own.cache == k)
            self.streams.append(self.take(count + self.most))

    def take(self, words: int) -> int:
        begin, self.size = self.size, self.size + words
        return begin


def room_of(loop: Loop) -> int:
    """The words of all streams."""
    return _Layout(loop).size


class TlbStagesWriter(TranslationWriter):
    """Writes the stages of TLBs, and the loop that takes what they found reference by reference."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self.pointers.append("B")
        self.arrays.append("streams")
        self.state = ", ".join(self.pointers)
        self.path, self.layout = path_of(loop), _Layout(loop)
        self.first_t = self.first("data")[0]

    soon: ClassVar[str] = "prefetch(L, x)"

    def noted(self, missed: str) -> str:
        """What is noted of a reference: where it stands among those that the first TLB missed, or 0."""
        return f"{missed} & (held << 1 | 1)"

    # what is common to all parts

    def ordered(self, k: int) -> bool:
        """Whether the sets of a part are kept in the order of use."""
        told = vars(type(self.parts[k].policy)).get("in_order_of_use", False)  # which says nothing of subclasses
        return told and self.parts[k].ways <= WIDEST and k != self.loop.reuse

    def heads(self, k: int) -> str:
        """The words of a part's header, in variables."""
        words = [f"{name} = {self.word(k, at)}" for at, name in enumerate(("sets", "tags", "words", "stride"))]
        if not self.ordered(k):  # whether some way is empty yet, which mostly saves looking at the last one of a set
            count = self.counter if k < len(self.levels) else self.tally
            words.append(f"free = sets * {self.parts[k].ways} > {count(k, 'fills')} - {count(k, 'evictions')}")
        return join(*words, f"zero = B[{ZERO}]")

    def seated(self, k: int, number: str) -> str:
        """Where the set of a number is, by those."""
        index = f"{number} & (sets - 1)" if self.parts[k].power_of_two else f"{number} % sets"
        at = "" if self.ordered(k) else "at = words + group * stride"
        return join(f"group = {index}", f"base = tags + group * {self.parts[k].ways}", at)

    def taken(
        self, k: int, tag: str, missed: str, hit: str = "", dirt: str = "", empty: str = "empty", free: str = "free"
    ) -> str:
        """Looks a tag up, which then is there; `missed` is done if it was not, and in an ordered set also if it was.

        That is told by the mask `gone`; then `left` is the tag that it pushed out, or -1, which `empty` counts.
        """
        ways, new = str(self.parts[k].ways), f"{tag} << 1{dirt and f' | {dirt}'}"
        if self.ordered(k):
            dirty = "stored" if k < len(self.levels) else "0"
            call = f"left, gone = renew(I, base, {ways}, {new}, {dirty}, zero)"
            return join(call, f"{empty} -= left >> 63 & gone", missed)
        renewed = self.renewed(k)
        room = join(
            f"way = {renewed['room']}",
            when(f"way < 0 or way >= {ways}", f"way = refuse(S, {self.header(k)}, way)"),
            "left = int(I[base + way])",
        )
        told = renewed["told_if_empty"].removeprefix("else:\n    ")
        first = join(f"way = find_{ways}(I, base, -1)", "left = -1", f"{empty} += 1", told)
        entered = join(
            when(f"{free} and I[base + {int(ways) - 1}] == -1", first, room),
            f"I[base + way] = {new}",
            renewed["told"],
            "gone = -1",
            missed,
        )
        there = join(self.call("hit", k), f"I[base + way] |= {dirt}" if dirt else "", hit)
        return join(f"way = find_{ways}(I, base, {tag})", when("way >= 0", there, entered))

    # TLBs

    def row(self, page: str) -> str:
        """Where the row of a page begins."""
        return f"4 * {page}"

    def unit(self, page: str) -> str:
        """The unit of a page."""
        return f"int(D[4 * {page}])"

    def placed(self, k: int, page: str) -> str:
        """Where the set of a page's unit is."""
        return self.seated(k, f"D[4 * {page} + 1]")

    def first_stage(self) -> str:
        k, lay = self.tlb(self.first_t), self.layout
        missed = f"""
            B[{lay.asked} + held] = i - start | u + 1 << {UNIT} | (left >> 1) + 1 << {PUSHED}
            B[{lay.notes} + i - start] = {self.noted("gone")}
            page = p | gone
            held -= gone
        """
        hit = f"""
            B[{lay.notes} + i - start] = {self.noted("0")}
            page = p
        """
        return fill(
            """
            @jit_apart
            def first($state, E, start, stop, count):
                $heads
                page = B[$PAGE]
                asked = 0
                held = 0
                empty = 0
                far = min($FAR, count - stop)
                for i in range(start, stop):
                    x = int(E[i + far]) >> 8
                    prefetch(D, $row)
                    $early
                    event = int(E[i])
                    p = event >> 8
                    u = $unit
                    $placed
                    asked += $anew
                    $taken
                B[$PAGE] = page
                $lookups += asked
                $misses += held
                $fills += held
                $evictions += held - empty
                return held
            """,
            state=self.state,
            heads=self.heads(k),
            FAR=str(FAR),
            PAGE=str(PAGE),
            early=self.soon,
            anew="p != page" if self.idempotent([self.first_t]) else "1",
            row=self.row("x"),
            unit=self.unit("p"),
            placed=self.placed(k, "p"),
            taken=self.taken(k, "u", fill(missed), fill(hit)),
            **{name: self.tally(k, name) for name in ("lookups", "misses", "fills", "evictions")},
        )

    def further_stage(self, t: int) -> str:
        """``further_T``: what was missing before is looked up (-1: nothing), then what was evicted there is put."""
        k, lay = self.tlb(t), self.layout
        if self.ordered(k):
            look = f"found = ~use(I, base, {self.parts[k].ways}, u << 1, zero)"  # 0 if not
        else:
            look = join(
                f"way = find_{self.parts[k].ways}(I, base, u)",
                "found = 0",
                when("way >= 0", join("found = -1", self.call("hit", k))),
            )
        put = """
            pushed = (left >> 1) + 1 & gone
            fills -= gone
        """
        counted = ("lookups", "misses", "fills", "evictions", "puts", "found")
        return fill(
            """
            @jit_apart
            def further_$t($state, held):
                $heads
                lookups = 0
                hits = 0
                puts = 0
                fills = 0
                empty = 0
                for j in range(held):
                    word = B[$asked + j]
                    u = (word >> $UNIT & $UNITS) - 1
                    v = (word >> $PUSHED) - 1
                    pushed = 0
                    if u >= 0:
                        $placed_u
                        $look
                        lookups += 1
                        hits -= found
                        word &= ~(found & $UNITS << $UNIT)
                    if v >= 0:
                        $placed_v
                        puts += 1
                        $taken
                    B[$asked + j] = word & (1 << $PUSHED) - 1 | pushed << $PUSHED
                $lookups += lookups
                $misses += lookups - hits
                $puts += puts
                $fills += fills
                $evictions += fills - empty
                $found += puts - fills
                $beyond += lookups * $latency
                return 0
            """,
            t=str(t),
            state=self.state,
            heads=self.heads(k),
            asked=str(lay.asked),
            placed_u=self.placed(k, "u"),
            look=look,
            placed_v=self.placed(k, "v"),
            taken=self.taken(k, "v", fill(put)),
            UNIT=str(UNIT),
            UNITS=str(UNITS),
            PUSHED=str(PUSHED),
            beyond=self.own("beyond"),
            latency=self.word(k, LATENCY),
            **{name: self.tally(k, name) for name in counted},
        )

    # the loop over references, where the rest is as it always is

    def functions(self) -> list[str]:
        return [*super().functions(), *self.stages()]

    def stages(self) -> list[str]:
        return [self.first_stage(), *(self.further_stage(t) for t in self.behind(self.first_t))]

    def staged(self) -> list[str]:
        """Calls of those."""
        further = [f"further_{t}({self.state}, held)" for t in self.behind(self.first_t)]
        return [f"held = first({self.state}, E, start, stop, count)", *further]

    def apart(self, data: int | None, fetch: int) -> bool:
        return False  # there are no fetches

    def windows(self) -> tuple[str, str, str]:
        taken, head, tail = super().windows()
        head = head.replace(f"start + {WHOLE}", f"start + {BLOCK}").replace("page_data = -1", f"B[{PAGE}] = -1")
        return taken, join(head, *(indent(call, "    ") for call in self.staged())), tail

    def translated(self, *, data: bool) -> str:
        page = f"{self.own('page')} = x >> 6" if "page" in self.loop.mechanism.words else ""
        passed = " + ".join(self.word(self.tlb(t), LATENCY) for t in self.behind(self.first_t)) or "0"
        missing = join(
            f"{self.own('missing')} += 1",
            page,
            f"{self.own('beyond')} += missing({self.state}, u, {passed}) - ({passed})",
        )
        told = f"gone({self.state}, v)" if self.loop.mechanism.watches else ""
        lines = [
            *self.unsure("data"),
            f"asked = B[{self.layout.asked} + (todo >> 1)]",
            f"u = (asked >> {UNIT} & {UNITS}) - 1",
            f"v = (asked >> {PUSHED}) - 1",
            when("u >= 0", missing),
            when("v >= 0", join(f"{self.own('left')} += 1", told)),
        ]
        return join(f"todo = B[{self.layout.notes} + i - start]", when("todo", join(*lines)))

    def remembered(self, *, data: bool) -> str:
        return "x if todo == 0 else -1"

    def early(self) -> str:
        return "prefetch(C, x >> 6)" if self.loop.mechanism.cache is not None else ""


class StagedWriter(TlbStagesWriter):
    """Writes a function for each stage, and the loop over blocks. Its rows are words, those of `Tables.packed`."""

    soon: ClassVar[str] = ""

    def noted(self, missed: str) -> str:
        """The word of its line, which will have, in place of a slot, how many lines its walk reads."""
        page = f"(D[p] >> {OWN} & {OWN_MASK}) << {PLACE + LINE}"
        place = f"{page} | (event & 252) << {PLACE - 2}"
        told = f"{missed} & {1 << MISSED}" if self.prefetches(self.path[0]) else "0"
        return f"event >> 2 | (event & 1) << {STORED} | {told} | {place}"

    def row(self, page: str) -> str:
        return page

    def unit(self, page: str) -> str:
        return f"D[{page}] & {UNIT_MASK}"

    def placed(self, k: int, page: str) -> str:
        whole = f"number = L[{page}] >> 9 * (D[{page}] >> {LARGE} & 1) & {(1 << 31) - 1}"
        if not self.parts[k].power_of_two:
            return join(whole, self.seated(k, "number"))
        entry = f"number = D[{page}] >> {ENTRY}"  # its low bits are those of the unit's number
        return join(when(f"sets <= {ENTRY_MASK + 1}", entry, whole), self.seated(k, "number"))

    def text(self) -> str:
        verbs = [held.text.replace("@jit\n", "@inline\n") for held in self.verbs.values()]
        found = [self.find(ways) for ways in sorted({part.ways for part in self.parts})]
        parts = [SHARED.strip("\n"), *verbs, *found, *self.stages(), self.settle(), self.tick(), self.run()]
        return "\n\n\n".join(parts) + "\n"

    def stages(self) -> list[str]:
        made = [*super().stages(), self.walk_stage(), self.merge()]
        header = len(self.parts) - len(self.loop.prefetchers)
        for k in self.path:
            for place, own in enumerate(self.loop.prefetchers):
                if own.cache == k:
                    made.append(own.functions(self, header + place))
            made.append(self.lower_stage(k) if k != self.path[0] else self.entry_stage(k))
        return made

    def staged(self) -> list[str]:
        def caches(stored: int) -> str:  # without stores yet no line is dirty: that is compiled apart
            made = (f"cache_{self.names[k]}({self.state}, {self.layout.streams[at]}" for at, k in enumerate(self.path))
            return join(*(f"end = {call}, end, {stored})" for call in made))

        return [
            *super().staged(),
            f"walked = walks({self.state}, held)",
            f"end = merge({self.state}, stop - start)",
            when(f"{self.counter(self.path[0], 'writes')} + B[{STORES}]", caches(1), caches(0)),
            f"settle({self.state}, walked)",
        ]

    def known(self, k: int) -> dict[str, str]:
        if k > len(self.levels):
            return super().known(k)
        return {**super().known(k), "kind": f"1 * (x >= {self.own('tables')})"}  # there are no TLB blocks

    # walks

    def walk_stage(self) -> str:
        """``walks``: of what no TLB has: page-walk caches, and which lines are read."""
        lay, last = self.layout, len(self.loop.walk_caches) - 1
        header = len(self.levels) + 1 + len(self.loop.tlbs)
        up = [f"e{place} = int(A[e{place + 1} >> 9])" for place in reversed(range(last))]
        steps, counted = [], []
        for place in range(last + 1):
            k = header + place
            counted.append(f"{self.tally(k, 'lookups')} += walks")
            counted += [f"{self.tally(k, what)} += misses_{place}" for what in ("misses", "fills")]
            counted.append(f"{self.tally(k, 'evictions')} += misses_{place} - empty_{place}")
            missed = f"""
                B[q + c] = slot | ({self.own("tables")} + (e{place} >> 3)) | (e{place} >> 3 & {PLACES - 1}) << {PLACE}
                c -= gone
                time += ({self.word(k, LATENCY)} & ~gone) + ({self.own("pwc_miss")} & gone)
                misses_{place} -= gone
            """
            taken = self.taken(
                k, f"e{place}", fill(missed), f"time += {self.word(k, LATENCY)}", empty=f"empty_{place}", free="True"
            )
            steps.append(join(self.seat(k, f"e{place}"), taken))
        above = range(header, header + last)
        # of one that has room for all that it may ever be asked for nothing leaves
        once = when(
            "H[table]",
            join(*(f"time += {self.word(k, LATENCY)}" for k in above)),
            join(*up, *steps[:-1], f"H[table] = {' & '.join(self.word(k, ROOMY) for k in above)}"),
        )
        return fill(
            """
            @jit_apart
            def walks($state, held):
                zero = B[$ZERO]
                walks = 0
                left = 0
                for j in range(held):
                    word = B[$asked + j]
                    left += word >> $PUSHED > 0
                    B[$asked + walks] = word
                    walks += word >> $UNIT & $UNITS > 0
                $left += left
                $all += walks
                $begin
                for j in range(walks):
                    i = B[$asked + j] & $REFERENCES
                    u = (B[$asked + j] >> $UNIT & $UNITS) - 1
                    row = D[u]
                    large = row >> $LARGE & 1
                    table = row >> $FRAME & $FRAME_MASK
                    entry = row >> $ENTRY & $ENTRY_MASK
                    leaf = $tables + (table << 6 | entry >> 3)
                    if large:
                        e$last = table << 9 | entry
                    else:
                        e$last = int(A[table])
                    q = $reads + $MOST * i
                    c = 0
                    time = 0
                    slot = (j + 1) << $SLOT | $WALKING
                    $once
                    $step
                    B[q + c] = slot | leaf | (leaf - $tables & $PLACES) << $PLACE
                    c += 1 - large
                    B[$notes + i] |= c << $SLOT
                    B[$times + 1 + j] = time + c * $latency
                $counted
                return walks
            """,
            state=self.state,
            asked=str(lay.asked),
            UNIT=str(UNIT),
            UNITS=str(UNITS),
            PUSHED=str(PUSHED),
            REFERENCES=str((1 << UNIT) - 1),
            left=self.own("left"),
            all=self.own("missing"),
            LARGE=str(LARGE),
            FRAME=str(FRAME),
            FRAME_MASK=str(FRAME_MASK),
            ENTRY=str(ENTRY),
            ENTRY_MASK=str(ENTRY_MASK),
            tables=self.own("tables"),
            begin=join(*(f"misses_{place} = 0\nempty_{place} = 0" for place in range(last + 1))),
            last=str(last),
            once=once,
            step=steps[-1],
            reads=str(lay.reads),
            MOST=str(lay.most),
            SLOT=str(SLOT),
            PLACES=str(PLACES - 1),
            ZERO=str(ZERO),
            PLACE=str(PLACE),
            WALKING=str(1 << WALK),
            notes=str(lay.notes),
            times=str(lay.times),
            latency=self.word(self.path[0], LATENCY),
            counted=join(*counted),
        )

    def merge(self) -> str:
        """``merge``: reads of walks, and then the data, reference by reference."""
        lay = self.layout
        return fill(
            """
            @jit_apart
            def merge($state, count):
                n = $stream
                B[$COUNT] = count
                stores = 0
                for i in range(count):
                    word = B[$notes + i]
                    c = word >> $SLOT & 7
                    q = $reads + $MOST * i
                    B[n] = B[q]
                    B[n + 1] = B[q + 1]
                    if c > 2:
                        for more in range(2, c):
                            B[n + more] = B[q + more]
                    n += c
                    B[n] = word & $WHO
                    n += 1
                    stores += word >> $STORED & 1
                B[$STORES] = stores
                return n
            """,
            state=self.state,
            STORES=str(STORES),
            stream=str(lay.streams[0]),
            notes=str(lay.notes),
            reads=str(lay.reads),
            MOST=str(lay.most),
            STORED=str(STORED),
            SLOT=str(SLOT),
            COUNT=str(COUNT),
            WHO=str(~(7 << SLOT)),
        )

    # caches

    def located(self, k: int, number: str = "") -> str:
        """Where the set of line x is; `number` is a set that it was in above, and how many there are."""
        index = f"group = (L[x >> 6] << 6 | x & 63) {'& (sets - 1)' if self.levels[k].power_of_two else '% sets'}"
        if self.levels[k].power_of_two:
            if number:  # what is written back was stored to, so it is the program's, and has a row
                own = f"group = ((D[x >> 6] >> {OWN} & {OWN_MASK}) << 6 | x & 63) & (sets - 1)"
                index = when(f"sets <= {PLACES}", own, index)
                index = when("sets <= above", f"group = {number} & (sets - 1)", index)
            else:
                index = when(f"sets <= {PLACES}", f"group = word >> {PLACE} & (sets - 1)", index)
        at = "" if self.ordered(k) else "at = words + group * stride"
        return join(index, f"base = tags + group * {self.levels[k].ways}", at)

    def passed_on(self, k: int, word: str) -> str:
        """What follows a miss: the line is asked for below, and what it pushed out goes there if it is dirty."""
        dirty = "dirty = left & ~(left >> 63) & gone & 1"
        if self.levels[k].below is None:
            return when("stored", join(dirty, "writebacks += dirty"))
        back = f"B[n] = group << {SLOT} | left >> 1 | {BACK}"
        asked = f"B[n] = {word}\nn -= gone" if word else ""
        return join(asked, when("stored", join(dirty, back, "n += dirty", "writebacks += dirty")))

    def entered(self, k: int) -> str:
        """What is counted where reuse is: such a cache is not ordered, so that only misses come here."""
        if k != self.loop.reuse:
            return ""
        kind = self.known(k)["kind"].replace("x", "(left >> 1)")
        of_kind = f"{self.at(len(MEANS) - 1 + BINS)} + ({kind}) * {REUSE}"
        return join(when("left >= 0", f"S[{of_kind} + int(R[base + way])] += 1"), "R[base + way] = 0")

    def prefetches(self, k: int) -> bool:
        return any(own.cache == k for own in self.loop.prefetchers)

    def counted(self, k: int) -> list[str]:
        """What a stage has counted, for the header."""
        place = self.path.index(k)
        lines = [
            f"{self.counter(k, 'evictions')} += fills - empty",
            f"{self.counter(k, 'fills')} += fills",
            f"{self.counter(k, 'writebacks')} += writebacks",
            f"S[{self.header(k, MISSES_BY + 1)}] += walk_misses",
        ]
        if place:
            lines += [
                f"{self.counter(k, 'read_misses')} += fills - unknown",
                f"{self.counter(k, 'writebacks_in')} += received",
                f"{self.counter(k, 'writeback_misses')} += unknown",
                f"S[{self.header(k, MISSES_BY)}] += fills - unknown - walk_misses - ahead_misses",
            ]
            lines += [f"S[{self.header(k, MISSES_BY + PREFETCH)}] += ahead_misses"] if self.loop.prefetchers else []
        if self.levels[k].below is None:
            lines.append(f"S[{self.memory + 1}] += writebacks")
        return [*lines, *self.asked_below(k)]

    def asked_below(self, k: int) -> list[str]:
        """How often the part below was read, by whom: so often as this one missed, and its prefetcher asked."""
        n = self.levels[k].below
        n = len(self.levels) if n is None else n
        misses = self.counter(k, "read_misses")
        if k == self.path[0]:
            misses = f"({misses} + {self.counter(k, 'write_misses')})"
        asked = [f"S[{self.header(k, MISSES_BY + PREFETCH)}]"] if self.loop.prefetchers else []
        for header, own in enumerate(self.loop.prefetchers, len(self.parts) - len(self.loop.prefetchers)):
            if own.cache == k:
                asked.append(self.tally(header, "puts"))
                misses += f" + {self.tally(header, 'puts')}"
        reads = f"S[{self.memory}]" if n == len(self.levels) else self.counter(n, "reads")
        lines = [f"{reads} = {misses}", f"S[{self.header(n, READS_BY + 1)}] = S[{self.header(k, MISSES_BY + 1)}]"]
        others = [f"S[{self.header(n, READS_BY + 1)}]"]
        if asked:
            lines.append(f"S[{self.header(n, READS_BY + PREFETCH)}] = {' + '.join(asked)}")
            others.append(f"S[{self.header(n, READS_BY + PREFETCH)}]")
        return [*lines, f"S[{self.header(n, READS_BY)}] = {' - '.join([reads, *others])}"]

    def entry_stage(self, k: int) -> str:
        """``cache_NAME``: references of the program and reads of walks, at the cache that serves data."""
        lay, paid = self.layout, ""
        if self.levels[k].below is None:
            paid = f"B[{lay.times} + (word >> {SLOT} & {SLOT_MASK})] += {self.of_memory} & gone"
        missed = join(
            self.passed_on(k, f"word & {READ_MASK}" if self.prefetches(k) else f"word & ~(stored << {STORED})"),
            paid,
            "fills -= gone",
            when("stored", "write_misses += store & gone"),
            f"walk_misses += word >> {WALK} & gone & 1",
            "last = -1" if self.prefetches(k) else "",
        )
        hit, again, trained = "", "", ""
        if self.prefetches(k):  # it is not told of a line that is just the last one again
            train = join(
                f"B[{CURSOR}] = n", when(f"train_{self.names[k]}({self.state}, x)", "last = -1"), f"n = B[{CURSOR}]"
            )
            of_program = f"word >> {WALK} & 1 == 0"
            remember = ""
            if self.filtered(k):
                again = when(f"x == last and {of_program}", join("I[spot] |= store", "continue"))
                missed = missed.removesuffix("\nlast = -1")
                spot = "base" if self.ordered(k) else "base + way"
                remember = f"last = x | gone | -(word >> {MISSED} & 1)\nspot = {spot}"
                hit = "gone = 0"
            trained = when(of_program, join(remember, train))
        program = ""
        if "instructions" in self.levels[k].serves:
            program = f"S[{self.header(k, MISSES_BY)}] += fills - write_misses - walk_misses"
        return fill(
            """
            @jit_apart
            def cache_$name($state, begin, end, stored):
                $heads
                n = $out
                last = B[$LAST]
                spot = B[$SPOT]
                writes = B[$STORES]
                fills = 0
                write_misses = 0
                walk_misses = 0
                writebacks = 0
                empty = 0
                for j in range(begin, end):
                    word = B[j]
                    x = word & $LINE_MASK
                    store = word >> $STORED & stored
                    $again
                    $located
                    $taken
                    $trained
                B[$LAST] = last
                B[$SPOT] = spot
                $reads += end - begin - writes
                $written += writes
                $read_misses += fills - write_misses
                $all_write_misses += write_misses
                $program
                $counted
                return n
            """,
            name=self.names[k],
            state=self.state,
            heads=self.heads(k),
            out=str(lay.streams[1]),
            LAST=str(LAST),
            SPOT=str(SPOT),
            LINE_MASK=str(LINE_MASK),
            STORED=str(STORED),
            again=again,
            located=self.located(k),
            taken=self.taken(k, "x", missed, hit, "store"),
            trained=trained,
            reads=self.counter(k, "reads"),
            written=self.counter(k, "writes"),
            STORES=str(STORES),
            read_misses=self.counter(k, "read_misses"),
            all_write_misses=self.counter(k, "write_misses"),
            program=program,
            counted=join(f"S[{self.header(k, READS_BY + 1)}] += end - begin - B[{COUNT}]", *self.counted(k)),
        )

    @property
    def of_memory(self) -> str:
        return f"(S[{self.header(len(self.levels), LATENCY)}] + {1 << TOUCHED})"

    def lower_stage(self, k: int) -> str:
        """``cache_NAME``: what the cache above asks for, and writes back."""
        lay, place = self.layout, self.path.index(k)
        above, last = self.path[place - 1], self.levels[k].below is None
        entered, used = self.entered(k), self.used(k)
        paid = looked = f"B[slot] += {self.word(k, LATENCY)}"
        if last:  # with the memory at once
            used, looked, paid = join(looked, used), "", f"{looked} + ({self.of_memory} & gone)"
        missed = join(
            entered,
            self.passed_on(k, "word"),
            paid if last else "",
            "fills -= gone",
            f"walk_misses += word >> {WALK} & gone & 1",
            f"ahead_misses += word >> {AHEAD} & gone & 1" if self.loop.prefetchers else "",
        )
        received = join(
            entered,
            self.passed_on(k, ""),
            "fills -= gone",
            "unknown -= gone",
        )
        trained = ""
        if self.prefetches(k):
            train = join(f"B[{CURSOR}] = n", f"train_{self.names[k]}({self.state}, x)", f"n = B[{CURSOR}]")
            trained = when(f"word >> {WALK} & 3 == 0", train)
        return fill(
            """
            @jit_apart
            def cache_$name($state, begin, end, stored):
                $heads
                above = $above
                n = $out
                fills = 0
                walk_misses = 0
                ahead_misses = 0
                received = 0
                unknown = 0
                writebacks = 0
                empty = 0
                for j in range(begin, end):
                    word = B[j]
                    x = word & $LINE_MASK
                    if stored and word < 0:
                        received += 1
                        $place
                        $written
                        continue
                    $located
                    slot = $times + (word >> $SLOT & $SLOT_MASK)
                    $looked
                    $taken
                    $trained
                $counted
                return n
            """,
            name=self.names[k],
            state=self.state,
            heads=self.heads(k),
            above=self.word(above, 0) if self.levels[above].power_of_two else "0",
            out=str(lay.streams[place + 1]),
            LINE_MASK=str(LINE_MASK),
            SLOT=str(SLOT),
            SLOT_MASK=str(SLOT_MASK),
            place=self.located(k, f"(word >> {SLOT} & {(1 << 30) - 1})"),
            written=self.put_back(k, received),
            located=self.located(k),
            times=str(lay.times),
            looked=looked,
            taken=self.taken(k, "x", missed, used),
            trained=trained,
            counted=join(*self.counted(k)),
        )

    def put_back(self, k: int, entered: str) -> str:
        """Line x comes here from above: it is dirty, and its policy is told of it only if it was not there."""
        text = self.taken(k, "x", entered, "", "1")
        if self.ordered(k):  # it stays where it is
            mark = f"way = find_{self.parts[k].ways}(I, base, x)"
            return join(mark, when("way >= 0", "I[base + way] = x << 1 | 1", text))
        return text.replace(
            join(self.call("hit", k), "I[base + way] |= 1").replace("\n", "\n    "), "I[base + way] |= 1"
        )

    def prefetched(self, k: int) -> str:
        """What the prefetcher of cache k has it read."""
        entered = self.entered(k)
        if self.levels[k].below is None:
            asked, back = "", f"S[{self.memory + 1}] += dirty"
        else:
            place = f"((L[x >> 6] << 6 | x & 63) & {PLACES - 1}) << {PLACE}"
            asked = f"n = B[{CURSOR}]\nB[n] = x | {1 << AHEAD} | {place}\nn += 1"
            back = f"B[n] = group << {SLOT} | left >> 1 | {BACK}\nB[{CURSOR}] = n + dirty"
        missed = join(
            entered,
            "dirty = left & ~(left >> 63) & gone & 1",
            back,
            f"{self.counter(k, 'fills')} += 1",
            f"{self.counter(k, 'evictions')} += 1 - empty",
            f"{self.counter(k, 'writebacks')} += dirty",
        )
        return join(f"zero = B[{ZERO}]", "empty = 0\nstored = 1", asked, self.taken(k, "x", missed, free="True"))

    # ends

    def settle(self) -> str:
        """``settle``: walks of the block have ended."""
        names = ("walks", "walk_time", "walk_longest", "walks_touched", "beyond")
        return fill(
            """
            @jit_apart
            def settle($state, count):
                whole = 0
                longest = $walk_longest
                touched = 0
                for j in range(count):
                    time = B[$times + 1 + j]
                    touched += time >> $TOUCHED > 0
                    time &= $MASK
                    whole += time
                    longest = max(longest, time)
                    S[$histogram + min(time // $BIN, $LAST)] += 1
                $walks += count
                $walk_time += whole
                $walk_longest = longest
                $walks_touched += touched
                $beyond += whole
                return 0
            """,
            state=self.state,
            times=str(self.layout.times),
            TOUCHED=str(TOUCHED),
            MASK=str((1 << TOUCHED) - 1),
            histogram=self.at(MEANS.index("histogram")),
            BIN=str(BIN),
            LAST=str(BINS - 1),
            **{name: self.own(name) for name in names},
        )

    def run(self) -> str:
        taken, head, tail = self.windows()
        return fill(
            """
            @jit_cached
            def run(events, count, $taken$arrays):
                $bind
                E = pointer(events)
                B[$LAST] = -1
                $head
                    $tail
                return 0
            """,
            arrays=", ".join(self.arrays),
            bind="\n".join(
                f"{short} = pointer({long})" for short, long in zip(self.pointers, self.arrays, strict=True)
            ),
            taken=taken,
            head=head,
            tail=tail,
            LAST=str(LAST),
        )
