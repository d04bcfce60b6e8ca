"""Runs a model whose experts do not fit, under a system that offloads them: when rows end, and what is loaded.

docs/explanation/expert-offloading.md specifies what happens; `tiersim.sim.expert_loop` writes the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, PolicyError, StudyError
from tiersim.sim import expert_loop
from tiersim.sim.expert_bound import bound_times, least_loads, numbers_of
from tiersim.sim.expert_loop import ASKED, GPU, HEADER, LOG, MANY, NEVER, OUT, OWN, TASK, TASKS, WAY
from tiersim.sim.expert_policy import expert_state
from tiersim.sim.expert_rows import Costs, Rows
from tiersim.sim.kernels import next_uses
from tiersim.sim.object_replay import explained, state_of
from tiersim.sim.requests import NEVER as UNUSED

__all__ = ["Machine", "Offloaded", "offload"]

Numbers = NDArray[np.int64]

CHUNK: Final = 1 << 14  # rows between two words of progress
LOADS: Final = 1 << 16  # lines of the log between two looks
PLACES: Final = {name: place for place, name in enumerate(HEADER)}
FAULT, ASKED_OUT = PLACES["fault"], PLACES["asked_out"]
COUNTED: Final = HEADER[HEADER.index("hits") :]
STARTS: Final = {"arrives": NEVER, "ends": NEVER}


@dataclass(frozen=True)
class Offloaded:
    """What became of steps and rows; times are picoseconds since the beginning.

    A row is ``planned`` when its router has chosen. Then it waits ``stall`` for loads and ``wait`` for the processor;
    ``hits``, ``late`` and ``misses`` are of its experts that are wanted on a GPU. ``counts`` are those of the whole:
    ``needed``; ``on_gpu`` (``hits``, ``late``, ``misses``), ``processed`` (of them ``deferrals``) and ``skipped``;
    ``loads``, of them ``loads_low`` in low precision and ``wished``, of these ``used``; wishes ``dropped`` for want of
    a victim; ``reads`` of the drive; ``bytes`` of experts over links; ``link_time``, ``gpu_time`` and
    ``processor_time`` of work on experts, ``stream_time`` of keys and values on links (all as long as nobody else uses
    them); tokens that were ``sent`` to the processor and ``returned``. ``loads`` has, where it is asked for, a line for
    each load in the order of their beginnings: `tiersim.sim.expert_loop.LOG`, with the precision as LOW or HIGH of the
    contract.
    """

    step_begin: Numbers
    step_end: Numbers
    planned: Numbers
    row_end: Numbers
    hits: Numbers
    late: Numbers
    misses: Numbers
    stall: Numbers
    wait: Numbers
    counts: dict[str, int]
    loads: Numbers | None = None

    @property
    def end(self) -> int:
        """When the last step has ended."""
        return int(self.step_end[-1]) if len(self.step_end) else 0


def offload(
    rows: Rows,
    costs: Costs,
    system: Any,
    *,
    slots: int,
    gpus: int = 1,
    overlap: bool = True,
    placed: Sequence[int] = (),
    popular: NDArray[Any] | None = None,
    seed: int = 0,
    log: bool = False,
    compiled: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Offloaded:
    """Run all steps, with links that carry nothing but loads (``timing: alone``).

    ``system`` is an instance of the family ``experts``; its ``scope`` says whether ``slots`` are those of each layer on
    a GPU or of each GPU. ``placed`` are the experts x = layer x E + e that are in slots for good. ``popular`` has how
    often each x is used, for replacements with ``profile``. ``log`` keeps all loads. ``progress`` is called with how
    many rows have ended since it was called last.

    Raises StudyError where there are too few slots or times, PolicyError where a verb breaks the contract, AuditError
    when the books do not balance.
    """
    if getattr(system, "bound", False):
        return _bound(rows, costs, system, slots, gpus, placed, progress)
    machine = Machine(
        rows,
        costs,
        system,
        slots=slots,
        gpus=gpus,
        overlap=overlap,
        placed=placed,
        popular=popular,
        seed=seed,
        log=log,
        compiled=compiled,
    )
    total = rows.steps * rows.layers
    for upto in range(CHUNK, total + CHUNK, CHUNK):
        machine.go(upto=upto if upto < total else total + 1)
        if progress:
            progress(min(CHUNK, total - upto + CHUNK))
    return machine.result()


class Machine:
    """The state of a run, and the calls of its loop."""

    def __init__(
        self,
        rows: Rows,
        costs: Costs,
        system: Any,
        *,
        slots: int,
        gpus: int = 1,
        overlap: bool = True,
        placed: Sequence[int] = (),
        popular: NDArray[Any] | None = None,
        seed: int = 0,
        log: bool = False,
        queued: bool = False,
        compiled: bool = True,
    ) -> None:
        by_layer = getattr(system, "scope", "layer") == "layer"
        if queued and (costs.ship[1:] < costs.latency).any():
            raise StudyError(f"hidden states are moved in less than the latency of {costs.latency} ps")
        room = _check(rows, costs, slots, gpus, placed, by_layer)
        self.rows, self.costs, self.system, self._gpus = rows, costs, system, gpus
        replacement = getattr(system, "replacement", None)
        self.compiled = compiled and all(getattr(held, "compiled", True) for held in (system, replacement))
        own, part = expert_loop.parts_of(system)
        if getattr(replacement, "profile", False) and popular is None:
            raise PolicyError(
                f"{type(replacement).__name__} must know how often experts are used", None, "give it `popular`"
            )
        objects, count = rows.layers * rows.experts, rows.steps * rows.layers
        given = {"objects": objects, "layers": rows.layers, "experts": rows.experts, "rows": count, "seed": seed}
        contract = "tiersim.policies.experts.contract"
        state = state_of(system, given, own.arrays, contract) if own.arrays or hasattr(system, "state") else {}
        arrays = [_wide(state[name]) for name in own.arrays]
        reals = [name for name, held in zip(own.arrays, arrays, strict=True) if held.dtype == np.float64]
        if part is not None:
            arrays += map(_wide, expert_state(replacement, part, rows.layers, rows.experts, popular))
        loop = expert_loop.make_loop(system, own, part, reals, compiled=self.compiled)
        self._loop, self._told = loop.module.go, loop.module.tell
        said = {
            "layers": rows.layers,
            "experts": rows.experts,
            "steps": rows.steps,
            "gpus": gpus,
            "overlap": overlap,
            "by_layer": by_layer,
            "slots": slots,
            "seed": seed,
            "log_room": LOADS + objects if log else 0,
        }
        said |= self._first(queued)
        said |= {name: getattr(costs, name) for name in ("load", "load_low", "latency", "read", "host_experts")}
        held: dict[str, NDArray[Any]] = {
            "H": np.array([said.get(name, 0) for name in HEADER], np.int64),
            **{name: getattr(costs, name) for name in loop.columns if hasattr(costs, name)},
            **{name: getattr(rows, name) for name in loop.columns if hasattr(rows, name)},  # both have a `size`
            **{name: np.zeros(rows.steps if name == "step_end" else count, np.int64) for name in OUT},
            **_fresh(rows, costs, slots, gpus, room, placed, said["log_room"]),
        }
        if "next_use" in loop.columns:
            held["next_use"] = _next(rows)
        names = ("H", *loop.columns, *OUT, *OWN)
        words = [*(_wide(held[name], np.int64) for name in names), *arrays]
        # plain lists are faster than arrays one by one, and their integers do not wrap
        self._held: list[Any] = words if self.compiled else [array.tolist() for array in words]
        self._table: Any = np.array([array.ctypes.data for array in words], np.int64) if self.compiled else self._held
        self._place = {name: k for k, name in enumerate(names)}
        self._arrays = len(names)
        self._names = [*own.arrays, *(part.arrays if part else ())]
        self._lines: list[Numbers] = []

    def _first(self, queued: bool) -> dict[str, int]:
        """How a run begins: with the keys and values of the first row, if they are not there."""
        rows, costs = self.rows, self.costs
        said = {"queued": int(queued), "poke": NEVER, "ran_until": -1}
        if not rows.steps:
            return said | {"phase": expert_loop.LASTS}
        begin = int(costs.before[0])
        if not costs.stream.any():
            return said | {"phase": expert_loop.PLANS, "due": begin + int(costs.dense[0])}
        work, many = int(costs.stream[0]), self._gpus
        said |= {"streams": 1, "phase": expert_loop.BEGINS, "due": begin, "stream_time": work * many}
        if work and queued:
            return said | {"streaming": many, "under_way": many}
        return said | {"whole": work + costs.latency if work else 0}

    def array(self, name: str) -> NDArray[Any]:
        """An array of the loop as it is now."""
        return np.asarray(self._held[self._place[name]])

    def word(self, name: str) -> int:
        """A word of the header as it is now."""
        return int(self._held[0][PLACES[name]])

    def go(self, limit: int = NEVER - 1, upto: int = NEVER) -> int:
        """Let happen what happens up to a time, or until a row is to be planned; why it has stopped.

        Where links are shared, it stops earlier, when what has begun in between may be there.
        """
        while True:
            try:
                answer = self._loop(limit, upto, self._table)
            except Exception as error:
                raise explained(error, self.system) from None
            if self._held[0][FAULT]:
                self._explain()
            if answer != expert_loop.FULL:
                return int(answer)
            self._keep()

    def asked(self) -> list[list[int]]:
        """What has begun to move since this was asked last, where links are shared: `tiersim.sim.expert_loop.ASKED`."""
        many = int(self._held[0][ASKED_OUT]) * len(ASKED)
        if not many:
            return []
        self._held[0][ASKED_OUT] = 0
        held = self._held[self._place["O"]][:many]
        flat = held.tolist() if self.compiled else held
        return [flat[k : k + len(ASKED)] for k in range(0, many, len(ASKED))]

    def tell(self, kind: int, gpu: int, tag: int, time: int) -> bool:
        """The link is free of a load, which is there a latency later; or something else that moved is there.

        Returns whether that may change something now.
        """
        return bool(self._told(kind, gpu, tag, time, self._table))

    def arrived(self, times: Sequence[Sequence[int]]) -> None:
        """Tell the log when the loads of each GPU were there, where links are shared."""
        self._keep()
        for gpu, there in enumerate(times):
            column = LOG.index("there")
            for lines in self._lines:
                own = np.flatnonzero(lines[:, LOG.index("gpu")] == gpu)
                lines[own, column], there = there[: len(own)], there[len(own) :]

    def _keep(self) -> None:
        many = self.word("logged")
        self._lines.append(self.array("log")[: many * len(LOG)].reshape(-1, len(LOG)).copy())
        self._held[0][HEADER.index("logged")] = 0

    def _explain(self) -> None:
        who, wrong = type(self.system).__name__, self.word("wrong")
        row = self.word("row")
        if self.word("fault") == expert_loop.NO_SLOT:
            raise StudyError(
                f"an expert of layer {row % self.rows.layers} is to be loaded, and no slot for it will ever be free",
                None,
                "take more slots, or place fewer experts for good",
            )
        said = {
            expert_loop.NO_WANT: f"{who}.decide gave {wrong}, and not one of SKIP, LOW, HIGH, CPU and DEFER",
            expert_loop.NO_COUNT: f"{who}.wish gave {wrong}, which is no number of wishes that there is room for",
            expert_loop.NO_EXPERT: f"{who}.wish listed {wrong}, which is no expert",
        }[self.word("fault")]
        raise PolicyError(said, None, "see tiersim.policies.experts.contract")

    def result(self) -> Offloaded:
        """What became of all. Raises AuditError when the books do not balance."""
        rows, costs = self.rows, self.costs
        counts = {name: self.word(name) for name in COUNTED if name != "unused"}
        counts["needed"] = len(rows.expert)
        counts["on_gpu"] = counts["hits"] + counts["late"] + counts["misses"]
        counts["bytes"] = (counts["loads"] - counts["loads_low"]) * costs.size + counts["loads_low"] * costs.size_low
        out = {name: self.array(name).copy() for name in OUT}
        self._audit(counts, out)
        lines = None
        if self.word("log_room"):
            self._keep()
            lines = np.concatenate(self._lines)
        return Offloaded(
            step_begin=np.concatenate([np.zeros(min(rows.steps, 1), np.int64), out["step_end"][:-1]]),
            step_end=out["step_end"],
            planned=out["row_plan"],
            row_end=out["row_end"],
            hits=out["row_hits"],
            late=out["row_late"],
            misses=out["row_misses"],
            stall=out["row_stall"],
            wait=out["row_wait"],
            counts=counts,
            loads=lines,
        )

    def _audit(self, counts: dict[str, int], out: dict[str, Numbers]) -> None:
        """Derive again what was counted along the way."""
        rows, costs = self.rows, self.costs
        residence, unspent = self.array("residence"), self.array("unspent")
        _equal("needed experts", counts["needed"], counts["on_gpu"] + counts["processed"] + counts["skipped"])
        _equal("misses and wishes begun", counts["misses"] + counts["wished"], counts["loads"])
        _equal(
            "wishes used, left and here", counts["used"] + self.word("unused") + int(unspent.sum()), counts["wished"]
        )
        for name in ("hits", "late", "misses"):
            _equal(f"{name} of rows", int(out[f"row_{name}"].sum()), counts[name])
        worked = (counts["loads"] - counts["loads_low"]) * costs.load + counts["loads_low"] * costs.load_low
        _equal("time of loads", worked, counts["link_time"])
        taken, room = self.array("count"), self.array("room")
        if (taken > room).any():
            raise AuditError("a scope holds more experts than it has slots")
        placed = self.array("placed").sum()
        _equal("experts in slots", int(taken.sum() + placed), int(np.count_nonzero(residence)))
        if rows.steps:
            self._audit_times(out)

    def _audit_times(self, out: dict[str, Numbers]) -> None:
        """The parts of each row add up to its time, but for runs, which are no less than nothing."""
        rows, costs = self.rows, self.costs
        layers = rows.layers
        shared = costs.exchange if self.word("gpus") > 1 else np.zeros_like(costs.exchange)
        ends = out["row_end"].reshape(-1, layers)
        begins = np.empty_like(ends)
        begins[:, 1:] = ends[:, :-1]
        begins[:, 0] = np.concatenate([[0], out["step_end"][:-1]]) + costs.before
        planned = out["row_plan"].reshape(-1, layers)
        early = planned < begins + costs.dense[:, None]
        fixed = 2 * shared[:, None] + (out["row_stall"] + out["row_wait"]).reshape(-1, layers)
        runs = ends - planned - fixed
        if early.any() or (out["row_stall"] < 0).any() or (out["row_wait"] < 0).any() or (runs < 0).any():
            raise AuditError("a row ends before its parts have")
        if self.word("gpus") == 1:
            _equal("runs in rows", int(runs.sum()), self.word("gpu_time"))
        if (ends[:, -1] + costs.after != out["step_end"]).any():
            raise AuditError("a step does not end after its last row")


def _check(rows: Rows, costs: Costs, slots: int, gpus: int, placed: Sequence[int], by_layer: bool) -> Numbers:
    """The slots of each scope that are not placed for good. Raises StudyError for what cannot be."""
    if not 1 <= gpus <= rows.experts:
        raise StudyError(f"{gpus} GPUs cannot share the {rows.experts} experts of a layer")
    if slots < 0:
        raise StudyError(f"there cannot be {slots} slots")
    scopes = rows.layers if by_layer else 1
    room = np.full(gpus * scopes, slots, np.int64)
    held = np.array(sorted(placed), np.int64)
    if len(held):
        if held[0] < 0 or held[-1] >= rows.layers * rows.experts:
            raise StudyError(f"an expert is placed that the model has not: {held[0] if held[0] < 0 else held[-1]}")
        if (np.diff(held) == 0).any():
            raise StudyError("an expert is placed twice")
        layer, e = held // rows.experts, held % rows.experts
        np.subtract.at(room, e * gpus // rows.experts * scopes + (layer if by_layer else 0), 1)
    if (room < 0).any():
        raise StudyError(
            f"{slots - int(room.min())} experts are placed where there are {slots} slots", None, "place fewer"
        )
    for name in ("before", "dense", "after", "exchange", "stream"):
        if len(getattr(costs, name)) != rows.steps and (name != "stream" or costs.stream.any()):
            raise StudyError(f"there are {rows.steps} steps, and {name!r} has {len(getattr(costs, name))} times")
    many = int(rows.tokens.max(initial=0))
    least = {"run": many, "cpu": many, "ship": int(rows.size.max(initial=0))}
    for name, most in least.items():
        if len(getattr(costs, name)) <= most:
            raise StudyError(f"{name!r} has no time for {most} tokens")
    return room


def _fresh(
    rows: Rows, costs: Costs, slots: int, gpus: int, room: Numbers, placed: Sequence[int], log_room: int
) -> dict[str, Numbers]:
    """The arrays of the loop at first."""
    objects = rows.layers * rows.experts
    header = np.array([STARTS.get(name, 0) for name in GPU] * gpus, np.int64)
    made = {
        "G": header,
        "Q": np.zeros(gpus * (2 * objects + 2) * len(WAY), np.int64),
        "M": np.zeros(gpus * rows.experts, np.int64),
        "R": np.zeros(gpus * rows.experts, np.int64),
        "C": np.zeros(2 * (len(TASKS) + len(TASK) * rows.experts), np.int64),
        "O": np.zeros((MANY + 2 * rows.experts + 4 * gpus + 4) * len(ASKED), np.int64),
        "wants": np.zeros(rows.experts, np.int64),
        "members": np.zeros(max(len(room) * slots, 1), np.int64),
        "count": np.zeros(len(room), np.int64),
        "room": room,
        "log": np.zeros(max(log_room, 1) * len(LOG), np.int64),
    }
    for name in ("residence", "lock", "wanted", "many", "place", "unspent", "placed", "wishes"):
        made[name] = np.zeros(objects, np.int64)
    made["placed"][list(placed)] = 1
    made["residence"][list(placed)] = expert_loop.CONTRACT["HERE"]
    # the host's ring of experts, from the one that was asked for longest ago; `objects` stands between last and first
    held = min(costs.host_experts, objects)
    ring = np.array([*range(held), objects], np.int64)
    made["older"], made["newer"] = np.full(objects + 1, -1, np.int64), np.full(objects + 1, -1, np.int64)
    made["newer"][ring] = np.roll(ring, -1)
    made["older"][ring] = np.roll(ring, 1)
    return made


def _next(rows: Rows) -> Numbers:
    """The place at which each needed expert is needed next."""
    made = np.empty(len(rows.expert), np.int64)
    upcoming = np.full(rows.layers * rows.experts, UNUSED, np.int64)
    next_uses(numbers_of(rows).astype(np.int32), upcoming, UNUSED, made)
    return made


def _bound(
    rows: Rows,
    costs: Costs,
    system: Any,
    slots: int,
    gpus: int,
    placed: Sequence[int],
    progress: Callable[[int], None] | None,
) -> Offloaded:
    """The least that any system takes that computes on GPUs in full precision."""
    by_layer = getattr(system, "scope", "model") == "layer"
    _check(rows, costs, slots, gpus, placed, by_layer)
    loads = least_loads(rows, _next(rows), slots, gpus, by_layer, np.array(sorted(placed), np.int64))
    count = rows.steps * rows.layers
    step_end, planned, row_end, stall = (np.zeros(n, np.int64) for n in (rows.steps, count, count, count))
    worked = bound_times(
        rows.layers,
        rows.experts,
        gpus,
        rows.start,
        rows.expert,
        rows.tokens,
        costs.before,
        costs.dense,
        costs.after,
        costs.exchange,
        costs.run,
        costs.load,
        costs.latency,
        loads,
        np.zeros((2, gpus), np.int64),
        step_end,
        planned,
        row_end,
        stall,
    )
    if progress:
        progress(count)
    misses = loads.sum(axis=1)
    needed = np.diff(rows.start)
    many = int(misses.sum())
    counts = dict.fromkeys(COUNTED, 0) | {
        "needed": len(rows.expert),
        "on_gpu": len(rows.expert),
        "hits": len(rows.expert) - many,
        "misses": many,
        "loads": many,
        "bytes": many * costs.size,
        "link_time": many * costs.load,
        "gpu_time": int(worked),
    }
    del counts["unused"]
    nothing = np.zeros(count, np.int64)
    begin = np.concatenate([np.zeros(min(rows.steps, 1), np.int64), step_end[:-1]])
    return Offloaded(begin, step_end, planned, row_end, needed - misses, nothing, misses, stall, nothing.copy(), counts)


def _wide(array: NDArray[Any], kind: Any = None) -> NDArray[Any]:
    """A flat array of 64-bit numbers."""
    if kind is None:
        kind = np.float64 if array.dtype.kind == "f" else np.int64
    return np.ascontiguousarray(array, kind).reshape(-1)


def _equal(what: str, a: int, b: int) -> None:
    if a != b:
        raise AuditError(f"{what}: {a:,}, but counted: {b:,}")
