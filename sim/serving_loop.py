"""Writes the loop of servers of language models, which docs/explanation/serving.md specifies.

One module is written for each pair of an object policy, which says what leaves the prefix caches, and a time model, and
for the tiers behind the memory (`tiersim.sim.serving_tiers`); all else is data. The state of an instance is flat: a
header, its admitted requests in the order of admission, of which those in decode stand first, and its prefix cache. No
step looks at every request in decode: they share a count of decode iterations, the *epoch*, and each has the epoch at
which it is finished, and the one of every ``page`` at which it needs a page.

At most one request is in prefill when an iteration is planned: one that is not complete after an iteration has used up
the budget, so that nobody was admitted after it but requests that came over, which are in decode at once, or that load.

Blocks have names of an instance's own, given by first appearance there, so that the state of a policy does not grow
with all blocks of a trace. A name is kept when its block leaves, and given to another when there are no more names, the
one that left longest ago first.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tiersim._base.errors import PolicyError
from tiersim.sim.cache_loop import fill
from tiersim.sim.object_loop import REPLACEMENT, Part, Shape
from tiersim.sim.serving_tiers import BEYOND, EXTRA, LINK, PARTS, PLAIN, TIER, Beyond
from tiersim.sim.source import Borrowed, borrow, load_module

__all__ = [
    "CACHE",
    "FAULTS",
    "INSTANCE",
    "LOG",
    "NEVER",
    "REQUEST",
    "SETTINGS",
    "SLOT",
    "SPLIT",
    "VIEW",
    "Loop",
    "make_loop",
]


NEVER = 1 << 62
SPLIT = 20  # bits of a sum over time that its second word holds

SETTINGS = (
    "pages",
    "page",
    "most",  # requests that run at once
    "budget",
    "chunked",
    "reserve",
    "block",  # tokens
    "share",  # pages that a cached block takes of the memory, 0 where the prefix cache lies apart
    "room",  # blocks that the prefix cache may hold
    "names",
    "table",  # words of the dictionary of names
    "fast",
    "count",  # of instances
    "max_waiting",
    "swap",  # pages
    "through",  # what is computed is copied to the tiers, not what leaves the memory
    "ordered",  # whether instances share tiers or links
    "half",  # of what is told: where first tokens begin
    "masked",  # whether each block has a mask of the instances that hold it
    # what changes
    "now",
    "logged",
    "log_room",
    "ended",  # requests that the last call has seen to end
    "firsts",  # and those that have made their first token since they were routed
    "none",  # -1; numba compiles a function anew for each constant that it is called with
    "wrong",  # a victim that was none
    "whose",  # of the prefix caches, or of which tier
    "fault",  # what an audit found
)
REQUEST = (
    "prompt",
    "answer",
    "blocks",  # where the blocks of its prompt begin
    "whole",  # how many of them are whole
    "made",  # tokens of the answer, up to date while it waits
    "next",  # of those that wait
    "instance",
    "routed",
    "admitted",
    "first",
    "end",
    "hit",  # tokens, at the first admission
    "routed_hit",
    "preemptions",
    "since",  # its last token before the last preemption
    "refused",
    "came",  # over from an instance that computed its prompt
    "holds",  # 1: its memory stays when it is finished, 2: it does so now
    "awaited",  # it has made no token since it was routed
)
INSTANCE = (
    "now",  # the last event
    "ready",  # when it plans next
    "start",  # of the iteration under way
    "end",
    "took",
    "run",  # iterations of the same decodes that follow it, each of which takes `slope` longer
    "slope",
    "run_end",
    "blocked",  # whoever waits cannot be admitted during the run
    "taking",  # decodes that take part
    "slots",  # admitted requests
    "decodes",  # those of them in decode
    "joining",  # those of them that came over and have made no token since
    "admissions",
    "epoch",
    "soonest",  # epoch at which a request may be finished
    "context",
    "free",  # pages
    "head",  # of those that wait
    "tail",
    "came_head",  # of those that wait and have come over
    "came_tail",
    "held_head",  # of those that are finished and hold their memory
    "held_tail",
    "waiting",
    "waiting_tokens",
    "waiting_hits",
    "cached",  # blocks
    "used",  # cached blocks that are pinned
    "told",  # touches and insertions that the policy was told of
    "named",
    "left_head",  # names whose blocks have left
    "left_tail",
    "last_decode",
    "row_start",
    "row_took",
    "row_count",
    "chunks",
    "new",
    "seen",  # up to when these are summed
    "sum_waiting",  # over time, in 2**20 picoseconds, and the rest
    "rest_waiting",
    "sum_running",
    "rest_running",
    "sum_pages",
    "rest_pages",
    "sum_blocks",
    "rest_blocks",
    "sum_loading",
    "rest_loading",
    "sum_swapped",
    "rest_swapped",
    "loading",
    "swapped",  # pages
    "bit",  # of this instance in masks of blocks; 0 if there are none
)
SLOT = ("request", "finish", "done", "part", "hit", "pins", "key", "begun", "order", "joins")
CACHE = ("block", "here", "parent", "child", "older", "newer", "users", "withheld")
LOG = ("instance", "start", "count", "took", "slope", "decodes", "chunks", "new", "begun")
VIEW = ("waiting", "running", "prompts", "pending", "pages", "blocks")
FAULTS = (
    "",
    "pages do not add up",
    "more pages or blocks are taken than there are",
    "cached blocks do not add up",
    "users of blocks do not add up",
    "the policy and the cache do not hold the same blocks",
    "a block is cached without the one before it",
    "requests that wait do not add up",
    "tokens that wait do not add up",
    "decodes do not add up",
    "more requests run than may",
    "decodes do not stand in the order of admission",
    "requests that load do not add up",
    "pages in the swap do not add up",
    "blocks in a tier do not add up, or are more than it may hold",
    "the policy of a tier and the tier do not hold the same blocks",
    "the masks of blocks and the cache do not hold the same blocks",
)
KNOWN = {  # to the policy of an instance
    "now": "I[I_TOLD]",
    "time": "I[I_NOW] // 1000",
    "used": "I[I_CACHED]",
    "objects": "Z[Z_NAMES]",
    "capacity": "Z[Z_ROOM]",
    "size": "1",
    "sizes": "1",
    "cost": "1.0",
}
TIME = ("chunks", "new", "area", "squares", "span", "decodes", "context")
# what all instances share: settings, requests, their blocks, a mask of each block, the log
WHOLE = ("Z", "R", "K", "M", "L")
OWN = ("I", "A", "P", "H", "C")  # header, admitted requests, decodes by when they need pages, names, cached blocks


@dataclass(frozen=True)
class Loop:
    """The module, whose ``run`` does all, and the names of the arrays of policy and time model that it takes."""

    module: ModuleType
    policy: tuple[str, ...]
    clock: tuple[str, ...]
    tiers: tuple[tuple[str, ...], ...] = ()
    slot: int = len(SLOT)  # words


def make_loop(
    policy: Any, clock: Any, beyond: Beyond | None = None, *, audited: bool = False, compiled: bool = True
) -> Loop:
    """The loop for a policy and a time model; `audited` looks at all books after every event.

    `beyond` says what there is behind the memory.

    Raises PolicyError when a verb is missing, or asks for something that a prefix cache does not know.
    """
    who = type(policy).__name__
    part = part_of(policy, "p")
    tiers = [part_of(held, f"q{k}") for k, held in enumerate(beyond.policies)] if beyond else []
    model = borrow(type(clock), ("step", "line"), "t")
    times = tuple(dict.fromkeys(name for said in model.arguments.values() for name in said if name not in TIME))
    owned = [*OWN, *(f"p_{name}" for name in part.arrays), *(beyond.arrays(tiers) if beyond else ())]
    shared = [*WHOLE, *(BEYOND if beyond else ()), *(f"t_{name}" for name in times)]
    state = ", ".join([*shared, *owned])
    parts = (
        dict.fromkeys(PARTS, "")
        | {"ends": ENDS, "soonest": SOONEST}
        | {name: fill(said, state=state) for name, said in PLAIN.items()}
    )
    if beyond:
        parts |= beyond.parts(tiers, state)
    text = fill(
        TEXT,
        state=state,
        arrays=", ".join(f"array_{name}" for name in (*shared, *owned)),
        shared="\n".join(f"{name} = pointer(array_{name})" for name in shared),
        owned="\n".join(f"all_{name} = pointer(array_{name})" for name in owned),
        own="\n".join(f"{name} = shift(all_{name}, i * Z[Z_LENGTHS + {k}])" for k, name in enumerate(owned)),
        miss=part.call("miss", **KNOWN),
        evict=part.call("evict", **KNOWN) or part.call("remove", **KNOWN),
        victim=part.call("victim", **KNOWN | {"x": "asked"}),
        **{verb: part.call(verb, **KNOWN) for verb in ("lookup", "touch", "insert", "remove")},
        refuses="if x == asked:\n    return False" if part.may_refuse else "",
        step=_time(model, "step"),
        line=_time(model, "line"),
        audit=f"audit(i, {state})" if audited else "",
        audits=fill(AUDIT, state=state, lookup=part.call("lookup", **KNOWN), **parts) if audited else "",
        **parts,
    )
    words = {"I": INSTANCE, "R": REQUEST, "S": SLOT, "C": CACHE, "L": LOG, "Z": SETTINGS}
    if beyond:
        words |= {"S": (*SLOT, "ready"), "E": EXTRA, "X": LINK, "T": (*INSTANCE, *TIER)}
    numbers = {f"{key}_{name.upper()}": place for key, held in words.items() for place, name in enumerate(held)}
    numbers |= {f"{key}W": len(held) for key, held in words.items()}
    numbers |= {"NEVER": NEVER, "VW": len(VIEW), "Z_LENGTHS": len(SETTINGS), "LOW": (1 << 32) - 1, "SPLIT": SPLIT}
    numbers["C_COME"] = CACHE.index("users")  # blocks of tiers have none
    constants = "\n".join(f"{name} = {value}" for name, value in numbers.items())
    about = f"Serves requests to a language model, its prefix caches under {who}, timed by {type(clock).__name__}"
    whole = "\n\n\n".join([constants, part.text, *(tier.text for tier in tiers), model.text, text]) + "\n"
    module = load_module(whole, compiled=compiled, about=about)
    return Loop(module, part.arrays, times, tuple(tier.arrays for tier in tiers), len(words["S"]))


def part_of(policy: Any, prefix: str) -> Part:
    """The verbs of a policy for a prefix cache or a tier."""
    part = Part(policy, prefix, REPLACEMENT, Shape())
    if unknown := [name for name in ("next_use", "stream") if name in part.asks]:
        raise PolicyError(
            f"{type(policy).__name__} asks for {unknown[0]!r}: it must know what comes, and a prefix cache does not",
            None,
            "take a policy that looks back, such as lru",
        )
    return part


def _time(model: Borrowed, verb: str) -> str:
    return f"t_{verb}({', '.join(name if name in TIME else f't_{name}' for name in model.arguments[verb])})"


TEXT = '''
$beyond


@jit
def place_of(block, mask):
    """Where the search for a block begins: neighbours lie together."""
    return (((block >> 3) * 2654435761 & LOW) >> 7 << 3 | block & 7) & mask


@jit
def name_of(block, H, mask):
    """The name of a block, or -1."""
    at = place_of(block, mask)
    while H[at] != 0:
        if H[at] >> 32 == block + 1:
            return H[at] & LOW
        at = (at + 1) & mask
    return -1


@jit
def cached_name(block, C, H, mask):
    """The name of a block that is cached, or -1."""
    x = name_of(block, H, mask)
    return x if x >= 0 and C[x * CW + C_HERE] else -1


@jit_apart
def forget_name(x, C, H, mask):
    """Take a name out of the dictionary: what stands behind it in the same run moves up."""
    at = place_of(C[x * CW + C_BLOCK], mask)
    while H[at] & LOW != x or H[at] == 0:
        at = (at + 1) & mask
    hole = at
    at = (at + 1) & mask
    while H[at] != 0:
        home = place_of((H[at] >> 32) - 1, mask)
        if (at - home) & mask >= (at - hole) & mask:
            H[hole] = H[at]
            hole = at
        at = (at + 1) & mask
    H[hole] = 0


@jit
def push_left(x, I, C):
    """A name whose block has left is the last to be given away."""
    tail = I[I_LEFT_TAIL]
    C[x * CW + C_OLDER] = tail
    C[x * CW + C_NEWER] = -1
    if tail >= 0:
        C[tail * CW + C_NEWER] = x
    else:
        I[I_LEFT_HEAD] = x
    I[I_LEFT_TAIL] = x


@jit
def pull_left(x, I, C):
    older = C[x * CW + C_OLDER]
    newer = C[x * CW + C_NEWER]
    if older >= 0:
        C[older * CW + C_NEWER] = newer
    else:
        I[I_LEFT_HEAD] = newer
    if newer >= 0:
        C[newer * CW + C_OLDER] = older
    else:
        I[I_LEFT_TAIL] = older


@jit
def named(block, names, I, C, H, mask):
    """A name for a block that is not cached: the one it had, a new one, or that of the block that left first."""
    x = name_of(block, H, mask)
    if x >= 0:
        pull_left(x, I, C)
        return x
    if I[I_NAMED] < names:
        x = I[I_NAMED]
        I[I_NAMED] = x + 1
    else:
        x = I[I_LEFT_HEAD]
        pull_left(x, I, C)
        forget_name(x, C, H, mask)
    C[x * CW + C_BLOCK] = block
    at = place_of(block, mask)
    while H[at] != 0:
        at = (at + 1) & mask
    H[at] = (block + 1) << 32 | x
    return x


@jit
def link(x, parent, $state):
    """Put a block behind another, as the last that came there."""
    older = C[parent * CW + C_CHILD]
    C[x * CW + C_PARENT] = parent
    C[x * CW + C_OLDER] = older
    C[x * CW + C_NEWER] = -1
    if older >= 0:
        C[older * CW + C_NEWER] = x
    C[parent * CW + C_CHILD] = x


@jit
def leave(x, $state):
    """A block without others behind it is cached no longer."""
    parent = C[x * CW + C_PARENT]
    if parent >= 0:
        older = C[x * CW + C_OLDER]
        newer = C[x * CW + C_NEWER]
        if older >= 0:
            C[older * CW + C_NEWER] = newer
        if newer >= 0:
            C[newer * CW + C_OLDER] = older
        else:
            C[parent * CW + C_CHILD] = older
    C[x * CW + C_HERE] = 0
    if I[I_BIT]:
        M[C[x * CW + C_BLOCK]] ^= I[I_BIT]
    push_left(x, I, C)
    I[I_CACHED] -= 1
    I[I_FREE] += Z[Z_SHARE]
    $left


@jit_apart
def leave_behind(top, $state):
    """All behind a block leave, the last first, of branches the one that came last first."""
    x = top
    while True:
        child = C[x * CW + C_CHILD]
        if child >= 0:
            x = child
        elif x == top:
            return
        else:
            parent = C[x * CW + C_PARENT]
            $remove
            leave(x, $state)
            x = parent


@jit_apart
def evict(asked, $state):
    """A block leaves, and all behind it; False if the policy would not have what is asked for, or named nonsense."""
    while True:
        x = $victim
        $refuses
        if x < 0 or x >= I[I_NAMED] or not $lookup:
            Z[Z_WRONG] = x << 1 | 1
            return False
        if C[x * CW + C_USERS] == 0:
            break
        $remove
        C[x * CW + C_WITHHELD] = 1
    leave_behind(x, $state)
    $evict
    leave(x, $state)
    return True


@jit
def make_room(pages, $state):
    """Evict until so many pages are free; there are enough of blocks that nobody uses."""
    while I[I_FREE] < pages:
        if not evict(Z[Z_NONE], $state):
            return


@jit
def touch(x, $state):
    if not C[x * CW + C_WITHHELD]:
        $touch
        I[I_TOLD] += 1


@jit
def pin(x, $state):
    if C[x * CW + C_USERS] == 0:
        I[I_USED] += 1
    C[x * CW + C_USERS] += 1


@jit
def unpin(x, $state):
    C[x * CW + C_USERS] -= 1
    if C[x * CW + C_USERS] == 0:
        I[I_USED] -= 1
        if C[x * CW + C_WITHHELD]:
            C[x * CW + C_WITHHELD] = 0
            $miss
            $insert
            I[I_TOLD] += 1


@jit_apart
def enter(block, parent, behind, $state):
    """A block is cached, unless the policy refuses it; `behind` is the next one of its prompt, or -1. Its name."""
    x = named(block, Z[Z_NAMES], I, C, H, Z[Z_TABLE] - 1)
    C[x * CW + C_PARENT] = -1
    C[x * CW + C_CHILD] = -1
    C[x * CW + C_USERS] = 0
    C[x * CW + C_WITHHELD] = 0
    $entered
    if behind >= 0:
        link(behind, x, $state)
    $miss
    if Z[Z_SHARE] == 0:
        while I[I_CACHED] >= Z[Z_ROOM]:
            if not evict(x, $state):
                leave_behind(x, $state)
                push_left(x, I, C)
                I[I_TOLD] += 1
                return x
        # it may have been the one before that left
        if parent >= 0 and not C[parent * CW + C_HERE]:
            parent = Z[Z_NONE]
    if parent >= 0:
        link(x, parent, $state)
    C[x * CW + C_HERE] = 1
    if I[I_BIT]:
        M[block] |= I[I_BIT]
    I[I_CACHED] += 1
    $insert
    I[I_TOLD] += 1
    return x


@jit_apart
def keep_prompt(s, $state):
    """The whole blocks of a prompt that is complete go to the prefix cache."""
    r = A[s + S_REQUEST] * RW
    first = R[r + R_BLOCKS]
    count = R[r + R_WHOLE]
    share = Z[Z_SHARE]
    behind = Z[Z_NONE]
    $completed
    k = count
    while k > 0:
        k -= 1
        x = cached_name(K[first + k], C, H, Z[Z_TABLE] - 1)
        if x >= 0:
            if k >= A[s + S_HIT]:
                touch(x, $state)
                if share:
                    pin(x, $state)
                    I[I_FREE] += share
        else:
            parent = cached_name(K[first + k - 1], C, H, Z[Z_TABLE] - 1) if k else Z[Z_NONE]
            x = enter(K[first + k], parent, behind, $state)
            if share:
                pin(x, $state)
        behind = x if C[x * CW + C_HERE] and C[x * CW + C_PARENT] < 0 else Z[Z_NONE]
    if share:
        A[s + S_PINS] = count


@jit
def most_of(r, R, Z):
    """How many blocks a request may hit, which has blocks: the last token is computed always."""
    return min(R[r + R_WHOLE], (R[r + R_PROMPT] + R[r + R_MADE] - 1) // Z[Z_BLOCK])


@jit
def hit_of(r, $state):
    """How many blocks a request would hit now."""
    if R[r + R_WHOLE] == 0:
        return 0
    most = most_of(r, R, Z)
    first = R[r + R_BLOCKS]
    k = 0
    while k < most and cached_name(K[first + k], C, H, Z[Z_TABLE] - 1) >= 0:
        k += 1
    $further
    return k


@jit
def hits_of(r, V, Z, R, K, M):
    """What `hit_of` says at each instance, in tokens: block by block those drop out that do not hold it."""
    those = (1 << Z[Z_COUNT]) - 1
    k = Z[Z_NONE] + 1
    if R[r + R_WHOLE]:
        most = most_of(r, R, Z)
        first = R[r + R_BLOCKS]
        while k < most and those:
            gone = those & ~M[K[first + k]]
            those ^= gone
            while gone:
                V[lowest(gone)] = k * Z[Z_BLOCK]
                gone &= gone - 1
            k += 1
    while those:
        V[lowest(those)] = k * Z[Z_BLOCK]
        those &= those - 1


@jit
def pages_of(tokens, $state):
    return (tokens + Z[Z_PAGE] - 1) // Z[Z_PAGE]


@jit
def see(now, $state):
    """Sum what there was since it was last looked at."""
    time = now - I[I_SEEN]
    I[I_SEEN] = now
    values = (I[I_WAITING], I[I_SLOTS], Z[Z_PAGES] - I[I_FREE], I[I_CACHED]$seen)
    for k in range(len(values)):
        low = I[I_SUM_WAITING + 2 * k + 1] + values[k] * (time & (1 << SPLIT) - 1)
        I[I_SUM_WAITING + 2 * k] += values[k] * (time >> SPLIT) + (low >> SPLIT)
        I[I_SUM_WAITING + 2 * k + 1] = low & (1 << SPLIT) - 1


@jit
def made_by(s, $state):
    """The tokens of the answer that a request in decode has made."""
    return R[A[s + S_REQUEST] * RW + R_ANSWER] - (A[s + S_FINISH] - I[I_EPOCH])


@jit
def give_back(r, pins, tokens, $state):
    """The memory of a request that has stored so many tokens, or is to."""
    I[I_FREE] += pages_of(tokens - pins * Z[Z_BLOCK], $state)
    first = R[r + R_BLOCKS]
    k = pins
    while k > 0:
        k -= 1
        unpin(name_of(K[first + k], H, Z[Z_TABLE] - 1), $state)


@jit
def no_decode(s, $state):
    """A request is no longer in decode."""
    r = A[s + S_REQUEST] * RW
    I[I_CONTEXT] -= R[r + R_PROMPT] + made_by(s, $state)
    P[A[s + S_KEY]] -= 1


@jit
def note(i, start, number, $state):
    """Begin a row of the log, which is empty: about a request, or iterations. Where it lies."""
    if Z[Z_LOG_ROOM] == 0:
        return Z[Z_LOG_ROOM]
    row = Z[Z_LOGGED] * LW
    Z[Z_LOGGED] += 1
    L[row + L_INSTANCE] = i
    L[row + L_START] = start
    L[row + L_CHUNKS] = number
    return row


@jit
def count_waiting(number, sign, $state):
    """One request more waits, or one less."""
    r = number * RW
    I[I_WAITING] += sign
    $kept
    I[I_WAITING_TOKENS] += sign * (R[r + R_PROMPT] + R[r + R_MADE])
    I[I_WAITING_HITS] += sign * R[r + R_ROUTED_HIT]


@jit
def move(k, to, $state):
    """An admitted request stands elsewhere."""
    for word in range(SW):
        A[to * SW + word] = A[k * SW + word]


@jit_apart
def preempt(i, now, $state):
    """The request that was admitted last goes back to the front of those that wait."""
    slots = I[I_SLOTS] - 1
    k = slots
    last = I[I_DECODES] - 1
    if last >= 0 and A[last * SW + S_ORDER] > A[k * SW + S_ORDER]:
        k = last
    s = k * SW
    number = A[s + S_REQUEST]
    r = number * RW
    if k == last:
        R[r + R_MADE] = made_by(s, $state)
        since = A[s + S_BEGUN] if A[s + S_JOINS] else max(A[s + S_BEGUN], I[I_LAST_DECODE])
        R[r + R_SINCE] = since
        row = note(i, since, number, $state)
        L[row + L_TOOK] = -1
        L[row + L_BEGUN] = A[s + S_JOINS]
        I[I_JOINING] -= A[s + S_JOINS]
        no_decode(s, $state)
        I[I_DECODES] = k
        give_back(r, A[s + S_PINS], R[r + R_PROMPT] + R[r + R_MADE] - 1, $state)
        $swap
        for place in range(k, slots):
            move(place + 1, place, $state)
    else:
        give_back(r, A[s + S_PINS], R[r + R_PROMPT] + R[r + R_MADE]$but_kept, $state)
        $loaded_no_more
    I[I_SLOTS] = slots
    R[r + R_PREEMPTIONS] += 1
    R[r + R_NEXT] = I[I_HEAD]
    if I[I_HEAD] < 0:
        I[I_TAIL] = number
    I[I_HEAD] = number
    count_waiting(number, -Z[Z_NONE], $state)


@jit_apart
def grow_one_by_one(i, now, $state):
    """Pages for decodes, in the order of admission, where there are not enough; whether one was preempted."""
    key = I[I_EPOCH] % Z[Z_PAGE]
    preempted = False
    k = 0
    while k < I[I_DECODES]:
        if A[k * SW + S_KEY] == key:
            while I[I_FREE] == 0 and k < I[I_DECODES]:
                if (I[I_CACHED] - I[I_USED]) * Z[Z_SHARE] > 0:
                    if not evict(Z[Z_NONE], $state):
                        return True
                else:
                    preempt(i, now, $state)
                    preempted = True
            if k < I[I_DECODES]:
                I[I_FREE] -= 1
        k += 1
    return preempted


@jit
def grow(i, now, $state):
    """Each decode gets memory for one token more; whether somebody was preempted."""
    need = P[I[I_EPOCH] % Z[Z_PAGE]]
    if need > I[I_FREE]:
        if need > I[I_FREE] + (I[I_CACHED] - I[I_USED]) * Z[Z_SHARE]:
            return grow_one_by_one(i, now, $state)
        make_room(need, $state)
    I[I_FREE] -= need
    return False


@jit
def take_slot(k, number, $state):
    """A request is admitted, and stands at this place."""
    s = k * SW
    A[s + S_REQUEST] = number
    A[s + S_ORDER] = I[I_ADMISSIONS]
    A[s + S_JOINS] = 0
    I[I_ADMISSIONS] += 1
    I[I_SLOTS] += 1
    return s


@jit
def begin_decode(s, token, $state):
    """An admitted request, which had its last token then, is in decode."""
    r = A[s + S_REQUEST] * RW
    made = R[r + R_MADE]
    A[s + S_BEGUN] = token
    A[s + S_FINISH] = I[I_EPOCH] + R[r + R_ANSWER] - made
    I[I_SOONEST] = min(I[I_SOONEST], A[s + S_FINISH])
    stored = R[r + R_PROMPT] + made - 1 - A[s + S_PINS] * Z[Z_BLOCK]
    key = (I[I_EPOCH] - stored) % Z[Z_PAGE]
    A[s + S_KEY] = key
    P[key] += 1
    I[I_CONTEXT] += R[r + R_PROMPT] + made


@jit_apart
def admit_computed(now, $state):
    """Admit who has come over, while there is memory: behind all others in decode."""
    while I[I_CAME_HEAD] >= 0 and I[I_SLOTS] < Z[Z_MOST]:
        number = I[I_CAME_HEAD]
        r = number * RW
        pages = pages_of(R[r + R_PROMPT], $state)
        reserve = Z[Z_RESERVE] if I[I_SLOTS] else 0
        if pages + reserve > I[I_FREE]:
            return
        I[I_CAME_HEAD] = R[r + R_NEXT]
        I[I_WAITING] -= 1
        I[I_FREE] -= pages
        k = I[I_DECODES]
        for place in range(I[I_SLOTS], k, -1):
            move(place - 1, place, $state)
        s = take_slot(k, number, $state)
        A[s + S_PINS] = 0
        A[s + S_JOINS] = 1
        I[I_DECODES] += 1
        I[I_JOINING] += 1
        R[r + R_ADMITTED] = now
        begin_decode(s, R[r + R_FIRST], $state)


@jit_apart
def admit(now, left, $state):
    """Admit who waits, while there is budget and memory."""
    while left > 0 and I[I_SLOTS] < Z[Z_MOST] and I[I_HEAD] >= 0:
        number = I[I_HEAD]
        r = number * RW
        hit = $hit
        held = $held
        loads = $loads
        share = Z[Z_SHARE]
        tokens = R[r + R_PROMPT] + R[r + R_MADE]
        rest = tokens - hit * Z[Z_BLOCK]
        if not Z[Z_CHUNKED] and not loads and rest > left and I[I_SLOTS] > I[I_DECODES]$and_loading:
            return
        own = (tokens - held * Z[Z_BLOCK] if share else tokens)$but_kept
        pages = pages_of(own, $state)
        idle = I[I_CACHED] - I[I_USED]
        first = R[r + R_BLOCKS]
        if share:
            for k in range(held):
                if C[name_of(K[first + k], H, Z[Z_TABLE] - 1) * CW + C_USERS] == 0:
                    idle -= 1
        reserve = Z[Z_RESERVE] if I[I_SLOTS] else 0
        if pages + reserve > I[I_FREE] + idle * share:
            return
        I[I_HEAD] = R[r + R_NEXT]
        count_waiting(number, Z[Z_NONE], $state)
        k = held
        while k > 0:
            k -= 1
            x = name_of(K[first + k], H, Z[Z_TABLE] - 1)
            touch(x, $state)
            if share:
                pin(x, $state)
        $ask
        make_room(pages, $state)
        I[I_FREE] -= pages
        $fetch
        s = take_slot(I[I_SLOTS], number, $state)
        A[s + S_DONE] = hit * Z[Z_BLOCK]
        A[s + S_HIT] = hit
        A[s + S_PINS] = hit if share else 0
        if R[r + R_ADMITTED] < 0:
            R[r + R_ADMITTED] = now
            R[r + R_HIT] = A[s + S_DONE]
        part = min(left, rest) if Z[Z_CHUNKED] else rest
        $load
        A[s + S_PART] = part
        left -= part


@jit
def sum_of_steps(took, slope, count):
    """What so many iterations take, of which the first takes `took`, and each `slope` more than the one before."""
    return count * took + slope * (count * (count - 1) // 2)


@jit
def plan_run(decodes, context, $state):
    """How many iterations of the same decodes follow the one that is planned, and by how much each is longer."""
    more = I[I_SOONEST] - I[I_EPOCH] - 1
    if more <= 0:
        return 0, 0
    # pages that are not there
    page = Z[Z_PAGE]
    free = I[I_FREE]
    if free < (more // page + 1) * decodes:
        fit = free // decodes * page
        free -= free // decodes * decodes
        while fit < more:
            free -= P[(I[I_EPOCH] + 1 + fit) % page]
            if free < 0:
                break
            fit += 1
        more = min(more, fit)
    if more <= 0:
        return 0, 0
    constant, slope, until = $line
    more = min(more, (until - context) // decodes)
    # sums over a run stay in a word
    took = constant + slope * context
    limit = NEVER // Z[Z_PAGES]
    while more > 0 and (more + 1) * (took + slope * decodes * more) > limit:
        more >>= 1
    return max(more, 0), slope * decodes


@jit
def plan(i, now, $state):
    """The iteration that begins now."""
    I[I_NOW] = now
    I[I_READY] = NEVER
    see(now, $state)
    chunked = Z[Z_CHUNKED]
    budget = Z[Z_BUDGET]
    $come_back
    if I[I_CAME_HEAD] >= 0:
        admit_computed(now, $state)
    if chunked:
        preempted = grow(i, now, $state)
        budget -= I[I_DECODES]
        for k in range(I[I_DECODES], I[I_SLOTS]):
            s = k * SW
            $skip
            r = A[s + S_REQUEST] * RW
            A[s + S_PART] = min(budget, R[r + R_PROMPT] + R[r + R_MADE] - A[s + S_DONE])
            budget -= A[s + S_PART]
        $begin
        if not preempted:
            admit(now, budget, $state)
    else:
        $begin
        admit(now, budget, $state)
        preempted = I[I_SLOTS] == I[I_DECODES]$and_loading and grow(i, now, $state)
    chunks = I[I_SLOTS] - I[I_DECODES]$but_loading
    decodes = I[I_DECODES] if chunked or chunks == 0 else Z[Z_NONE] + 1
    if chunks + decodes == 0:  # all memory is held
        $later
        $audit
        return
    context = I[I_CONTEXT] if decodes else Z[Z_NONE] + 1
    new = area = squares = span = Z[Z_NONE] + 1
    for k in range(I[I_DECODES], I[I_SLOTS]):
        s = k * SW
        $skip
        part = A[s + S_PART]
        end = A[s + S_DONE] + part
        new += part
        area += part * end
        squares += part * part
        span += end
    took = int($step)
    I[I_TAKING] = decodes
    I[I_START] = now
    I[I_TOOK] = took
    I[I_END] = now + took
    I[I_CHUNKS] = chunks
    I[I_NEW] = new
    I[I_ROW_START] = now
    I[I_ROW_TOOK] = took
    I[I_ROW_COUNT] = 1
    I[I_RUN] = 0
    I[I_SLOPE] = 0
    I[I_BLOCKED] = 0
    if Z[Z_FAST] and chunks == 0 and not preempted:
        I[I_RUN], I[I_SLOPE] = plan_run(decodes, context, $state)
        I[I_BLOCKED] = I[I_HEAD] >= 0
        $cut
    I[I_RUN_END] = now + sum_of_steps(took, I[I_SLOPE], I[I_RUN] + 1)
    $audit


@jit
def pass_run(count, $state):
    """So many iterations of a run end, and the next one begins; in closed form."""
    took = I[I_TOOK]
    slope = I[I_SLOPE]
    decodes = I[I_TAKING]
    page = Z[Z_PAGE]
    time = sum_of_steps(took, slope, count)
    see(I[I_START] + time, $state)
    # and the pages that were taken on the way: of every `page` iterations, those with the same place in it
    taken = 0
    pages = 0
    for k in range(min(page, count)):
        if k:
            taken += P[(I[I_EPOCH] + k) % page]
        many = (count - 1 - k) // page + 1
        ones = many * (many - 1) // 2
        long = took + slope * k
        pages += taken * long * many + (taken * slope * page + decodes * long) * ones
        pages += decodes * slope * page * (ones * (2 * many - 1) // 3)
    I[I_SUM_PAGES] += pages >> SPLIT
    I[I_REST_PAGES] += pages & (1 << SPLIT) - 1
    for k in range(1, count % page + 1):
        I[I_FREE] -= P[(I[I_EPOCH] + k) % page]
    I[I_FREE] -= count // page * decodes
    I[I_EPOCH] += count
    I[I_CONTEXT] += count * decodes
    I[I_START] += time
    I[I_LAST_DECODE] = I[I_START]
    I[I_TOOK] = took + slope * count
    I[I_END] = I[I_START] + I[I_TOOK]
    I[I_RUN] -= count
    I[I_ROW_COUNT] += count


@jit
def settle(until, $state):
    """Let the iterations of a run end that end before a time, but for its last."""
    if I[I_RUN] == 0 or I[I_END] >= until:
        return
    low = 1
    high = I[I_RUN]
    while low < high:
        middle = (low + high + 1) >> 1
        if I[I_START] + sum_of_steps(I[I_TOOK], I[I_SLOPE], middle) < until:
            low = middle
        else:
            high = middle - 1
    pass_run(low, $state)


@jit_apart
def hold(number, $state):
    """A request is finished, and its memory waits to be given back."""
    R[number * RW + R_HOLDS] = 2
    R[number * RW + R_NEXT] = -1
    if I[I_HELD_HEAD] < 0:
        I[I_HELD_HEAD] = number
    else:
        R[I[I_HELD_TAIL] * RW + R_NEXT] = number
    I[I_HELD_TAIL] = number


@jit_apart
def release(number, now, i, $state):
    """The memory of a request that is finished is given back; False if it holds none."""
    r = number * RW
    if R[r + R_HOLDS] != 2:
        return False
    before = Z[Z_NONE]
    held = I[I_HELD_HEAD]
    while held != number:
        before = held
        held = R[held * RW + R_NEXT]
    if before < 0:
        I[I_HELD_HEAD] = R[r + R_NEXT]
    else:
        R[before * RW + R_NEXT] = R[r + R_NEXT]
    if I[I_HELD_TAIL] == number:
        I[I_HELD_TAIL] = before
    R[r + R_HOLDS] = 0
    I[I_NOW] = now
    see(now, $state)
    pins = R[r + R_WHOLE] if Z[Z_SHARE] else Z[Z_NONE] + 1
    give_back(r, pins, R[r + R_PROMPT], $state)
    if I[I_HEAD] >= 0 and I[I_END] == NEVER:
        I[I_READY] = min(I[I_READY], now)
    $audit
    return True


@jit
def over(s, now, $state, D):
    """A request is finished."""
    number = A[s + S_REQUEST]
    r = number * RW
    R[r + R_END] = now
    R[r + R_MADE] = R[r + R_ANSWER]
    if R[r + R_HOLDS]:
        hold(number, $state)
    else:
        give_back(r, A[s + S_PINS], R[r + R_PROMPT] + R[r + R_ANSWER] - 1, $state)
    D[Z[Z_ENDED]] = number
    Z[Z_ENDED] += 1


@jit
def end_decodes(now, $state, D):
    """Requests in decode that have all their tokens leave; who stays moves up."""
    kept = 0
    soonest = NEVER
    for k in range(I[I_DECODES]):
        s = k * SW
        if A[s + S_FINISH] == I[I_EPOCH]:
            no_decode(s, $state)
            over(s, now, $state, D)
        else:
            soonest = min(soonest, A[s + S_FINISH])
            if kept < k:
                move(k, kept, $state)
            kept += 1
    I[I_SOONEST] = soonest
    return kept


@jit
def end_prefill(i, s, now, $state, D):
    """A prompt is complete; whether the request goes on, in decode."""
    r = A[s + S_REQUEST] * RW
    keep_prompt(s, $state)
    made = R[r + R_MADE] + 1
    R[r + R_MADE] = made
    if R[r + R_AWAITED]:
        R[r + R_AWAITED] = 0
        D[Z[Z_HALF] + Z[Z_FIRSTS]] = A[s + S_REQUEST]
        Z[Z_FIRSTS] += 1
    if made == 1:
        R[r + R_FIRST] = now
    else:
        since = R[r + R_SINCE]
        L[note(i, since, A[s + S_REQUEST], $state) + L_TOOK] = now - since
    if made == R[r + R_ANSWER]:
        over(s, now, $state, D)
        return False
    begin_decode(s, now, $state)
    return True


@jit_apart
def joined(i, $state):
    """Those that came over have made their first token since, in the first of the iterations that end."""
    for k in range(I[I_DECODES]):
        s = k * SW
        if A[s + S_JOINS]:
            row = note(i, A[s + S_BEGUN], A[s + S_REQUEST], $state)
            L[row + L_TOOK] = I[I_ROW_START] + I[I_ROW_TOOK] - A[s + S_BEGUN]
            L[row + L_BEGUN] = 1
            A[s + S_JOINS] = 0
    I[I_JOINING] = 0


@jit_apart
def in_order(k, $state):
    """A request that has begun to decode goes before those that were admitted after it."""
    while k > 0 and A[(k - 1) * SW + S_ORDER] > A[k * SW + S_ORDER]:
        for word in range(SW):
            held = A[k * SW + word]
            A[k * SW + word] = A[(k - 1) * SW + word]
            A[(k - 1) * SW + word] = held
        k -= 1


@jit_apart
def end(i, $state, D):
    """The iteration under way ends."""
    now = I[I_END]
    I[I_NOW] = now
    see(now, $state)
    I[I_END] = NEVER
    $ends
    I[I_SLOTS] = kept
    if kept or I[I_HEAD] >= 0 or I[I_CAME_HEAD] >= 0:
        I[I_READY] = now
    row = note(i, I[I_ROW_START], I[I_CHUNKS], $state)
    L[row + L_COUNT] = I[I_ROW_COUNT]
    L[row + L_TOOK] = I[I_ROW_TOOK]
    L[row + L_SLOPE] = I[I_SLOPE]
    L[row + L_DECODES] = I[I_TAKING]
    L[row + L_NEW] = I[I_NEW]
    L[row + L_BEGUN] = begun
    $audit


@jit_apart
def go(i, until, once, $state, D):
    """All that an instance does before a time, or the first of it; whether there was room in the log."""
    while Z[Z_WRONG] == 0 and Z[Z_FAULT] == 0:
        if Z[Z_LOG_ROOM] and Z[Z_LOGGED] + 2 * Z[Z_MOST] > Z[Z_LOG_ROOM]:
            return False
        if I[I_END] < NEVER:
            if I[I_RUN_END] >= until:
                return True
            if I[I_RUN]:
                pass_run(I[I_RUN], $state)
            end(i, $state, D)
        elif I[I_READY] < until:
            plan(i, I[I_READY], $state)
        else:
            return True
        if once:
            return True
    return True


@jit
def plan_soon(now, blocked, $state):
    """Somebody waits who did not: an idle instance plans now, others as soon as they can admit him."""
    if I[I_END] == NEVER:
        I[I_READY] = min(I[I_READY], now)
    elif I[I_RUN] and not blocked:
        I[I_RUN] = 0
        I[I_RUN_END] = I[I_END]


@jit
def arrive(number, now, i, $state):
    """A request is routed to an instance; whether it may wait there."""
    settle(now, $state)
    r = number * RW
    R[r + R_INSTANCE] = i
    R[r + R_ROUTED] = now
    if pages_of(R[r + R_PROMPT] + R[r + R_ANSWER] - 1, $state) > Z[Z_PAGES]:
        return False
    if 0 < Z[Z_MAX_WAITING] <= I[I_WAITING]:
        R[r + R_REFUSED] = 1
        return False
    R[r + R_ROUTED_HIT] = hit_of(r, $state) * Z[Z_BLOCK]
    see(now, $state)
    R[r + R_AWAITED] = 1
    R[r + R_NEXT] = -1
    if I[I_HEAD] < 0:
        I[I_HEAD] = number
    else:
        R[I[I_TAIL] * RW + R_NEXT] = number
    I[I_TAIL] = number
    count_waiting(number, -Z[Z_NONE], $state)
    plan_soon(now, I[I_BLOCKED], $state)
    return True


@jit_apart
def come_over(number, now, i, $state):
    """A request whose first token another instance has made is routed to one; whether it may wait there."""
    settle(now, $state)
    r = number * RW
    R[r + R_INSTANCE] = i
    R[r + R_ROUTED] = now
    R[r + R_CAME] = 1
    R[r + R_MADE] = 1
    if pages_of(R[r + R_PROMPT] + R[r + R_ANSWER] - 1, $state) > Z[Z_PAGES]:
        return False
    see(now, $state)
    # who stands behind another one waits for him, and in a run memory grows no less
    blocked = I[I_CAME_HEAD] >= 0 or I[I_SLOTS] == Z[Z_MOST]
    R[r + R_NEXT] = -1
    if I[I_CAME_HEAD] < 0:
        I[I_CAME_HEAD] = number
    else:
        R[I[I_CAME_TAIL] * RW + R_NEXT] = number
    I[I_CAME_TAIL] = number
    I[I_WAITING] += 1
    plan_soon(now, blocked, $state)
    return True


@jit_apart
def send_away(now, runs, i, $state, D):
    """Who waits at an instance leaves it, and who `runs` before them; False if there is no room in the log.

    They are told where ends are. If those that run leave, whoever asks has to begin with the instance anew.
    """
    if Z[Z_LOG_ROOM] and Z[Z_LOGGED] + 2 * Z[Z_MOST] > Z[Z_LOG_ROOM]:
        return False
    settle(now, $state)
    see(now, $state)
    Z[Z_ENDED] = 0
    if runs:
        if I[I_END] < NEVER and I[I_ROW_COUNT] > 1:  # all but the one under way
            row = note(i, I[I_ROW_START], Z[Z_NONE] + 1, $state)
            L[row + L_COUNT] = I[I_ROW_COUNT] - 1
            L[row + L_TOOK] = I[I_ROW_TOOK]
            L[row + L_SLOPE] = I[I_SLOPE]
            L[row + L_DECODES] = I[I_TAKING]
        for k in range(I[I_SLOTS]):
            s = k * SW
            number = A[s + S_REQUEST]
            if k < I[I_DECODES]:
                since = max(A[s + S_BEGUN], I[I_LAST_DECODE])
                R[number * RW + R_MADE] = made_by(s, $state)
                R[number * RW + R_SINCE] = since
                L[note(i, since, number, $state) + L_TOOK] = -1
            at = Z[Z_ENDED]
            while at > 0 and D[Z[Z_HALF] + at - 1] > A[s + S_ORDER]:
                D[at] = D[at - 1]
                D[Z[Z_HALF] + at] = D[Z[Z_HALF] + at - 1]
                at -= 1
            D[at] = number
            D[Z[Z_HALF] + at] = A[s + S_ORDER]
            Z[Z_ENDED] += 1
        I[I_SLOTS] = 0
        I[I_END] = NEVER
        I[I_RUN_END] = NEVER
    number = I[I_HEAD]
    while number >= 0:
        D[Z[Z_ENDED]] = number
        Z[Z_ENDED] += 1
        number = R[number * RW + R_NEXT]
    I[I_HEAD] = -1
    I[I_TAIL] = -1
    I[I_WAITING] = 0
    I[I_WAITING_TOKENS] = 0
    I[I_WAITING_HITS] = 0
    I[I_BLOCKED] = 0
    if I[I_SLOTS] == 0:
        I[I_READY] = NEVER
    for k in range(Z[Z_ENDED]):
        R[D[k] * RW + R_ROUTED] = -1
    return True


@jit
def look(V, $state):
    """What a router sees of an instance."""
    prompts = I[I_WAITING_TOKENS]
    pending = prompts - I[I_WAITING_HITS]
    for k in range(I[I_DECODES], I[I_SLOTS]):
        $look_away
        r = A[k * SW + S_REQUEST] * RW
        tokens = R[r + R_PROMPT] + R[r + R_MADE]
        prompts += tokens
        pending += tokens - A[k * SW + S_DONE]
    V[0] = I[I_WAITING]
    V[1] = I[I_SLOTS]
    V[2] = prompts
    V[3] = pending
    V[4] = Z[Z_PAGES] - I[I_FREE]
    V[5] = I[I_CACHED]


$audits


@jit_cached
def run(what, first, second, third, array_V, array_D, $arrays):
    """Does what is asked.

    0: all that happens before the time `first`; 1: the same up to the first end of a request; with `second` a call
    goes on with the last one. 2: request `first` is routed to instance `second` at `third`. 3: a row of what is seen
    of each instance. 4: how many tokens of request `first` each instance has cached. 5: as 2, for one that comes over.
    6: memory that it holds there is given back. 7: when the next event is, and whether it is a plan. 8: all requests
    leave instance `second` at `third`, 9: those that wait there. With bit 0 of `third` it takes what ends at the time
    itself too, with bit 1 it stops at first tokens too. Returns the time of an end, NEVER if there was none, 0 if what
    was asked cannot be, -1 if the log is full, or -2 if something is wrong.
    """
    $shared
    $owned
    V = pointer(array_V)
    D = pointer(array_D)
    count = Z[Z_COUNT]
    if what == 7:
        V[0] = NEVER
        V[1] = 0
        for k in range(count):
            at = k * IW
            idle = all_I[at + I_END] == NEVER
            coming = all_I[at + I_READY] if idle else all_I[at + I_RUN_END]
            if coming < V[0] or (coming == V[0] and V[1] and not idle):
                V[0] = coming
                V[1] = idle
        return NEVER
    if what == 4 and Z[Z_MASKED]:
        hits_of(first * RW, V, Z, R, K, M)
        return NEVER
    if what < 2 and not second:
        Z[Z_ENDED] = 0
        Z[Z_FIRSTS] = 0
    i = second if what == 2 or what > 4 else Z[Z_NONE] + 1
    while i < count and Z[Z_WRONG] == 0 and Z[Z_FAULT] == 0:
        until = first
        if what == 0$alone:
            at = i * IW
            if (all_I[at + I_RUN_END] if all_I[at + I_END] < NEVER else all_I[at + I_READY]) >= until:
                i += 1
                continue
        elif what < 2:
            # whatever comes first; of what comes at once ends are first
            $soonest
            if i == count:
                break
            until += 1
        $own
        if what < 2:
            room = go(i, until, $once, $state, D)
            $changed
            if not room:
                return -1
            if what == 0$alone:
                i += 1
            elif what and (Z[Z_ENDED] or (third > 1 and Z[Z_FIRSTS])) and Z[Z_FAULT] == 0:
                Z[Z_NOW] = until - 1
                return until - 1
        elif what == 2 or what > 4:
            if what == 2:
                done = arrive(first, third, i, $state)
            elif what > 7:
                done = send_away(third, what == 8, i, $state, D)
            else:
                done = come_over(first, third, i, $state) if what == 5 else release(first, third, i, $state)
            $changed
            if not done:
                return Z[Z_NONE] + 1
            break
        else:
            if what == 3:
                settle(Z[Z_NOW], $state)
                look(shift(V, i * VW), $state)
            else:
                V[i] = hit_of(first * RW, $state) * Z[Z_BLOCK]
            i += 1
    if what < 2:
        Z[Z_NOW] = first
    if Z[Z_WRONG] or Z[Z_FAULT]:
        return -2
    return NEVER
'''

SOONEST = """
i = count
plans = third & 1 > 0  # as if one of those at the last time were known
for k in range(count):
    at = k * IW
    idle = all_I[at + I_END] == NEVER
    coming = all_I[at + I_READY] if idle else all_I[at + I_RUN_END]
    if coming < until or (coming == until and plans and not idle):
        until = coming
        plans = idle
        i = k
"""

ENDS = """
begun = 0
decodes = I[I_DECODES]
kept = decodes
if I[I_TAKING]:
    if I[I_JOINING]:
        joined(i, $state)
    I[I_EPOCH] += 1
    I[I_CONTEXT] += decodes
    I[I_LAST_DECODE] = now
    if I[I_SOONEST] <= I[I_EPOCH]:
        kept = end_decodes(now, $state, D)
slots = I[I_SLOTS]
I[I_DECODES] = kept
for k in range(decodes, slots):
    s = k * SW
    r = A[s + S_REQUEST] * RW
    A[s + S_DONE] += A[s + S_PART]
    goes_on = True
    if A[s + S_DONE] == R[r + R_PROMPT] + R[r + R_MADE]:
        goes_on = end_prefill(i, s, now, $state, D)
        I[I_DECODES] += goes_on
        begun += goes_on
    if goes_on:
        if kept < k:
            move(k, kept, $state)
        if kept < I[I_DECODES]:
            in_order(kept, $state)
        kept += 1
"""

AUDIT = """
@jit_apart
def audit(i, $state):
    \"\"\"Derive from scratch what is counted of an instance; the number of what is wrong goes to the settings.\"\"\"
    taken = 0
    users = 0
    context = 0
    phases = 0
    $audit_begins
    more = 1 if I[I_END] < NEVER and I[I_TAKING] else 0
    for k in range(I[I_SLOTS]):
        s = k * SW
        r = A[s + S_REQUEST] * RW
        tokens = R[r + R_PROMPT] + R[r + R_MADE]
        if k < I[I_DECODES]:
            tokens = R[r + R_PROMPT] + made_by(s, $state) - 1 + more
            context += R[r + R_PROMPT] + made_by(s, $state)
        $audit_slot
        taken += pages_of(tokens - A[s + S_PINS] * Z[Z_BLOCK], $state)
        users += A[s + S_PINS]
    number = I[I_HELD_HEAD]
    while number >= 0:
        r = number * RW
        pins = R[r + R_WHOLE] if Z[Z_SHARE] else Z[Z_NONE] + 1
        taken += pages_of(R[r + R_PROMPT] - pins * Z[Z_BLOCK], $state)
        users += pins
        number = R[r + R_NEXT]
    for k in range(Z[Z_PAGE]):
        phases += P[k]
    here = 0
    used = 0
    held = 0
    fault = 0
    for x in range(I[I_NAMED]):
        c = x * CW
        known = $lookup != 0
        if I[I_BIT] and (M[C[c + C_BLOCK]] & I[I_BIT] != 0) != (C[c + C_HERE] != 0):
            fault = 16
        if C[c + C_HERE]:
            here += 1
            used += C[c + C_USERS] > 0
            held += C[c + C_USERS]
            if known == (C[c + C_WITHHELD] != 0):
                fault = 5
            if C[c + C_PARENT] >= 0 and not C[C[c + C_PARENT] * CW + C_HERE]:
                fault = 6
        elif known:
            fault = 5
    waiting = 0
    tokens = 0
    number = I[I_HEAD]
    while number >= 0:
        waiting += 1
        tokens += R[number * RW + R_PROMPT] + R[number * RW + R_MADE]
        $audit_waiting
        number = R[number * RW + R_NEXT]
    number = I[I_CAME_HEAD]
    while number >= 0:
        waiting += 1
        number = R[number * RW + R_NEXT]
    for k in range(1, I[I_DECODES]):
        if A[k * SW + S_ORDER] < A[(k - 1) * SW + S_ORDER]:
            fault = 11
    if taken + here * Z[Z_SHARE] + I[I_FREE] != Z[Z_PAGES]:
        fault = 1
    if I[I_FREE] < 0 or here > Z[Z_ROOM]:
        fault = 2
    if here != I[I_CACHED]:
        fault = 3
    if used != I[I_USED] or held != users:
        fault = 4
    if waiting != I[I_WAITING]:
        fault = 7
    if tokens != I[I_WAITING_TOKENS]:
        fault = 8
    if context != I[I_CONTEXT] or phases != I[I_DECODES]:
        fault = 9
    if I[I_SLOTS] > Z[Z_MOST]:
        fault = 10
    $audit_beyond
    Z[Z_FAULT] = fault
"""
