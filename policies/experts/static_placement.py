"""The best that a placement can do which never changes."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import DependencyError, PolicyError
from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.expert_replacement.lru import Lru
from tiersim.policies.experts.contract import CPU, HERE, HIGH, Scope
from tiersim.policies.experts.placing import gpu_of, group_of, worthiest
from tiersim.policies.object.contract import State, Words

Numbers = NDArray[np.int64]

PROCESSOR, LOAD, QUICKER = range(3)
ABSENT = {"processor": PROCESSOR, "load": LOAD, "quicker": QUICKER}
SOLVERS = ("PULP_CBC_CMD", "COIN_CMD")  # the CBC that comes with PuLP before version 4, or else one that is installed
OPTIMAL = 1


@register(
    "static-placement",
    family="experts",
    paper="integer programming with PuLP (Mitchell et al., 2011) and CBC (Forrest et al., doi:10.5281/zenodo.2720283)",
)
class StaticPlacement:
    """Keeps those experts whose staying saves most time in the training share of the trace: a proven optimum.

    An expert that is not placed is computed by the processor, or loaded, or whichever is ``quicker``. One that n tokens
    pass in a row then takes cpu(n), or a load and run(n), and run(n) where it is placed. What is made least is the sum
    of these times over all uses; or, with ``balance``, where several GPUs load what they lack, the sum over rows of the
    GPU that takes longest. On a GPU, or of a layer there, no more are placed than it has slots, less ``spare``, and
    none that saves nothing.

    Where each expert saves by itself this is what sorting them by the time that they save gives, and where all uses
    save the same, what sorting by popularity gives: the integer program has nothing to add then. It has where GPUs wait
    for one another: of two popular experts of one GPU that are used together the second may save nothing. And sorting
    by the tokens that passed an expert misses that many tokens at once are loaded for as one is.

    Several placements may be best; which of them is found is the solver's choice, always the same one.
    """

    by: Annotated[Literal["saving", "popularity"], Param("what placed experts have most of")] = "saving"
    absent: Annotated[Literal["processor", "load", "quicker"], Param("what becomes of those that are not placed")] = (
        "processor"
    )
    balance: Annotated[
        bool, Param("whether of several GPUs that load the slowest in each row counts, instead of the sum")
    ] = True
    rows: Annotated[
        int,
        Param(
            "rows of each layer that the balance looks at, evenly spread",
            ge=1,
            source="assumption: of DeepSeek-V2-Lite's 26 layers at once a proof takes up to half a minute",
        ),
    ] = 50
    seconds: Annotated[int, Param("that a proof may take", ge=1, source="assumption")] = 60
    spare: Annotated[int, Param("slots of a scope that are left for loads", ge=0, source="assumption: one buffer")] = 1
    scope: Scope = "layer"
    replacement: Annotated[Any, Param("who leaves a spare slot", family="expert-replacement")] = field(
        default_factory=Lru
    )

    def state(self) -> State:
        return {"mode": np.array([ABSENT[self.absent]], np.int64)}

    @staticmethod
    def decide(mode: Words, held: int, n: int, cpu: Words, load: int, run: Words) -> int:
        if held == HERE or mode[0] == LOAD:
            return HIGH
        return CPU if mode[0] == PROCESSOR or cpu[n] < load + run[n] else HIGH

    def place(
        self,
        layers: int,
        experts: int,
        gpus: int,
        slots: int,
        popular: Sequence[int],
        needed_row: Sequence[int],
        needed_x: Sequence[int],
        needed_n: Sequence[int],
        load: int,
        cpu: Sequence[int],
        run: Sequence[int],
    ) -> list[int]:
        """The experts that stay. Raises PolicyError where there is nothing to learn from, or no proof in time."""
        if len(needed_x) == 0:
            raise PolicyError("static-placement has no uses to learn from", None, "give it a part of the trace")
        room = slots - self.spare
        if self.by == "popularity":
            return worthiest(popular, room, layers, experts, gpus, self.scope)
        row, x, n = (np.asarray(held, np.int64) for held in (needed_row, needed_x, needed_n))
        here, processor = np.asarray(run, np.int64)[n], np.asarray(cpu, np.int64)[n]
        away = {"processor": processor, "load": load + here, "quicker": np.minimum(processor, load + here)}[self.absent]
        balances = gpus > 1 and self.balance and self.absent == "load"
        if balances:
            seen = np.flatnonzero(np.isin(row, self._spread(row, layers)))
            uses = list(
                map(Use, row[seen].tolist(), x[seen].tolist(), here[seen].tolist(), (away - here)[seen].tolist())
            )
        else:  # it is all one row
            sums = np.zeros((2, layers * experts), np.int64)
            np.add.at(sums[0], x, here)
            np.add.at(sums[1], x, away - here)
            uses = [Use(0, one, *sums[:, one].tolist()) for one in np.unique(x).tolist()]
        parts: defaultdict[int, list[Use]] = defaultdict(list)  # that share no slots
        for use in uses:
            parts[use.x // experts if self.scope == "layer" else 0].append(use)
        chosen: list[int] = []
        for mine in parts.values():
            group = {use.x: group_of(use.x, layers, experts, gpus, self.scope) for use in mine}
            gpu = {use.x: gpu_of(use.x, experts, gpus) if balances else 0 for use in mine}
            chosen += optimum(mine, group, room, gpu, self.seconds)
        return sorted(chosen)

    def _spread(self, row: Numbers, layers: int) -> Numbers:
        """Some of the rows of each layer."""
        kept = []
        for layer in range(layers):
            rows = np.unique(row[row % layers == layer])
            many = min(self.rows, len(rows))
            kept.append(rows[np.arange(many) * len(rows) // max(many, 1)])
        return np.concatenate(kept)


@dataclass(frozen=True)
class Use:
    """An expert in a row: what it takes where it is placed, and how much longer where it is not."""

    row: int
    x: int
    here: int
    saves: int


def optimum(
    uses: Sequence[Use],
    group: Mapping[int, int],
    room: int,
    gpu: Mapping[int, int],
    seconds: int,
) -> list[int]:
    """The experts whose staying makes the sum over rows of the GPU that takes longest the least.

    Of each ``group`` of experts at most ``room`` stay. Raises PolicyError where nothing is proven in ``seconds``,
    DependencyError without CBC.
    """
    import pulp

    saved: Counter[int] = Counter()
    for use in uses:
        saved[use.x] += max(use.saves, 0)
    stays = {x for x in saved if saved[x] > 0}
    if not stays or room < 1:
        return []
    unit = max(use.here + abs(use.saves) for use in uses)  # times are near one for the solver
    times: defaultdict[int, defaultdict[int, list[Use]]] = defaultdict(lambda: defaultdict(list))
    for use in uses:
        times[use.row][gpu[use.x]].append(use)
    problem = pulp.LpProblem("placement", pulp.LpMinimize)
    stay = {x: problem.add_variable(f"stay_{x}", cat="Binary") for x in sorted(stays)}
    waits = {row: problem.add_variable(f"row_{row}", lowBound=0) for row in sorted(times)}
    problem += pulp.lpSum(waits.values())
    for row, of_gpus in times.items():
        for held in of_gpus.values():
            fixed = sum(use.here + use.saves for use in held) / unit
            less: Counter[int] = Counter()
            for use in held:
                less[use.x] += use.saves
            problem += waits[row] >= fixed - pulp.lpSum(
                less[x] / unit * stay[x] for x in sorted(less) if x in stay and less[x]
            )
    members: defaultdict[int, list[int]] = defaultdict(list)
    for x in stay:
        members[group[x]].append(x)
    for among in members.values():
        if len(among) > room:
            problem += pulp.lpSum(stay[x] for x in among) <= room
    solved = problem.solve(solver(seconds))
    # versions before 4 call a solution optimal that ran out of time, and tell it apart elsewhere
    if getattr(solved, "status", solved) != OPTIMAL or getattr(problem, "sol_status", OPTIMAL) != OPTIMAL:
        raise PolicyError(
            f"static-placement: no placement was proven the best within {seconds} s",
            None,
            "give it more `seconds`, fewer `rows`, or `balance: false`",
        )
    return [x for x in stay if stay[x].varValue > 0.5]


def solver(seconds: int) -> Any:
    """CBC, on one thread and until the optimum is proven."""
    import pulp

    for name in SOLVERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the one that comes with PuLP
            try:
                made = pulp.getSolver(name, msg=False, threads=1, timeLimit=seconds, gapRel=0)
                if made.available():
                    return made
            except pulp.PulpError:  # not of this version
                continue
    raise DependencyError("static-placement needs the solver CBC", None, "pip install 'pulp[cbc]'")
