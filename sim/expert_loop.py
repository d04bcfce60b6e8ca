"""Writes the loop of experts that do not fit, which docs/explanation/expert-offloading.md specifies.

One module is written for each pair of a system and a replacement; all else is data. The loop goes from one time at
which something happens to the next: what arrives, what ends, the row, what begins. Who is needed, coming or on the list
of wishes is locked; whoever is not may be a victim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tiersim._base.errors import PolicyError
from tiersim.sim import addresses
from tiersim.sim.addresses import PLAIN
from tiersim.sim.cache_loop import fill
from tiersim.sim.expert_policy import expert_verbs
from tiersim.sim.object_loop import Part, Shape
from tiersim.sim.source import load_module

__all__ = [
    "GPU",
    "HEADER",
    "LASTS",
    "LOG",
    "NEVER",
    "OUT",
    "OWN",
    "PLANS",
    "ROWS",
    "WAY",
    "Loop",
    "make_loop",
    "parts_of",
]

NEVER = 1 << 62
# as in tiersim.policies.experts.contract
PLACES: Final = ("ABSENT", "COMING_LOW", "COMING", "HERE_LOW", "HERE")
WANTS: Final = ("SKIP", "LOW", "HIGH", "CPU", "DEFER")
CONTRACT: Final = {name: number for names in (PLACES, WANTS) for number, name in enumerate(names)}

HEADER = (
    "layers",
    "experts",
    "steps",
    "gpus",
    "overlap",
    "by_layer",
    "slots",  # of a scope
    "load",
    "load_low",
    "latency",
    "read",
    "host_experts",
    "seed",
    "log_room",
    "upcoming",  # when something happens after the time up to which it was to happen
    "queued",  # what moves shares links, and somebody else tells when it is there
    "streams",  # keys and values do
    # what changes
    "now",
    "phase",
    "due",  # when the row at hand is planned, or when all is over
    "run_from",  # when its experts may run
    "ran_until",  # when those on GPUs have, or -1
    "row",
    "left",  # experts on GPUs that it waits for
    "wishes_listed",
    "processing",  # experts that the processor runs for this row
    "awaited",  # of them those that are not deferred
    "sent_now",  # tokens of them
    "back",  # when those are back that this row waits for
    "deferred",  # that the row before it deferred
    "deferring",  # that it defers
    "processor",  # when it has nothing more to do
    "whole",  # when the keys and values of the row that begins next are here
    "waits",  # results on their way that this row waits for, where links are shared
    "waits_next",  # and those that the next one does
    "streaming",  # keys and values on their way that the row at hand waits for
    "streaming_next",
    "under_way",
    "asked_out",
    "poke",  # when somebody has told something
    "logged",
    "fault",
    "wrong",  # what a verb gave
    # what is counted
    "hits",
    "late",
    "misses",
    "processed",
    "deferrals",
    "skipped",
    "loads",
    "loads_low",
    "wished",
    "used",
    "unused",
    "dropped",
    "reads",
    "link_time",
    "gpu_time",
    "processor_time",
    "sent",
    "returned",
    "stream_time",
)
CHANGES = HEADER[HEADER.index("now") :]
GPU = (
    "arrives",  # when the next load that is under way is here
    "ends",  # when the expert that runs has run
    "free",  # when the loader is
    "running",
    "head",  # of loads under way
    "tail",
    "told",  # the first that nobody knows yet when it is here
    "miss",  # the next to be loaded
    "misses",
    "wish",  # the next to be looked at
    "empties",  # without overlap: all that is here runs before the loader goes on
    "ready",  # the next to run
    "readied",
    "last",  # when an expert of this row has run
    "ran",  # time of this row
)
LOG = ("begun", "there", "x", "precision", "wish", "gpu")
WAY = ("x", "precision", "there")  # of a load under way
# columns of rows and steps, and times; the names are those of Rows and Costs
ROWS = (
    *("start", "expert", "tokens", "rank", "weight", "predicted_start", "predicted", "size", "begins", "prefill"),
    *("before", "dense", "after", "exchange", "run", "cpu", "ship", "stream"),
)
OUT = ("step_end", "row_plan", "row_end", "row_hits", "row_late", "row_misses", "row_stall", "row_wait")
OWN = (
    *("G", "Q", "M", "R", "C"),  # GPUs, loads under way, misses, those ready to run, what the processor runs
    *("residence", "lock", "wanted", "many", "place", "unspent", "placed", "members", "count", "room", "wishes"),
    *("wants", "older", "newer", "log", "O"),
)
NO_WANT, NO_COUNT, NO_EXPERT, NO_SLOT = range(1, 5)  # what stops the loop
SYSTEM = (
    *("x", "layer", "row", "step", "n", "rank", "weight", "held", "residence", "load", "load_low", "cpu", "run"),
    *("layers", "experts", "objects", "prefill", "row_start", "row_x", "row_n", "row_rank", "row_weight"),
    *("predicted_start", "predicted_e", "wishes", "want", "now", "next_use", "seed"),
)
ONE = ("n", "rank", "weight", "want", "next_use")  # only known of what the row at hand needs
# the row at hand is to begin, to be planned, or runs; it waits for keys and values; or there is none, and the end comes
BEGINS, PLANS, RUNS, AWAITS, LASTS = range(5)
LOADED, SENT, BACK, STREAMED = range(4)  # what moves
WAITING, FULL, OVER, MORE = range(4)  # why the loop has stopped: the log is full, all is over, MANY have begun
MANY = 256  # moves that begin before somebody must be told
ASKED = ("kind", "gpu", "time", "work", "tag")  # work is the time that it takes of a link that it has to itself
TASK = ("took", "tokens", "gpu")  # of an expert on the processor; each row has a header before its tasks:
TASKS = ("row", "count", "awaited")
GIVEN = {
    "now": "number",
    "cpu": "cpu_of",
    "run": "run_of",
    "prefill": "of_prompt",
    "row_start": "start",
    "row_x": "expert",
    "row_n": "tokens",
    "row_rank": "ranks",
    "row_weight": "weights",
    "predicted_e": "predicted",
    "next_use": "next_use[i]",
}
# names of arrays that stand for something else in the loop
CALLED = {
    "run": "run_of",
    "cpu": "cpu_of",
    "ship": "ship_of",
    "rank": "ranks",
    "weight": "weights",
    "prefill": "prompts",
    "next_use": "next_use",
}


@dataclass(frozen=True)
class Loop:
    """The module, whose ``go`` does all, and the names of what it takes of rows and costs."""

    module: ModuleType
    columns: tuple[str, ...]


def parts_of(system: Any) -> tuple[Part, Part | None]:
    """The verbs of a system, and those of its replacement, or None where it says itself who leaves.

    Raises PolicyError when a verb is missing, or asks for something that it cannot know.
    """
    who = type(system).__name__
    replacement = getattr(system, "replacement", None)
    verbs = ("begin", "decide", "wish") if replacement is not None else ("begin", "decide", "wish", "use", "worth")
    own = Part(system, "s", ((), verbs), Shape(), SYSTEM)
    for verb, unknown in (("begin", (*ONE, "x", "held")), ("wish", (*ONE, "x", "held")), ("worth", ONE)):
        for name in unknown:
            if name in own.arguments.get(verb, ()):
                raise PolicyError(
                    f"{who}.{verb} asks for {name!r}, which only `decide` and `use` are told",
                    None,
                    "the names are listed in tiersim.policies.experts.contract",
                )
    if replacement is not None:
        return own, expert_verbs(replacement)
    if missing := [verb for verb in ("use", "worth") if verb not in own.arguments]:
        raise PolicyError(
            f"{who} has no replacement and no verb {missing[0]!r}",
            None,
            "give it the parameter `replacement`, or let it say itself who leaves",
        )
    return own, None


def make_loop(system: Any, own: Part, part: Part | None, reals: Sequence[str] = (), *, compiled: bool = True) -> Loop:
    """The loop of a system by its `parts_of`; `reals` are those of its own arrays that hold floating-point numbers."""
    leaving, given = own, GIVEN
    if part is not None:
        leaving, given = part, {name: GIVEN[name] for name in ("now", "next_use")}
    ahead = str(getattr(system.replacement, "ahead", 1)) if part else "1"
    enter = leaving.call("enter", **given) if "enter" in leaving.arguments else ""
    looks = "next_use" in leaving.asks
    columns = (*ROWS, "next_use") if looks else ROWS
    owned = [f"s_{name}" for name in own.arrays] + [f"p_{name}" for name in (part.arrays if part else ())]
    named = [CALLED.get(name, name) for name in columns]
    arrays = ["H", *named, *OUT, *OWN, *owned]
    kinds = {f"s_{name}" for name in reals}
    bind = [f"{name} = {'reals' if name in kinds else 'words'}(A, {k})" for k, name in enumerate(arrays)]
    told = [line for line in bind if line.split(" = ")[0] in ("H", "G", "Q", "C", "O", "ship_of")]
    bind += [f"{name} = H[{k}]" for k, name in enumerate(HEADER) if name != "upcoming"]
    text = fill(
        TEXT,
        bind="\n".join(bind),
        tell_bind="\n".join(told),
        keep="\n".join(f"H[{HEADER.index(name)}] = {name}" for name in CHANGES),
        begin=fill(BEGIN, call=own.call("begin", **GIVEN)) if "begin" in own.arguments else "",
        decide=own.call("decide", **GIVEN) or "HIGH",
        use=leaving.call("use", **given),
        worth=leaving.call(
            "worth",
            **given | {"x": "v", "layer": "of", "held": "residence[v]", "row": "asked", "step": "asked_step"},
        ),
        wish=fill(WISH, call=own.call("wish", **GIVEN)) if "wish" in own.arguments else "",
        windows=fill(WINDOWS, enter=enter, ahead=ahead) if enter else "",
        enters=fill(ENTERS, enter=enter, ahead=ahead) if enter else "",
    )
    numbers = {f"G_{name.upper()}": k for k, name in enumerate(GPU)}
    numbers |= {"GW": len(GPU), "WW": len(WAY), "LW": len(LOG), "AW": len(ASKED), "TW": len(TASK), "NEVER": NEVER}
    numbers |= {f"H_{name.upper()}": k for k, name in enumerate(HEADER)}
    numbers |= {"NO_WANT": NO_WANT, "NO_COUNT": NO_COUNT, "NO_EXPERT": NO_EXPERT, "NO_SLOT": NO_SLOT}
    numbers |= CONTRACT | dict(zip(("BEGINS", "PLANS", "RUNS", "AWAITS", "LASTS"), range(5), strict=True))
    numbers |= dict(zip(("LOADED", "SENT", "BACK", "STREAMED"), range(4), strict=True))
    numbers |= {"WAITING": WAITING, "FULL": FULL, "OVER": OVER, "MORE": MORE, "MANY": MANY}
    numbers |= {"COMES": 1, "NEEDED": 2, "WISHED": 4}
    constants = "\n".join(f"{name} = {value}" for name, value in numbers.items())
    about = f"Experts that do not fit, under {type(system).__name__}"
    about += f" with {type(system.replacement).__name__}" if part else ""
    head = f"# {_source()}\nfrom tiersim.sim.addresses import reals, words" if compiled else PLAIN
    whole = "\n\n\n".join([head, constants, own.text, part.text if part else "", text]) + "\n"
    return Loop(load_module(whole, compiled=compiled, about=about), columns)


@cache
def _source() -> str:
    """What stands for the file that a loop imports from."""
    return hashlib.sha256(Path(addresses.__file__).read_bytes()).hexdigest()


BEGIN = """
if layer == 0 and begins[step]:
    $call
"""
WISH = """
if overlap:
    for k in range(wishes_listed):
        lock[wishes[k]] &= ~WISHED
    wishes_listed = $call
    if wishes_listed < 0 or wishes_listed > objects:
        fault = NO_COUNT
        wrong = wishes_listed
        wishes_listed = 0
        break
    for k in range(wishes_listed):
        x = wishes[k]
        if x < 0 or x >= objects:
            fault = NO_EXPERT
            wrong = x
            wishes_listed = k
            break
        lock[x] |= WISHED
    if fault:
        break
    for g in range(gpus):
        G[g * GW + G_WISH] = 0
"""
# the windows of the first step, and the needs of the step that comes into the window when this one has been told
WINDOWS = """
if row == 0:
    for other in range(min($ahead, steps) * layers):
        for k in range(start[other], start[other + 1]):
            x = other % layers * experts + expert[k]
            $enter
"""
ENTERS = """
if layer == layers - 1 and step + $ahead < steps:
    for other in range((step + $ahead) * layers, (step + $ahead + 1) * layers):
        for k in range(start[other], start[other + 1]):
            x = other % layers * experts + expert[k]
            $enter
"""
TEXT = """
@jit_cached
def go(limit, upto, addresses):
    A = pointer(addresses)
    $bind
    objects = layers * experts
    scopes = layers if by_layer else 1
    ring = 2 * objects + 2
    answer = WAITING
    upcoming = NEVER
    while True:
        # when something happens next
        if log_room and logged + objects > log_room:
            answer = FULL
            break
        if asked_out > MANY:
            answer = MORE
            break
        t = poke
        if phase != RUNS:
            t = min(t, due)
        elif now < run_from:
            t = min(t, run_from)
        for g in range(gpus):
            at = g * GW
            t = min(t, G[at + G_ARRIVES], G[at + G_ENDS])
            if G[at + G_FREE] > now and (G[at + G_MISS] < G[at + G_MISSES] or G[at + G_WISH] < wishes_listed):
                t = min(t, G[at + G_FREE])
        if t == NEVER and under_way == 0:
            fault = NO_SLOT
            break
        if t > limit:
            upcoming = t
            break
        now = t
        poke = NEVER
        for g in range(gpus):
            at = g * GW
            # what arrives
            while G[at + G_ARRIVES] == t:
                head = G[at + G_HEAD]
                way = (g * ring + head) * WW
                x = Q[way]
                precision = Q[way + 1]
                head = head + 1 if head + 1 < ring else 0
                G[at + G_HEAD] = head
                G[at + G_ARRIVES] = Q[(g * ring + head) * WW + 2] if head != G[at + G_TAIL] else NEVER
                if precision == HIGH or residence[x] == COMING_LOW:  # else a better one has taken its slot
                    residence[x] = HERE if precision == HIGH else HERE_LOW
                    lock[x] &= ~COMES
                    if wanted[x] and precision >= wanted[x]:
                        R[g * experts + G[at + G_READIED]] = x
                        G[at + G_READIED] += 1
            # what ends
            if G[at + G_ENDS] == t:
                x = G[at + G_RUNNING]
                wanted[x] = 0
                lock[x] &= ~NEEDED
                left -= 1
                G[at + G_ENDS] = NEVER
                G[at + G_LAST] = t
        # the row
        while True:
            if phase == RUNS:
                if left > 0 or t < run_from:
                    break
                step = row // layers
                layer = row - step * layers
                tasks = (row & 1) * (3 + TW * experts)
                if ran_until < 0:
                    ran_until = t
                    if queued and processing and not overlap:
                        waits += processing
                        send(H, O, asked_out, SENT, C[tasks + 5], t, ship_of[sent_now] - latency, row & 1)
                        limit = min(limit, t + ship_of[sent_now] - 1)
                        asked_out += 1
                        under_way += 1
                if waits > 0:
                    break
                done = t
                if queued:
                    waits = waits_next
                    waits_next = 0
                elif overlap:
                    done = max(done, back, deferred)
                    if layer == layers - 1:
                        done = max(done, deferring)
                    deferred = deferring
                elif processing:
                    processor = t + ship_of[sent_now]
                    for k in range(processing):
                        task = tasks + 3 + TW * k
                        processor += C[task]
                        done = max(done, processor + ship_of[C[task + 1]])
                ran = 0
                for g in range(gpus - 1, -1, -1):
                    gpu_time += G[g * GW + G_RAN]
                    if G[g * GW + G_LAST] == ran_until:
                        ran = G[g * GW + G_RAN]
                row_stall[row] = ran_until - run_from - ran
                row_wait[row] = done - ran_until
                done += exchange[step] if gpus > 1 else 0
                row_end[row] = done
                row += 1
                if layer == layers - 1:
                    done += after[step]
                    step_end[step] = done
                    step += 1
                    if step == steps:
                        phase = LASTS
                        due = done
                        continue
                    done += before[step]
                if streams:
                    phase = BEGINS
                    due = done
                    streaming = streaming_next
                    streaming_next = 0
                else:
                    phase = PLANS
                    due = done + dense[step]
            elif phase == BEGINS and t == due:
                work = 0
                if row + 1 < steps * layers:
                    work = stream[(row + 1) // layers]
                stream_time += work * gpus
                here = max(t, whole)
                whole = t + work + latency if work and not queued else 0
                if work and queued:
                    for g in range(gpus):
                        send(H, O, asked_out, STREAMED, g, t, work, row + 1)
                        limit = min(limit, t + work + latency - 1)
                        asked_out += 1
                    under_way += gpus
                    streaming_next = gpus
                if streaming:
                    phase = AWAITS
                    due = NEVER
                else:
                    phase = PLANS
                    due = here + dense[row // layers]
            elif phase == AWAITS and streaming == 0:
                phase = PLANS
                due = t + dense[row // layers]
            elif phase == PLANS and t == due and row < upto:
                step = row // layers
                layer = row - step * layers
                base = layer * experts
                of_prompt = prompts[step]
                run_from = t + (exchange[step] if gpus > 1 else 0)
                ran_until = -1
                row_plan[row] = t
                tasks = (row & 1) * (3 + TW * experts)
                phase = RUNS
                for g in range(gpus):
                    at = g * GW
                    G[at + G_MISS] = 0
                    G[at + G_MISSES] = 0
                    G[at + G_READY] = 0
                    G[at + G_READIED] = 0
                    G[at + G_LAST] = run_from
                    G[at + G_RAN] = 0
                $windows
                $begin
                first = start[row]
                after_last = start[row + 1]
                hit_now = 0
                late_now = 0
                missed_now = 0
                processing = 0
                delayed = 0
                sent_now = 0
                for i in range(first, after_last):
                    x = base + expert[i]
                    n = tokens[i]
                    rank = ranks[i]
                    weight = weights[i]
                    held = residence[x]
                    want = $decide
                    wants[i - first] = want
                    if want == HIGH or want == LOW:
                        g = expert[i] * gpus // experts
                        at = g * GW
                        wanted[x] = want
                        many[x] = n
                        place[x] = i
                        left += 1
                        if held == HERE or (held == HERE_LOW and want == LOW):
                            hit_now += 1
                            R[g * experts + G[at + G_READIED]] = x
                            G[at + G_READIED] += 1
                        elif held == COMING or (held == COMING_LOW and want == LOW):
                            late_now += 1
                        else:
                            missed_now += 1
                            M[g * experts + G[at + G_MISSES]] = x
                            G[at + G_MISSES] += 1
                            continue
                        lock[x] |= NEEDED
                        if unspent[x]:
                            unspent[x] = 0
                            used += 1
                    elif want == CPU:
                        task = tasks + 3 + TW * processing
                        C[task] = x
                        C[task + 1] = n
                        processing += 1
                        sent_now += n
                    elif want == DEFER:
                        delayed += 1
                        sent_now += n
                    elif want == SKIP:
                        skipped += 1
                    else:
                        fault = NO_WANT
                        wrong = want
                        break
                if fault:
                    break
                row_hits[row] = hit_now
                row_late[row] = late_now
                row_misses[row] = missed_now
                hits += hit_now
                late += late_now
                misses += missed_now
                awaited = processing
                if delayed:
                    for i in range(first, after_last):
                        if wants[i - first] == DEFER:
                            task = tasks + 3 + TW * processing
                            C[task] = base + expert[i]
                            C[task + 1] = tokens[i]
                            processing += 1
                for i in range(first, after_last):
                    x = base + expert[i]
                    n = tokens[i]
                    rank = ranks[i]
                    weight = weights[i]
                    held = residence[x]
                    want = wants[i - first]
                    number = i
                    $use
                $enters
                number = after_last
                $wish
                back = 0
                deferring = 0
                if processing:
                    processed += processing
                    deferrals += delayed
                    sent_now = min(sent_now, size[step])
                    sent += sent_now
                    C[tasks] = row
                    C[tasks + 1] = processing
                    C[tasks + 2] = awaited if overlap and layer < layers - 1 else processing
                    for k in range(processing):
                        task = tasks + 3 + TW * k
                        x = C[task]
                        n = C[task + 1]
                        took = cpu_of[n]
                        if host_experts and ask(x, older, newer, host_experts, objects):
                            took += read
                            reads += 1
                        returned += n
                        processor_time += took
                        C[task] = took
                        C[task + 2] = x % experts * gpus // experts
                    if overlap and queued:
                        waits += C[tasks + 2]
                        waits_next = processing - C[tasks + 2]
                        send(H, O, asked_out, SENT, C[tasks + 5], t, ship_of[sent_now] - latency, row & 1)
                        limit = min(limit, t + ship_of[sent_now] - 1)
                        asked_out += 1
                        under_way += 1
                    elif overlap:
                        processor = max(processor, t + ship_of[sent_now])
                        for k in range(processing):
                            task = tasks + 3 + TW * k
                            processor += C[task]
                            if k < awaited:
                                back = max(back, processor + ship_of[C[task + 1]])
                            else:
                                deferring = max(deferring, processor + ship_of[C[task + 1]])
            else:
                break
        if fault:
            break
        if phase != RUNS and t == due:
            answer = OVER if phase == LASTS else WAITING
            break
        # what begins
        asked = row if phase == RUNS else row - 1
        asked_step = asked // layers
        for g in range(gpus):
            at = g * GW
            loads_now = G[at + G_FREE] <= t
            if not overlap:
                if G[at + G_ENDS] == NEVER and G[at + G_READY] == G[at + G_READIED]:
                    G[at + G_EMPTIES] = 0
                loads_now = loads_now and not G[at + G_EMPTIES] and t >= run_from
            if loads_now:
                while True:
                    if G[at + G_MISS] < G[at + G_MISSES]:
                        x = M[g * experts + G[at + G_MISS]]
                        want = wanted[x]
                        wish = 0
                        number = place[x]
                    elif G[at + G_WISH] < wishes_listed:
                        x = wishes[G[at + G_WISH]]
                        if residence[x] != ABSENT or x % experts * gpus // experts != g:
                            G[at + G_WISH] += 1
                            continue
                        want = HIGH
                        wish = 1
                        number = start[asked + 1]
                    else:
                        break
                    of = x // experts
                    if residence[x] == ABSENT:
                        scope = g * scopes + (of if by_layer else 0)
                        if count[scope] < room[scope]:
                            slot = count[scope]
                            count[scope] += 1
                        else:
                            slot = -1
                            least = 0
                            spare = -1
                            spare_least = 0
                            for k in range(count[scope]):
                                v = members[scope * slots + k]
                                if lock[v] == 0:
                                    worth = $worth
                                    if (
                                        slot < 0
                                        or worth < least
                                        or (worth == least and v < members[scope * slots + slot])
                                    ):
                                        slot = k
                                        least = worth
                                elif lock[v] == WISHED and slot < 0 and not wish:
                                    worth = $worth
                                    if (
                                        spare < 0
                                        or worth < spare_least
                                        or (worth == spare_least and v < members[scope * slots + spare])
                                    ):
                                        spare = k
                                        spare_least = worth
                            if slot < 0:
                                slot = spare
                            if slot < 0:
                                if not wish:
                                    break
                                dropped += 1
                                G[at + G_WISH] += 1
                                continue
                            v = members[scope * slots + slot]
                            residence[v] = ABSENT
                            unused += unspent[v]
                            unspent[v] = 0
                        members[scope * slots + slot] = x
                    if wish:
                        G[at + G_WISH] += 1
                        wished += 1
                        unspent[x] = 1
                    else:
                        G[at + G_MISS] += 1
                        lock[x] |= NEEDED
                    loads += 1
                    lock[x] |= COMES
                    took = load
                    residence[x] = COMING
                    if want == LOW:
                        took = load_low
                        residence[x] = COMING_LOW
                        loads_low += 1
                    link_time += took
                    work = took
                    if host_experts and ask(x, older, newer, host_experts, objects):
                        took += read
                        reads += 1
                    there = t + took + latency
                    G[at + G_FREE] = t + took
                    if queued:
                        send(H, O, asked_out, LOADED, g, t + took - work, work, 0)
                        limit = min(limit, there - latency - 1)
                        asked_out += 1
                        under_way += 1
                        there = NEVER
                        G[at + G_FREE] = NEVER
                        took = 1
                    tail = G[at + G_TAIL]
                    way = (g * ring + tail) * WW
                    Q[way] = x
                    Q[way + 1] = want
                    Q[way + 2] = there
                    if G[at + G_HEAD] == tail:
                        G[at + G_ARRIVES] = there
                    G[at + G_TAIL] = tail + 1 if tail + 1 < ring else 0
                    if log_room:
                        line = logged * LW
                        log[line] = t
                        log[line + 1] = there
                        log[line + 2] = x
                        log[line + 3] = want
                        log[line + 4] = wish
                        log[line + 5] = g
                        logged += 1
                    if took:
                        break
            if (
                G[at + G_ENDS] == NEVER
                and G[at + G_READY] < G[at + G_READIED]
                and t >= run_from
                and (overlap or G[at + G_HEAD] == G[at + G_TAIL])
            ):
                x = R[g * experts + G[at + G_READY]]
                G[at + G_READY] += 1
                took = run_of[many[x]]
                G[at + G_RUNNING] = x
                G[at + G_EMPTIES] = 1
                G[at + G_ENDS] = t + took
                G[at + G_RAN] += took
    H[H_UPCOMING] = upcoming
    $keep
    return answer


@jit
def send(H, O, asked_out, kind, gpu, time, work, tag):
    line = asked_out * AW
    O[line] = kind
    O[line + 1] = gpu
    O[line + 2] = time
    O[line + 3] = work
    O[line + 4] = tag


@jit_cached
def tell(kind, gpu, tag, t, addresses):
    # the link is free of a load, which is there a latency later; or something else is there; whether that may change
    # something now
    A = pointer(addresses)
    $tell_bind
    changes = True
    if kind == LOADED:
        at = gpu * GW
        G[at + G_FREE] = t
        told = G[at + G_TOLD]
        ring = 2 * H[H_LAYERS] * H[H_EXPERTS] + 2
        Q[(gpu * ring + told) * WW + 2] = t + H[H_LATENCY]
        if told == G[at + G_HEAD]:
            G[at + G_ARRIVES] = t + H[H_LATENCY]
        G[at + G_TOLD] = told + 1 if told + 1 < ring else 0
    elif kind == SENT:
        tasks = tag * (3 + TW * H[H_EXPERTS])
        free = max(H[H_PROCESSOR], t)
        for k in range(C[tasks + 1]):
            task = tasks + 3 + TW * k
            free += C[task]
            row = C[tasks] if k < C[tasks + 2] else C[tasks] + 1
            send(H, O, H[H_ASKED_OUT], BACK, C[task + 2], free, ship_of[C[task + 1]] - H[H_LATENCY], row)
            H[H_ASKED_OUT] += 1
            H[H_UNDER_WAY] += 1
        H[H_PROCESSOR] = free
    elif kind == BACK:
        changes = tag == H[H_ROW] and H[H_WAITS] == 1
        if tag == H[H_ROW]:
            H[H_WAITS] -= 1
        else:
            H[H_WAITS_NEXT] -= 1
    else:
        changes = tag == H[H_ROW] and H[H_STREAMING] == 1
        if tag == H[H_ROW]:
            H[H_STREAMING] -= 1
        else:
            H[H_STREAMING_NEXT] -= 1
    H[H_UNDER_WAY] -= 1
    if changes:
        H[H_POKE] = t
    return changes


@jit
def ask(x, older, newer, host_experts, objects):
    # x is the last to make room now; `objects` stands between it and the one that was asked for longest ago
    absent = older[x] < 0
    if absent:
        v = newer[objects]
        newer[objects] = newer[v]
        older[newer[v]] = objects
        older[v] = -1
    else:
        older[newer[x]] = older[x]
        newer[older[x]] = newer[x]
    last = older[objects]
    newer[last] = x
    older[x] = last
    newer[x] = objects
    older[objects] = x
    return absent
"""
