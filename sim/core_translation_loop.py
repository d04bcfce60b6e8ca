"""Writes the loop of cores whose references are translated first, which keeps time while it replays.

Cores, windows and places of misses are those of `tiersim.sim.core_loop`; what a reference does to TLBs, tables and
caches is what `tiersim.sim.translation_loop` writes, and happens when it is issued. What it must wait for is noted down
meanwhile as steps (`tiersim.sim.queued.chains`): each read of a walk follows the one before, the data follows its
translation, and what nobody waits for goes its own way. docs/explanation/translation.md tells the rules.
"""

from __future__ import annotations

from types import ModuleType

from tiersim.sim.cache_loop import FIRST_COUNTER, STORE, fill, join, when
from tiersim.sim.core_loop import MEMORY, SEND, CoreWriter, digest
from tiersim.sim.mechanisms.nested import NestedWriter
from tiersim.sim.queued import chains
from tiersim.sim.source import load_module
from tiersim.sim.translation_loop import (
    KINDS,
    LATENCY,
    READS_BY,
    SHOOTDOWN,
    Loop,
    TranslationWriter,
)

__all__ = ["make_core_translation_loop"]


class _ChainWriter(CoreWriter, TranslationWriter):
    """Writes what notes down the steps of a reference, and the loop that takes them.

    What follows next in the draft M is told by two of its words: a step, and the time after it.
    """

    def share(self, shared: frozenset[int], block: int) -> None:
        super().share(shared, block)
        self.passed = "M, O"

    def at(self, place: int) -> str:
        return f"{super().at(place)} + O"

    # what is noted down

    def delay(self, k: int) -> str:
        return self.pays(self.word(k, LATENCY))

    def pays(self, latency: str) -> str:
        return join(super().pays(latency), f"{OFFSET} += {latency}")

    def waited(self, time: str) -> str:
        return f"{OFFSET} = {time}"

    def aside(self, done: str) -> str:
        return (
            join(f"node = {FOLLOWS}\noffset = {OFFSET}", done, f"{FOLLOWS} = node\n{OFFSET} = offset") if done else ""
        )

    def prefetched(self, k: int) -> str:
        """As soon as the address is translated."""
        return self.aside(join(f"{FOLLOWS} = {SIDE}\n{OFFSET} = {SIDE_OFFSET}", super().prefetched(k)))

    def begun(self, source: str) -> str:
        return f"taken = record(M, {chains.TAKE}, 0)\n{FOLLOWS} = taken\n{OFFSET} = 0"

    def ended(self, source: str) -> str:
        return f"leave(M, taken, {source} == 2)"

    def at_once(self) -> dict[str, str]:
        start = f"node = {FOLLOWS}\noffset = {OFFSET}"
        back = f"{FOLLOWS} = node\n{OFFSET} = offset"
        small = f"{FOLLOWS} = small_node\n{OFFSET} = small_offset"
        return {
            "set_asked": f"{start}\nmet = {NOTHING}\nmet_offset = 0",
            "set_again": back,
            "set_met": f"meet(M, met, met_offset)\nmet = {FOLLOWS}\nmet_offset = {OFFSET}",
            "asked": start,
            "parted": f"small_node = {FOLLOWS}\nsmall_offset = {OFFSET}\n{back}",
            "one_met": when("D[4 * u + 3] == 0", small),
            "both_met": "meet(M, small_node, small_offset)",
        }

    def beside(self) -> dict[str, str]:
        turn = f"""\
node = {FOLLOWS}
offset = {OFFSET}
{FOLLOWS} = side_node
{OFFSET} = side_offset
side_node = node
side_offset = offset"""
        return {
            "apart": f"side_node = {FOLLOWS}\nside_offset = {OFFSET}",
            "small_turns": when("large", turn),
            "large_turns": when("not large", turn),
        }

    def _memory(self) -> tuple[str, str]:
        by, latency = READS_BY - FIRST_COUNTER, LATENCY - FIRST_COUNTER
        parts = {"source": self.own("source"), "delay": self.own("delay"), "by": str(by), "latency": str(latency)}
        numbers = {name: str(getattr(chains, name)) for name in ("READ", "WRITE", "SOURCE")}
        return MEMORY.rstrip("\n"), fill(TRACED, **numbers, **parts)

    def functions(self) -> list[str]:
        return [fill(RECORD, **NAMES), *super().functions()]

    @property
    def of_tlb(self) -> tuple[str, ...]:
        return (*super().of_tlb, IN_FIRST)

    # one reference

    def unknown(self, *, data: bool) -> str:
        lines = ["u = D[4 * (x >> 6)]"]
        for t in self.first_row(data):
            asked = when(f"not in_first_{t}({self.state}, u)", "return True")
            lines.append(self.at_size(self.loop.tlbs[t].sizes, asked))
        shot = when(f"kind == {SHOOTDOWN}", "return False") if self.holes and data else ""
        return join(shot, *lines)

    def first_row(self, data: bool) -> list[int]:
        return self.first(KINDS[not data])

    def begins(self) -> str:
        shot = join("u = D[4 * (x >> 6)]", f"shoot({self.state}, u)", "return False")
        return join("begin(M)\nlate = False", when(f"kind == {SHOOTDOWN}", shot) if self.holes else "")

    def late(self) -> str:
        return " or late"

    def translated(self, *, data: bool) -> str:
        page = f"{self.own('page')} = x >> 6" if "page" in self.loop.mechanism.words else ""
        lines = ["u = D[4 * (x >> 6)]", page]
        for t in self.first_row(data):
            missed = join(f"missed_{t}({self.state}, u)", "late = True")
            asked = when(f"look_{t}({self.state}, u) < 0", missed)
            lines.append(self.at_size(self.loop.tlbs[t].sizes, asked))
        told = when(f"{FOLLOWS} >= 0", f"record(M, {chains.TRANSLATED}, kind)")
        return join(*lines, told, f"{SIDE} = {FOLLOWS}\n{SIDE_OFFSET} = {OFFSET}")

    # the loop

    def imports(self) -> str:
        names = "adopt, note, pop, serve, take"
        return f"{super().imports()}\n{digest(chains)}\nfrom tiersim.sim.queued.chains import {names}"

    def constants(self) -> dict[str, int]:
        told = {f"C_{name.upper()}": place for place, name in enumerate(chains.FIELDS)}
        return super().constants() | told

    def loop_parts(self) -> dict[str, str]:
        sent = fill(SEND, at="heap_time", line=f"physical(steps[number, 1] >> {chains.SOURCE}, 0, settings)")
        desk = "steps, free, heap, desk, told, journal, misses"
        return super().loop_parts() | {
            "more": "T, steps, free, heap, desk, walkers, told, ",
            "functions": FUNCTIONS.strip("\n"),
            "served": f"arrived(finished[f], table, {desk}, settings)",
            "closed": "",
            "until": "min(at, heap[0, 0]) if desk[1] else at",
            "events": fill(EVENTS, send=sent, WRITE=str(chains.WRITE)),
            "stalled": STALLED,
            "windows": fill("for _ in range(T[k, cores[k, F_PLACE]]):\n    tick($state)", state=self.state),
            "settle": fill(SETTLE, state=self.state, END=str(chains.END), STORE=str(STORE), **NAMES),
            "drain": "",
        }


class _CoreTranslationWriter(_ChainWriter):
    """Natively."""


class _CoreNestedWriter(_ChainWriter, NestedWriter):
    """With guests."""


def word(place: int) -> str:
    """A word of the draft."""
    return f"M[{place}]"


FOLLOWS, OFFSET, SIDE, SIDE_OFFSET = map(word, (chains.FOLLOWS, chains.OFFSET, chains.SIDE, chains.SIDE + 1))
NOTHING = -2  # as a step
NAMES = {
    "count": word(chains.COUNT),
    "follows": FOLLOWS,
    "offset": OFFSET,
    "full": word(chains.FULL),
    "side_offset": SIDE_OFFSET,
    "side": SIDE,
    "FIRST": str(chains.FIRST),
    "DRAFT": str(chains.DRAFT),
    "MOST": str(chains.MOST),
    "JOIN": str(chains.JOIN),
    "LEAVE": str(chains.LEAVE),
    "NOTHING": str(NOTHING),
}
RECORD = """
@inline
def begin(M):
    $count = 0
    $follows = -1
    $offset = 0
    $full = 0
    $side = -1
    $side_offset = 0
    return 0


@inline
def record(M, what, line):
    number = $count
    if number == $MOST:
        $full = 1
        return number - 1
    at = $FIRST + number * $DRAFT
    M[at] = what
    M[at + 1] = line
    M[at + 2] = $follows
    M[at + 3] = $offset
    M[at + 4] = -1
    M[at + 5] = 0
    $count = number + 1
    return number


@inline
def meet(M, other, offset):
    if other == $NOTHING:
        return 0
    if other == $follows:
        $offset = max($offset, offset)
        return 0
    number = record(M, $JOIN, 0)
    M[$FIRST + number * $DRAFT + 4] = other
    M[$FIRST + number * $DRAFT + 5] = offset
    $follows = number
    $offset = 0
    return 0


@inline
def leave(M, taken, aside):
    number = record(M, $LEAVE, aside)
    M[$FIRST + number * $DRAFT + 4] = taken
    return 0
"""
TRACED = """
@inline
def read_memory(S, at, M, O, x):
    S[at] += 1
    S[at + 2] += S[at + 3]
    S[at + $by + $source] += 1
    $delay += S[at + $latency]
    M[1] = record(M, $READ, x << $SOURCE | $source)
    M[2] = 0
    return 0


@inline
def write_memory(S, at, M, O, x):
    S[at + 1] += 1
    record(M, $WRITE, x << $SOURCE)
    return 0
"""
IN_FIRST = """
@inline
def in_first_$t($state, u):
    $lead
    $seat
    $find
    return way >= 0
"""
FUNCTIONS = '''
@jit
def arrived(number, table, steps, free, heap, desk, told, journal, misses, settings):
    """Memory has served a step."""
    end = to_time(table[number, R_DONE], settings[T_FREQUENCY]) + settings[T_MEMORY]
    serve(steps, free, heap, desk, told, journal, misses, number, end, table[number, R_CHANNEL])


@jit
def untranslated(core, cores, misses, settings, window, at):
    """How long a core that waits, for its window and then for a place, waits for what is not translated.

    Of a wait for a place it is the share of the places that such references hold.
    """
    time = cores[core, F_TIME]
    oldest = cores[core, F_INSTRUCTIONS] - settings[T_WINDOW]
    spent = 0
    if window > time:
        for m in range(settings[T_OUTSTANDING]):
            if misses[core, m, 0] == 0 or misses[core, m, 2] == 0 or misses[core, m, 1] > oldest:
                continue
            behind = ((oldest - misses[core, m, 1]) * settings[T_PACE]) >> 20
            if misses[core, m, 2] + behind == window:
                spent += max(min(misses[core, m, 6], window) - time, 0)
                break
    if at > window:
        shares = 0
        for m in range(settings[T_OUTSTANDING]):
            if misses[core, m, 0]:
                shares += max(min(misses[core, m, 6], at) - window, 0)
        spent += shares // settings[T_OUTSTANDING]
    return spent
'''
EVENTS = """
if desk[1] and heap[0, 0] <= at:
    heap_time = heap[0, 0]
    number = pop(heap, desk)
    write = steps[number, 0]
    if channels and write <= $WRITE:
        $send
    else:
        take(steps, free, heap, desk, walkers, told, journal, misses, number, latency)
    continue
if best < 0:
    break
"""
STALLED = """
if at > cores[k, F_TIME]:
    told[k, C_TRANSLATION_STALL] += untranslated(k, cores, misses, settings, window, at)
"""
SETTLE = """
missed = step($state, event >> 2, kind)
cores[k, F_REFERENCES] += kind < 2
if settings[T_FOLLOW] == 0:
    cores[k, F_MISSES] += missed
    slot = -1
    waits = $follows >= 0
    if waits or $offset:
        for m in range(outstanding):
            if misses[k, m, 0] == 0:
                slot = m
                break
    translated = NEVER
    if $side < 0:
        translated = at + $side_offset
        told[k, C_TRANSLATION_DELAY] += $side_offset
    end = NEVER
    if waits:
        record(M, $END, kind)
    else:
        end = at + $offset
        told[k, C_FETCH_DELAY if kind == 2 else C_DELAY] += $offset
        if $offset:
            note(journal, desk, $END, k, at, end, kind, -1)
    if slot >= 0:
        cores[k, F_HELD] += 1
        misses[k, slot, 0] = end
        misses[k, slot, 1] = cores[k, F_INSTRUCTIONS]
        misses[k, slot, 2] = end
        if kind == $STORE:
            misses[k, slot, 2] = translated * (translated > at)
        misses[k, slot, 4] = kind
        misses[k, slot, 5] = at
        misses[k, slot, 6] = translated
    if $count and not adopt(steps, free, heap, desk, told, journal, misses, M, k, slot, at):
        return -1
"""


def make_core_translation_loop(
    loop: Loop, shared: frozenset[int], block: int, *, compiled: bool = True, shootdowns: bool = False
) -> ModuleType:
    """The module whose ``run`` keeps time of translated references.

    `shared` are the headers (`Loop.structures`) of what all cores have together; each has a block of so many words.
    """
    writer = (_CoreTranslationWriter if loop.nested is None else _CoreNestedWriter)(loop)
    writer.holes = shootdowns
    writer.share(shared, block)
    tlbs = ", ".join(tlb.name for tlb in loop.tlbs)
    caches = ", ".join(
        f"{level.name} ({level.ways} ways{', shared' * (k in shared)})" for k, level in enumerate(loop.levels)
    )
    about = f"Cores that translate through {tlbs} ({type(loop.mechanism).__name__}), in front of {caches}"
    return load_module(writer.text(), compiled=compiled, about=about)
