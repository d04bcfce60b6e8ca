"""Writes the loop that replays requests for objects through one cache.

One module is written for each combination of policy, admission and columns of the trace; the number of objects, the
capacity and everything else that only changes arithmetic stay data.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from inspect import getattr_static, signature
from types import ModuleType
from typing import Any

from tiersim._base.syntax import parse
from tiersim.sim.source import borrow, load_module

__all__ = ["COLUMNS", "HEADER", "HIT", "LOG", "MISS", "OTHER", "Loop", "Part", "Shape", "asked_by", "make_loop"]

# what the engine knows and counts: bytes and objects in the cache, how they came and went, a victim that was none
HEADER = ("used", "held", "pinned", "inserted", "evicted", "expired", "removed", "too_large", "rejected", "wrong")
LOG = 5  # words of a log row: request, object asked for, outcome, place before, place after
MISS, HIT, OTHER = 0, 1, 2  # the outcome of a request; OTHER is no demand: a deletion, a pin
GET, SET, DELETE, PIN, UNPIN = range(5)

REPLACEMENT = (("lookup", "touch", "insert", "victim", "remove"), ("miss", "evict", "where"))
ADMISSION = ((), ("seen", "admit", "contest"))
COLUMNS = {"size": "Z", "op": "O", "ttl": "L", "time": "T", "cost": "C", "next_use": "N", "stream": "stream"}
KNOWN = ("x", "v", "objects", "capacity", "used", "now", "size", "sizes", "cost", "time", "next_use", "stream")


@dataclass(frozen=True)
class Shape:
    """The columns that the trace has, and what is asked: a loop is made for each.

    ``unit`` takes every size as one; ``watch`` follows one object; the others say that the trace has the column.
    """

    unit: bool = True
    ops: bool = False
    ttl: bool = False
    time: bool = False
    cost: bool = False
    watch: bool = False


@dataclass(frozen=True)
class Loop:
    """A loop and what it wants: names of columns, and of the policy's and the admission's arrays."""

    module: ModuleType
    columns: tuple[str, ...]
    arrays: tuple[str, ...]
    admission_arrays: tuple[str, ...]


def asked_by(maker: Any) -> set[str]:
    """What the verbs of a policy or an admission ask for by name."""
    cls = type(maker)
    verbs = [getattr_static(cls, verb, None) for group in (*REPLACEMENT, *ADMISSION) for verb in group]
    held = [verb.__func__ for verb in verbs if isinstance(verb, staticmethod)]
    return {name for function in held for name in signature(function).parameters}


class Part:
    """The verbs of a policy or of an admission, ready to be called by name; `known` is what the engine gives them."""

    def __init__(
        self,
        maker: Any,
        prefix: str,
        verbs: tuple[tuple[str, ...], tuple[str, ...]],
        shape: Shape,
        known: tuple[str, ...] = KNOWN,
    ) -> None:
        cls = type(maker)
        wanted = verbs[0] + tuple(verb for verb in verbs[1] if hasattr(cls, verb))
        found = borrow(cls, wanted, prefix)
        self.maker, self.prefix, self.arguments = maker, prefix, found.arguments
        self.text = _of_one_size(found.text) if shape.unit else found.text
        given = [item.name for item in fields(cls)]
        named = [name for arguments in found.arguments.values() for name in arguments]
        self.known = known
        self.arrays = tuple(dict.fromkeys(name for name in named if name not in (*known, *given)))
        self.asks = set(named)
        self.may_refuse = bool(getattr(cls, "may_refuse", False))

    def call(self, verb: str, **given: str) -> str:
        """A call of a verb with just the arguments that it names; nothing where the verb does not exist."""
        if verb not in self.arguments:
            return ""
        known = {name: f"{self.prefix}_{name}" for name in self.arrays}
        known |= {item.name: repr(getattr(self.maker, item.name)) for item in fields(type(self.maker))}
        known |= {name: name for name in self.known} | given
        return f"{self.prefix}_{verb}({', '.join(known[name] for name in self.arguments[verb])})"


def _of_one_size(text: str) -> str:
    """The same functions where every ``sizes[v]`` is 1."""

    class One(ast.NodeTransformer):
        def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
            if isinstance(node.value, ast.Name) and node.value.id == "sizes":
                return ast.Constant(1)
            return self.generic_visit(node)

    return ast.unparse(One().visit(parse(text)))


def make_loop(policy: Any, shape: Shape, admission: Any = None, *, compiled: bool = True) -> Loop:
    """The loop for a policy. Its module has ``run`` and ``audit``; see `tiersim.sim.object_replay` for the calls.

    Raises PolicyError when a verb is missing or asks for something that the trace does not have.
    """
    own = Part(policy, "p", REPLACEMENT, shape)
    gate = Part(admission, "a", ADMISSION, shape) if admission is not None else None
    asks = own.asks | (gate.asks if gate else set())
    columns = []
    for name, here in (
        ("size", not shape.unit),
        ("op", shape.ops),
        ("ttl", shape.ttl),
        ("time", shape.ttl or (shape.time and "time" in asks)),
        ("cost", shape.cost and "cost" in asks),
        ("next_use", "next_use" in asks),
        ("stream", "stream" in asks),
    ):
        if here:
            columns.append(name)
    gate_arrays = gate.arrays if gate else ()
    about = f"Replays requests through {type(policy).__name__}" + (
        f" behind {type(admission).__name__}" if gate else ""
    )
    text = _text(own, gate, shape, columns)
    return Loop(load_module(text, compiled=compiled, about=about), tuple(columns), own.arrays, gate_arrays)


def _text(own: Part, gate: Part | None, shape: Shape, columns: list[str]) -> str:
    arrays = [f"p_{name}" for name in own.arrays] + ([f"a_{name}" for name in gate.arrays] if gate else [])
    shorts = {"header": "G", "ids": "E", "outcome": "H", "sizes": "B", "expiry": "X", "pins": "P", "log": "W"}
    taken = ["header", "ids", "outcome", *(["sizes"] if not shape.unit else []), *(["expiry"] if shape.ttl else [])]
    taken += [*(["pins"] if shape.ops else []), *(["log"] if shape.watch else [])]
    arguments = [*taken, *(f"column_{name}" for name in columns), *(f"array_{name}" for name in arrays)]
    bind = [f"{shorts[name]} = pointer({name})" for name in taken]
    bind += [f"{COLUMNS[name]} = pointer(column_{name})" for name in columns]
    bind += [f"{name} = pointer(array_{name})" for name in arrays]
    bind += ["sizes = 0" if shape.unit else "sizes = B"]
    bind += [f"{name} = 0" for name in ("stream",) if name not in columns]
    bind += [f"{name} = G[{place}]" for place, name in enumerate(HEADER)]
    keep = [f"G[{place}] = {name}" for place, name in enumerate(HEADER)]
    step = _Step(own, gate, shape, columns)
    where = own.call("where", x="watched") or f"1 if {own.call('lookup', x='watched')} else 0"
    audit = [
        "held = 0",
        "used = 0",
        "for x in range(objects):",
        f"    if {own.call('lookup')}:",
        "        held += 1",
        f"        used += {'1' if shape.unit else 'B[x]'}",
    ]
    parts = [own.text, gate.text if gate else ""]
    lines = [
        "@jit_cached",
        f"def run(start, count, objects, capacity, watched, {', '.join(arguments)}):",
        *_in(bind),
        *_in([f"place = {where}", "logged = 0"] if shape.watch else []),
        "    for i in range(count):",
        *_in(step.lines(), 2),
        *_in(
            [
                f"now_at = {where}",
                "if x == watched or now_at != place:",
                *_in([f"W[logged * {LOG}] = now", f"W[logged * {LOG} + 1] = x", f"W[logged * {LOG} + 2] = H[i]"]),
                *_in([f"W[logged * {LOG} + 3] = place", f"W[logged * {LOG} + 4] = now_at"]),
                *_in(["logged += 1", "place = now_at"]),
            ]
            if shape.watch
            else [],
            2,
        ),
        *_in(keep),
        f"    return {'logged' if shape.watch else '0'}",
        "",
        "",
        "@jit_cached",
        f"def audit(objects, {', '.join(arguments)}):",
        *_in(bind),
        *_in(audit),
        "    return held, used",
    ]
    return "\n".join([*parts, "\n", *lines, ""])


class _Step:
    """What happens at one request."""

    def __init__(self, own: Part, gate: Part | None, shape: Shape, columns: list[str]) -> None:
        self.own, self.gate, self.shape, self.columns = own, gate, shape, columns

    def lines(self) -> list[str]:
        shape = self.shape
        out = ["now = start + i", "x = E[i]", "size = 1" if shape.unit else "size = Z[i]"]
        out += ["time = T[i]" if "time" in self.columns else "time = now"]
        out += ["cost = C[i]" if "cost" in self.columns else "cost = 1.0"]
        out += ["next_use = N[i]"] if "next_use" in self.columns else []
        demand = self.demand()
        if not shape.ops:
            return [*out, *demand]
        return [
            *out,
            "kind = O[i]",
            f"if kind >= {DELETE}:",
            f"    H[i] = {OTHER}",
            *_in(self.other()),
            "else:",
            *_in(demand),
        ]

    def demand(self) -> list[str]:
        """A request that is a hit or a miss."""
        own, shape = self.own, self.shape
        out: list[str] = []
        here = own.call("lookup")
        if shape.ops:
            here = f"P[x] or {here}"
        test = here
        if shape.ttl or (shape.ops and not shape.unit):
            out += [f"here = {here}"]
            test = "here"
        if shape.ttl:
            stale = ["expired += 1", *self.take_out("here = 0")]
            out += ["if here and X[x] != 0 and X[x] < time:", *_in(stale)]
        touch = own.call("touch")
        hit = [f"H[i] = {HIT}", *self.seen(), *(["if not P[x]:", f"    {touch}"] if shape.ops else [touch])]
        if shape.ttl and shape.ops:
            hit += [f"if kind == {SET}:", *_in(self.stamp())]
        miss = [f"H[i] = {MISS}", *self.seen(), *self.enter()]
        if shape.ops and not shape.unit:
            # a set that changes the size replaces the object: the old one leaves, the new one enters
            replace = ["removed += 1", *self.take_out("here = 0"), f"H[i] = {HIT}", *self.seen(), *self.enter()]
            return [
                *out,
                f"if here and kind == {SET} and size != B[x] and not P[x]:",
                *_in(replace),
                f"elif {test}:",
                *_in(hit),
                "else:",
                *_in(miss),
            ]
        return [*out, f"if {test}:", *_in(hit), "else:", *_in(miss)]

    def seen(self) -> list[str]:
        call = self.gate.call("seen") if self.gate else ""
        return [call] if call else []

    def stamp(self) -> list[str]:
        return ["X[x] = time + L[i] if L[i] > 0 else 0"] if self.shape.ttl else []

    def take_out(self, then: str = "") -> list[str]:
        """Lines that take x, which is here, out of the cache; a pinned one is out of the policy's hands already."""
        leave = [self.own.call("remove"), "held -= 1"]
        out = ["if P[x]:", "    P[x] = 0", "    pinned -= 1", "else:", *_in(leave)] if self.shape.ops else leave
        return [*out, f"used -= {'1' if self.shape.unit else 'B[x]'}", *([then] if then else [])]

    def enter(self) -> list[str]:
        """Lines that make room for x and let it in."""
        own, gate, shape = self.own, self.gate, self.shape
        evict = own.call("evict", x="v") or own.call("remove", x="v")
        contest = gate.call("contest") if gate else ""
        room = [
            f"v = {own.call('victim')}",
            *(["if v == x:", "    rejected += 1", "    room = 0", "    break"] if own.may_refuse else []),
            f"if v < 0 or v >= objects or not {own.call('lookup', x='v')}:",
            "    wrong = v << 1 | 1",
            "    room = 0",
            "    break",
            *([f"if not {contest}:", "    rejected += 1", "    room = 0", "    break"] if contest else []),
            evict,
            f"used -= {'1' if shape.unit else 'B[v]'}",
            "held -= 1",
            "evicted += 1",
        ]
        if shape.ops:  # all that is left may be pinned
            room = ["if held == 0:", "    too_large += 1", "    room = 0", "    break", *room]
        settle = [
            *([] if shape.unit else ["B[x] = size"]),
            own.call("insert"),
            "used += size",
            "held += 1",
            "inserted += 1",
            *self.stamp(),
        ]
        missed = own.call("miss")
        make = [
            *([missed] if missed else []),
            "room = 1",
            "while used + size > capacity:",
            *_in(room),
            "if room:",
            *_in(settle),
        ]
        admit = gate.call("admit") if gate else ""
        if admit:
            make = [f"if not {admit}:", "    rejected += 1", "else:", *_in(make)]
        if not shape.unit:
            make = ["if size > capacity:", "    too_large += 1", "else:", *_in(make)]
        return make

    def other(self) -> list[str]:
        """A deletion, a pin or the end of one."""
        own = self.own
        weight = "1" if self.shape.unit else "B[x]"
        back = [own.call("miss", size=weight), own.call("insert", size=weight)]
        return [
            f"if kind == {UNPIN}:",
            "    if P[x]:",
            "        P[x] = 0",
            "        pinned -= 1",
            *_in([line for line in back if line], 2),
            "        held += 1",
            f"elif P[x] or {own.call('lookup')}:",
            f"    if kind == {DELETE}:",
            "        removed += 1",
            *_in(self.take_out(), 2),
            "    elif not P[x]:",
            f"        {own.call('remove')}",
            "        held -= 1",
            "        P[x] = 1",
            "        pinned += 1",
        ]


def _in(lines: list[str], depth: int = 1) -> list[str]:
    return ["    " * depth + line for line in lines]
