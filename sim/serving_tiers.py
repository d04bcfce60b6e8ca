"""Writes what a server does with links, tiers and swapping, which docs/explanation/serving-tiers.md specifies.

The text of `tiersim.sim.serving_loop` has places for it, which stay empty where a server has nothing behind its memory.
A tier is a header with the words of an instance that say the same of it, a dictionary of names and rows of blocks, as
the prefix cache; what instances share is there once, and all look at the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from tiersim.sim.cache_loop import fill
from tiersim.sim.object_loop import Part

__all__ = ["BEYOND", "EXTRA", "LINK", "PARTS", "PLAIN", "TIER", "Beyond"]

# of all instances: more words of requests, when each block of a hit is here, the tree of whose event is next
BEYOND = ("E", "F", "W")
EXTRA = (
    "ready",  # when all of the first hit was here
    "fetched",  # tokens of it that came from tiers
    "swaps",
    "swapped",  # pages that it has in the swap
    "come",  # when they are there
)
LINK = (
    "load",  # a page towards the memory
    "store",
    "latency",
    "load_free",
    "store_free",
    "loaded",
    "stored",
    "load_busy",
    "store_busy",
)
TIER = ("room", "names", "mask", "fetched", "put", "gone")  # behind the words of an instance

# where the loop differs, and what stands there without anything behind the memory; nothing at the other places
PLAIN = {"hit": "hit_of(r, $state)", "held": "hit", "loads": "False", "once": "what"}
PARTS = (
    *("beyond", "left", "entered", "completed", "further", "seen", "kept", "swap", "but_kept", "loaded_no_more"),
    *("and_loading", "but_loading", "ask", "fetch", "load", "come_back", "skip", "begin", "later", "cut", "look_away"),
    *("changed", "alone", "audit_begins", "audit_slot", "audit_waiting", "audit_beyond"),
)


@dataclass(frozen=True)
class Beyond:
    """What lies behind the memory: the policy and the link of each tier, nearest first; the link of the swap, or -1."""

    policies: tuple[Any, ...]
    links: tuple[int, ...]
    count: int  # of links
    swap: int

    def arrays(self, tiers: Sequence[Part]) -> list[str]:
        """The names of the arrays of an instance: when blocks are here, links, tiers."""
        names = ["N", *(f"X{k}" for k in range(self.count))]
        for k, tier in enumerate(tiers):
            names += [f"T{k}", f"G{k}", f"B{k}", *(f"{tier.prefix}_{name}" for name in tier.arrays)]
        return names

    def parts(self, tiers: Sequence[Part], state: str) -> dict[str, str]:
        """What is put into the loop."""
        text = [_tier(tier, k, self.links[k], len(tiers), state) for k, tier in enumerate(tiers)]
        every = range(len(tiers))
        asks = [f"ready = max(ready, fetch_{k}(r, held, hit, now, {state}))" for k in every]
        text.append(
            fill(
                TEXT,
                state=state,
                there=" or ".join(f"cached_name(block, B{k}, G{k}, T{k}[T_MASK]) >= 0" for k in every) or "False",
                fetches="\n".join(asks) or "pass",
                swapped=fill(SWAPPED, swap=str(self.swap), state=state) if self.swap >= 0 else "",
            )
        )
        if self.swap >= 0:
            text.append(fill(SWAP, swap=str(self.swap), state=state))
        said = LOADING | (TIERED if tiers else {}) | (SWAPPING if self.swap >= 0 else {})
        # what is put into a line keeps its space
        lines = {name: dedent(part).strip("\n") if "\n" in part else part for name, part in said.items()}
        parts = {name: part.replace("$state", state) for name, part in lines.items()}
        audits = [fill(AUDIT, k=str(k), lookup=tier.call("lookup", **_known(k))) for k, tier in enumerate(tiers)]
        return parts | {"beyond": "\n\n\n".join(text), "audit_beyond": "\n".join([parts["audit_beyond"], *audits])}


def _known(k: int) -> dict[str, str]:
    """What the policy of a tier is told."""
    return {
        "now": f"T{k}[I_TOLD]",
        "time": "I[I_NOW] // 1000",
        "used": f"T{k}[I_CACHED]",
        "objects": f"T{k}[T_NAMES]",
        "capacity": f"T{k}[T_ROOM]",
        "size": "1",
        "sizes": "1",
        "cost": "1.0",
    }


def _tier(part: Part, k: int, link: int, count: int, state: str) -> str:
    """The functions of one tier."""
    known = _known(k)
    calls = {verb: part.call(verb, **known) for verb in ("lookup", "touch", "miss", "victim", "insert")}
    onward = f"put_{k + 1}({{}}, {state})" if k + 1 < count else ""
    refuses = ""
    if part.may_refuse:
        refuses = fill(REFUSES, k=str(k), onward=onward.format("block"))
    gone = {"lookup_gone": part.call("lookup", **known | {"x": "v"})}
    gone["evict_gone"] = part.call("evict", **known | {"x": "v"}) or part.call("remove", **known | {"x": "v"})
    demote = onward.format(f"B{k}[v * CW + C_BLOCK]")
    return fill(TIERS, k=str(k), x=str(link), state=state, refuses=refuses, demote=demote, **calls, **gone)


TIERS = """
@jit_apart
def put_$k(block, $state):
    \"\"\"A block is put into a tier.\"\"\"
    x = cached_name(block, B$k, G$k, T$k[T_MASK])
    if x >= 0:
        $touch
        T$k[I_TOLD] += 1
        return
    see_tier(I[I_NOW], T$k)
    x = named(block, T$k[T_NAMES], T$k, B$k, G$k, T$k[T_MASK])
    $miss
    while T$k[I_CACHED] >= T$k[T_ROOM]:
        v = $victim
        $refuses
        if v < 0 or v >= T$k[I_NAMED] or not $lookup_gone:
            Z[Z_WRONG] = v << 1 | 1
            Z[Z_WHOSE] = $k + 1
            return
        $evict_gone
        B$k[v * CW + C_HERE] = 0
        push_left(v, T$k, B$k)
        T$k[I_CACHED] -= 1
        T$k[T_GONE] += 1
        $demote
    B$k[x * CW + C_HERE] = 1
    T$k[I_CACHED] += 1
    $insert
    T$k[I_TOLD] += 1
    T$k[T_PUT] += 1
    B$k[x * CW + C_COME] = store(X$x, Z[Z_SHARE], I[I_NOW])


@jit_apart
def fetch_$k(r, held, hit, now, $state):
    \"\"\"Ask for those blocks of a hit that no nearer tier has; when they are here.\"\"\"
    first = R[r + R_BLOCKS]
    come = now
    count = 0
    at = hit
    while at > held:
        at -= 1
        if F[at] < 0:
            x = cached_name(K[first + at], B$k, G$k, T$k[T_MASK])
            if x >= 0:
                $touch
                T$k[I_TOLD] += 1
                F[at] = NEVER
                come = max(come, B$k[x * CW + C_COME])
                count += 1
    if count == 0:
        return now
    T$k[T_FETCHED] += count
    here = load(X$x, count * Z[Z_SHARE], come)
    for at in range(held, hit):
        if F[at] == NEVER:
            F[at] = here
    return here
"""

REFUSES = """
if v == x:
    push_left(x, T$k, B$k)
    T$k[I_TOLD] += 1
    $onward
    return
"""

TEXT = '''
@jit
def load(X, pages, now):
    """Pages come over a link to the memory; when they are there."""
    begun = max(now, X[X_LOAD_FREE])
    took = pages * X[X_LOAD]
    X[X_LOAD_FREE] = begun + took
    X[X_LOADED] += pages
    X[X_LOAD_BUSY] += took
    return begun + took + X[X_LATENCY]


@jit
def store(X, pages, now):
    """Pages go over a link from the memory; when they are there."""
    begun = max(now, X[X_STORE_FREE])
    took = pages * X[X_STORE]
    X[X_STORE_FREE] = begun + took
    X[X_STORED] += pages
    X[X_STORE_BUSY] += took
    return begun + took + X[X_LATENCY]


@jit
def see_tier(now, T):
    """Sum the blocks that a tier had since it was last looked at."""
    time = now - T[I_SEEN]
    T[I_SEEN] = now
    low = T[I_REST_BLOCKS] + T[I_CACHED] * (time & (1 << SPLIT) - 1)
    T[I_SUM_BLOCKS] += T[I_CACHED] * (time >> SPLIT) + (low >> SPLIT)
    T[I_REST_BLOCKS] = low & (1 << SPLIT) - 1


@jit
def event_of(i, all_I):
    """When something happens at an instance next."""
    at = i * IW
    return all_I[at + I_RUN_END] if all_I[at + I_END] < NEVER else all_I[at + I_READY]


@jit
def changed(i, W, all_I, count):
    """What an instance does next is another: who is first in each part of a tree that has it, of W[0] leaves."""
    k = (W[0] + i) >> 1
    while k > 0:
        left = W[2 * k]
        right = W[2 * k + 1]
        W[k] = left
        if right < count:
            sooner = event_of(right, all_I)
            later = event_of(left, all_I)
            if sooner < later or (
                sooner == later and all_I[right * IW + I_END] < NEVER and all_I[left * IW + I_END] == NEVER
            ):
                W[k] = right
        k >>= 1


@jit_apart
def in_a_tier(block, $state):
    return $there


@jit_apart
def held_of(r, hit, $state):
    """How many blocks of a hit are in the memory."""
    first = R[r + R_BLOCKS]
    while hit > 0 and cached_name(K[first + hit - 1], C, H, Z[Z_TABLE] - 1) < 0:
        hit -= 1
    return hit


@jit_apart
def loads_of(r, held, hit, now, $state):
    """Whether a request that is admitted has to load, or to wait for what another one loads."""
    if hit > held or E[r // RW * EW + E_SWAPPED]:
        return True
    first = R[r + R_BLOCKS]
    for k in range(held):
        if N[name_of(K[first + k], H, Z[Z_TABLE] - 1)] > now:
            return True
    return False


@jit_apart
def ask(number, held, hit, now, $state):
    """Ask for what an admission loads; when all of its hit is here."""
    r = number * RW
    e = number * EW
    first = R[r + R_BLOCKS]
    ready = now
    for k in range(held):
        ready = max(ready, N[name_of(K[first + k], H, Z[Z_TABLE] - 1)])
    for k in range(held, hit):
        F[k] = -1
    if hit > held:
        $fetches
    $swapped
    if R[r + R_ADMITTED] < 0:
        E[e + E_READY] = ready
        E[e + E_FETCHED] = (hit - held) * Z[Z_BLOCK]
    return ready


@jit_apart
def enter_fetched(r, held, hit, $state):
    """The blocks that are fetched enter the prefix cache, the last one first; their pages are taken already."""
    first = R[r + R_BLOCKS]
    behind = Z[Z_NONE]
    k = hit
    while k > held:
        k -= 1
        parent = cached_name(K[first + k - 1], C, H, Z[Z_TABLE] - 1) if k else Z[Z_NONE]
        x = enter(K[first + k], parent, behind, $state)
        N[x] = F[k]
        pin(x, $state)
        behind = x if parent < 0 else Z[Z_NONE]


@jit_apart
def first_ready($state):
    """When the first of those that load is ready."""
    soonest = NEVER
    if I[I_LOADING]:
        for k in range(I[I_DECODES], I[I_SLOTS]):
            if A[k * SW + S_READY] >= 0:
                soonest = min(soonest, A[k * SW + S_READY])
    return soonest


@jit_apart
def begin_loaded(now, left, $state):
    """Those that are ready take part, while there is budget; what is left of it."""
    most = left
    for k in range(I[I_DECODES], I[I_SLOTS]):
        s = k * SW
        if A[s + S_READY] < 0 or A[s + S_READY] > now:
            continue
        r = A[s + S_REQUEST] * RW
        part = R[r + R_PROMPT] + R[r + R_MADE] - A[s + S_DONE]
        if left <= 0 or (part > left and left < most and not Z[Z_CHUNKED]):
            break
        if Z[Z_CHUNKED]:
            part = min(part, left)
        A[s + S_READY] = -1
        A[s + S_PART] = part
        I[I_LOADING] -= 1
        left -= part
    return left


@jit_apart
def cut(run, took, slope, time, $state):
    """How many iterations after the first of a run begin within a time."""
    low = 0
    high = run
    while low < high:
        middle = (low + high + 1) >> 1
        if sum_of_steps(took, slope, middle) < time:
            low = middle
        else:
            high = middle - 1
    return low


@jit_apart
def exchange(k, other, $state):
    """Two admitted requests change places."""
    for word in range(SW):
        held = A[k * SW + word]
        A[k * SW + word] = A[other * SW + word]
        A[other * SW + word] = held


@jit_apart
def decode_at(k, $state):
    """An admitted request that is no decode yet goes where those in decode stand, in the order of admission."""
    while k > I[I_DECODES] or (k > 0 and A[(k - 1) * SW + S_ORDER] > A[k * SW + S_ORDER]):
        exchange(k, k - 1, $state)
        k -= 1
    I[I_DECODES] += 1


@jit_apart
def end_in_order(i, now, $state, D):
    """What an iteration has done, in the order of admission; how many begin to decode."""
    decodes = I[I_DECODES]
    slots = I[I_SLOTS]
    if I[I_TAKING]:
        if I[I_JOINING]:
            joined(i, $state)
        I[I_EPOCH] += 1
        I[I_CONTEXT] += decodes
        I[I_LAST_DECODE] = now
    finish = I[I_TAKING] > 0 and I[I_SOONEST] <= I[I_EPOCH]
    if not finish and I[I_CHUNKS] == 0:
        return 0
    I[I_SOONEST] = NEVER
    begun = 0
    d = 0
    k = decodes
    while d < decodes or k < slots:
        if k == slots or (d < decodes and A[d * SW + S_ORDER] < A[k * SW + S_ORDER]):
            s = d * SW
            d += 1
            if finish and A[s + S_FINISH] == I[I_EPOCH]:
                no_decode(s, $state)
                over(s, now, $state, D)
                A[s + S_REQUEST] = -1
            else:
                I[I_SOONEST] = min(I[I_SOONEST], A[s + S_FINISH])
            continue
        s = k * SW
        k += 1
        if A[s + S_READY] >= 0:
            continue
        r = A[s + S_REQUEST] * RW
        A[s + S_DONE] += A[s + S_PART]
        A[s + S_PART] = 0
        if A[s + S_DONE] == R[r + R_PROMPT] + R[r + R_MADE]:
            if end_prefill(i, s, now, $state, D):
                A[s + S_PART] = -1
                begun += 1
            else:
                A[s + S_REQUEST] = -1
    # who stays moves up, and who begins to decode goes to the others
    kept = 0
    for k in range(slots):
        if k == decodes:
            I[I_DECODES] = kept
        if A[k * SW + S_REQUEST] >= 0:
            if kept < k:
                move(k, kept, $state)
            kept += 1
            if k >= decodes and A[(kept - 1) * SW + S_PART] < 0:
                decode_at(kept - 1, $state)
    if decodes == slots:
        I[I_DECODES] = kept
    I[I_SLOTS] = kept
    return begun
'''

SWAPPED = """
if E[e + E_SWAPPED]:
    ready = load(X$swap, E[e + E_SWAPPED], max(now, E[e + E_COME]))
"""

SWAP = '''
@jit_apart
def swap_out(number, now, $state):
    """What a preempted request has stored goes to the swap, if there is room."""
    e = number * EW
    pages = pages_of(R[number * RW + R_PROMPT] + R[number * RW + R_MADE] - 1, $state)
    if I[I_SWAPPED] + pages <= Z[Z_SWAP]:
        I[I_SWAPPED] += pages
        E[e + E_SWAPS] += 1
        E[e + E_SWAPPED] = pages
        E[e + E_COME] = store(X$swap, pages, now)


@jit_apart
def come_back(now, $state):
    """Those whose pages have come back from the swap are in decode."""
    for k in range(I[I_DECODES], I[I_SLOTS]):
        s = k * SW
        number = A[s + S_REQUEST]
        if 0 <= A[s + S_READY] <= now and E[number * EW + E_SWAPPED]:
            I[I_SWAPPED] -= E[number * EW + E_SWAPPED]
            E[number * EW + E_SWAPPED] = 0
            A[s + S_READY] = -1
            I[I_LOADING] -= 1
            A[s + S_JOINS] = 1
            I[I_JOINING] += 1
            begin_decode(s, R[number * RW + R_SINCE], $state)
            decode_at(k, $state)
'''

# what is there as soon as requests may load
LOADING = {
    "seen": ", I[I_LOADING], I[I_SWAPPED]",
    "hit": "hit_of(r, $state)",
    "held": "held_of(r, hit, $state)",
    "loads": "loads_of(r, held, hit, now, $state)",
    "once": "max(what, Z[Z_ORDERED])",
    "alone": " and not Z[Z_ORDERED]",
    "soonest": """
        i = W[1]
        coming = event_of(i, all_I)
        if coming < until or (coming == until and third & 1 and all_I[i * IW + I_END] < NEVER):
            until = coming
        else:
            i = count
    """,
    "changed": "changed(i, W, all_I, count)",
    "entered": "N[x] = 0",
    "and_loading": " + I[I_LOADING]",
    "but_loading": " - I[I_LOADING]",
    "ask": "ready = ask(number, held, hit, now, $state)",
    "load": """
        A[s + S_READY] = -1
        if loads:
            part = 0
            A[s + S_READY] = ready
            I[I_LOADING] += 1
    """,
    "loaded_no_more": """
        if A[s + S_READY] >= 0:
            I[I_LOADING] -= 1
    """,
    "skip": """
        if A[s + S_READY] >= 0:
            continue
    """,
    "begin": """
        if I[I_LOADING]:
            budget = begin_loaded(now, budget, $state)
    """,
    "later": """
        I[I_READY] = first_ready($state)
    """,
    "cut": """
        if I[I_LOADING]:
            I[I_RUN] = cut(I[I_RUN], took, I[I_SLOPE], first_ready($state) - now, $state)
    """,
    "ends": """
        begun = end_in_order(i, now, $state, D)
        kept = I[I_SLOTS]
    """,
    "audit_begins": """
        loading = 0
        swapped = 0
    """,
    "audit_slot": """
        e = A[s + S_REQUEST] * EW
        swapped += E[e + E_SWAPPED]
        if k >= I[I_DECODES]:
            loading += A[s + S_READY] >= 0
            if E[e + E_SWAPPED]:
                tokens -= 1
    """,
    "audit_waiting": """
        if E[number * EW + E_SWAPPED]:
            swapped += E[number * EW + E_SWAPPED]
            tokens -= R[number * RW + R_PROMPT] + R[number * RW + R_MADE]
    """,
    "audit_beyond": """
        if loading != I[I_LOADING]:
            fault = 12
        if swapped != I[I_SWAPPED] or swapped > Z[Z_SWAP]:
            fault = 13
        for k in range(I[I_DECODES] + 1, I[I_SLOTS]):
            if A[k * SW + S_ORDER] < A[(k - 1) * SW + S_ORDER]:
                fault = 11
    """,
}

TIERED = {
    "fetch": """
        if hit > held:
            enter_fetched(r, held, hit, $state)
    """,
    "further": """
        while k < most and in_a_tier(K[first + k], $state):
            k += 1
    """,
    "left": """
        if not Z[Z_THROUGH]:
            put_0(C[x * CW + C_BLOCK], $state)
    """,
    "completed": """
        if Z[Z_THROUGH]:
            k = count
            while k > 0:
                k -= 1
                put_0(K[first + k], $state)
    """,
}

SWAPPING = {
    "hit": "Z[Z_NONE] + 1 if E[number * EW + E_SWAPPED] else hit_of(r, $state)",
    "but_kept": " - (E[number * EW + E_SWAPPED] > 0)",
    "kept": """
        if E[number * EW + E_SWAPPED]:
            return
    """,
    "swap": "swap_out(number, now, $state)",
    "come_back": """
        if I[I_LOADING]:
            come_back(now, $state)
    """,
    "look_away": """
        if E[A[k * SW + S_REQUEST] * EW + E_SWAPPED]:
            continue
    """,
}

AUDIT = """
here = 0
for x in range(T$k[I_NAMED]):
    here += B$k[x * CW + C_HERE]
    if ($lookup != 0) != (B$k[x * CW + C_HERE] != 0):
        fault = 15
if here != T$k[I_CACHED] or here > T$k[T_ROOM]:
    fault = 14
"""
