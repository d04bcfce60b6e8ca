"""Worked examples of translation policies: the engine over longer and longer beginnings of a trace of pages."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.plan import make_plan
from tiersim.experiments.worked.steps import Step, Worked
from tiersim.models.translation import PagedSystem, Paging, wire
from tiersim.sim.pages import PagedEvents, paged_from
from tiersim.sim.translation import Translated, translate

__all__ = ["PAGES", "TRACE", "ran", "translation"]

TRACE = "ABCDEFABCGADEG"
PAGES = {
    "A": 0,
    "B": 1,
    "C": 2,
    "D": 3,
    "E": 64,
    "F": 65,
    "G": 128,
}  # numbers of 4 KiB: A to D share a line of the table
SYSTEM = {
    "use": "victima-paper",
    "tlbs": {"dtlb": {"entries": 2, "ways": 2}, "l2": {"entries": 4, "ways": 4}},
    "caches": {
        "l1d": {"capacity": "256 B", "ways": 4},
        "l2": {"capacity": "1 KiB", "ways": 16},
        "l3": {"capacity": "1 KiB", "ways": 16},
    },
}
SETTING = (
    "Loads from pages of 4 KiB, each of another line, on `victima-paper` with TLBs of two and four entries and small "
    "caches. The entries of pages A to D, E and F, and G lie in three lines of the page table. `reads` are those of "
    "memory for translations."
)


@cache
def _system() -> PagedSystem:
    study = {"study": "worked", "scenario": "translation", "trace": "generated/stride", "system": SYSTEM}
    system: Any = make_plan(study).runs[0].scenario
    made: PagedSystem = system.system
    return made


def _events(count: int) -> PagedEvents:
    address = [PAGES[letter] * 4096 + 64 * k for k, letter in enumerate(TRACE[:count])]
    columns: dict[str, NDArray[Any]] = {"address": np.array(address, np.uint64), "kind": np.zeros(count, np.uint8)}
    return paged_from(columns | {"size": np.ones(count, np.uint16), "gap": np.ones(count, np.uint32)})


def ran(policy: Any, count: int) -> Translated:
    """The first so many loads under a policy."""
    wired, events = wire(_system(), policy), _events(count)
    tables = wired.tables(events.lines[:], Paging(), 0)
    return translate(wired.loop, wired.sets, events, tables, wired.timing, contents=True, compiled=False)


def translation(policy: Any) -> Worked:
    """A policy of the family ``translation``."""
    letters = list(dict.fromkeys(TRACE))  # pages are numbered by first appearance
    steps = []
    before = _counted(None)
    for count, letter in enumerate(TRACE, start=1):
        done = ran(policy, count)
        counted = _counted(done)
        new = {name: many - before[name] for name, many in counted.items()}
        outcome = next((text for name, text in OUTCOMES.items() if new[name]), "first TLB")
        assert done.held is not None
        held = [
            sorted(unit for unit in done.held.structures[name] if unit < len(letters))
            for name in ("tlbs.dtlb", "tlbs.l2")
        ]
        cells = [" ".join(letters[unit] for unit in units) for units in held]
        blocks = str(done.own.get("resident") or "")
        pom = done.held.structures.get("pom-tlb", set())
        cells += [" ".join(letters[unit] for unit in sorted(pom)), blocks, str(new["reads"] or "")]
        cells.append("yes" if new["background"] else "")
        steps.append(Step(letter, outcome, "", tuple(cells)))
        before = counted
    totals = {
        "missed by all TLBs": str(before["missing"]),
        "walks": f"{before['walks']}"
        + (f", and {before['background']} in the background" if before["background"] else ""),
        "reads of memory for translations": str(before["reads"]),
    }
    columns = ("first TLB", "second TLB", "POM-TLB", "TLB blocks", "reads", "background walk")
    return Worked("translation", type(policy).registered.name, SETTING, "page", columns, tuple(steps), totals)


OUTCOMES = {"walks": "page walk", "blocks": "TLB block", "missing": "POM-TLB", "second": "second TLB"}


def _counted(done: Translated | None) -> dict[str, int]:
    """Sums so far, of what tells where a translation came from and what it cost."""
    if done is None:
        return dict.fromkeys((*OUTCOMES, "reads", "background"), 0)
    reads = ("walk_reads", "background_reads", "pom_reads")
    return {
        "walks": done.own["walks"],
        "blocks": done.own.get("block_hits", 0),
        "missing": done.own["missing"],
        "second": done.structures["tlbs.l2"]["lookups"],
        "reads": sum(done.memory[name] for name in reads),
        "background": done.own["background_walks"],
    }
