"""What scenarios of cores in queued time say of the memory that these share, and of neighbours."""

from __future__ import annotations

from tiersim.models.caches import System
from tiersim.sim.queued import SECOND

__all__ = ["BESIDE", "CORE_METRICS", "core_metrics"]

CORE_METRICS = {
    "stalled.window": ("ratio", "of the time: nothing more could run ahead of a load that waited", "less"),
    "stalled.outstanding": ("ratio", "of the time: a miss waited for one of the misses under way to end", "less"),
    "memory.latency": ("ns", "mean of a read of memory, from the last cache to its data", "less"),
    "memory.bandwidth": ("B/s", "read from memory and written to it, by all cores", ""),
    "memory.load": ("ratio", "of the bandwidth of the pins of the DRAM", ""),
    "memory.row_hit_ratio": ("ratio", "of the bursts of the DRAM that found their row open", ""),
}
BESIDE = (
    "cycles",
    "of a neighbour, as long as the trace runs; an access counts as one where nothing is counted",
    "less",
)


def core_metrics(
    system: System, core: dict[str, int], memory: dict[str, int], chips: dict[str, int]
) -> dict[str, int | float]:
    """Those of `CORE_METRICS` that there are, from the books of a core, of memory and of the DRAM."""
    dram, made = system.memory.dram, dict[str, int | float]()
    if core["time"]:
        made["stalled.window"] = core["window_stall"] / core["time"]
        made["stalled.outstanding"] = core["outstanding_stall"] / core["time"]
        moved = (memory["reads"] + memory["writes"]) * system.line
        made["memory.bandwidth"] = moved * SECOND / core["time"]
        if dram is not None:
            made["memory.load"] = made["memory.bandwidth"] / dram.bandwidth
    if core["memory_reads"]:
        made["memory.latency"] = core["memory_delay"] / core["memory_reads"] / 1000
    if dram is not None and (bursts := chips["reads"] + chips["writes"]):
        made["memory.row_hit_ratio"] = chips["row_hits"] / bursts
    return made
