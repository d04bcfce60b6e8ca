"""What the runs of a study checked of themselves.

Each scenario derives again at the end of a run what was counted along the way. A run whose books do not balance fails
and gives no result, so that whatever has a result has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tiersim.experiments.results import Row, StudyResult

__all__ = ["AUDITS", "Audit", "Audited", "audits"]

Config = dict[str, Any]


@dataclass(frozen=True)
class Audit:
    """One check: what must hold, the function that raises AuditError where it does not, and which configs have it."""

    what: str
    where: str
    when: Callable[[Config], bool] = lambda config: True


@dataclass(frozen=True)
class Audited:
    """An audit of a study: how many runs it looked at and how many passed."""

    audit: Audit
    ran: int
    passed: int


def _queued(config: Config) -> bool:
    return config.get("timing") == "queued"


def _added(config: Config) -> bool:
    return config.get("timing") == "additive"


def _kinds(config: Config) -> bool:
    return bool(config.get("miss_kinds"))


def _inclusive(config: Config) -> bool:
    caches = (config.get("system") or {}).get("caches") or {}
    return any(cache.get("inclusion") == "inclusive" for cache in caches.values())


def _nested(config: Config) -> bool:
    return bool((config.get("system") or {}).get("nested"))


LINES = (
    "Lines are conserved: in each cache, fills less evictions, invalidations and lines taken out are the lines held."
)
KINDS = "Cold, capacity and conflict misses are all misses, in each cache."
REPLAY, CORES = "tiersim.sim.replay:_audit", "tiersim.sim.cores:_audit"
WALKED, NESTED = "tiersim.sim.translation:_audit", "tiersim.sim.translation:_audit_nested"
OBJECTS, OFFLOADED = "tiersim.sim.object_replay:_Run.audit", "tiersim.sim.expert_offload:Machine._audit"

AUDITS: dict[str, tuple[Audit, ...]] = {
    "memory-hierarchy": (
        Audit(LINES, REPLAY, _added),
        Audit(LINES, CORES, _queued),
        Audit(KINDS, REPLAY, lambda config: _added(config) and _kinds(config)),
        Audit(KINDS, CORES, lambda config: _queued(config) and _kinds(config)),
        Audit(
            "A cache, or the memory, is asked for what the caches above it missed; write-backs reach memory once.",
            REPLAY,
            _added,
        ),
        Audit(
            "An inclusive cache holds every line of the caches above it.",
            REPLAY,
            lambda config: _added(config) and _inclusive(config),
        ),
    ),
    "translation": (
        Audit("Lines and translations are conserved in each cache and TLB.", WALKED),
        Audit("Each missing translation was walked or found, and all walks are in the histogram.", WALKED),
        Audit("Blocks of TLB entries are counted, different and clean.", WALKED),
        Audit("Walks of the host are conserved, and their times are those of all their parts.", NESTED, _nested),
    ),
    "object-cache": (
        Audit("Objects are conserved: those let in less those that left are those held and pinned.", OBJECTS),
        Audit("The policy holds as many objects and bytes as were counted, no more than there is room for.", OBJECTS),
    ),
    "expert-offload": (
        Audit("Each needed expert was on the GPU, computed elsewhere or skipped.", OFFLOADED),
        Audit("Each load was a miss or a wish; the link's time is that of all loads; no scope is too full.", OFFLOADED),
        Audit("The parts of each step add up to its time.", "tiersim.sim.expert_offload:Machine._audit_times"),
        Audit(
            "Bytes are conserved on every link, and none is faster than its rate.",
            "tiersim.sim.queued.link:Link.audit",
            _queued,
        ),
    ),
    "expert-routing": (
        Audit(
            "Every use of an expert has found the cache that holds it.",
            "tiersim.sim.expert_stack:expert_hits",
            lambda config: bool(config.get("cache")),
        ),
    ),
    "serving": (
        Audit(
            "Each request was served, rejected, refused or lost, and only one of these.",
            "tiersim.experiments.scenarios.serving:_audit",
        ),
    ),
}


def audits(result: StudyResult) -> list[Audited]:
    """The audits of the runs of a study that were simulated, none for a scenario without."""
    held = AUDITS.get(result.scenario, ())
    found = []
    for audit in held:
        rows = [row for row in result.rows if row.status in ("done", "failed") and audit.when(row.config)]
        if rows:
            found.append(Audited(audit, len(rows), sum(_passed(row) for row in rows)))
    return found


def _passed(row: Row) -> bool:
    return row.status == "done"
