"""What happened when, as a file that Perfetto opens: `tiersim timeline`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiersim._base.errors import StudyError
from tiersim._base.registry import nearest
from tiersim.experiments.plan import make_plan
from tiersim.experiments.progress import Bar, aloud
from tiersim.experiments.scenario import Timed
from tiersim.sim.queued.timeline import Timeline

__all__ = ["Written", "write_timeline"]


@dataclass
class Written:
    """A timeline that was written: of which variant, how many events it has, and how many had no room."""

    path: Path
    variant: str
    events: int
    left_out: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `tiersim timeline --json` prints."""
        return {**vars(self), "path": str(self.path)}


def write_timeline(
    source: str | Path | dict[str, Any],
    out: str | Path,
    sets: Sequence[str] = (),
    *,
    variant: str | None = None,
    events: int = 100_000,
    quiet: bool = True,
) -> Written:
    """Simulate one variant of a study, by default the first, and write its timeline: the first so many events.

    Raises StudyError for a variant that is not there, and for a scenario that keeps no time.
    """
    path = Path(out)
    if not path.name.endswith((".json", ".json.gz")):
        raise StudyError(f"{path.name!r} is no name of a timeline", None, "end it in .json or .json.gz")
    if not path.absolute().parent.is_dir():
        raise StudyError(f"there is no folder {path.parent}", None, "make it first")
    with aloud(not quiet):
        plan = make_plan(source, sets)
    labels = {item.label: item for item in plan.runs}
    chosen = variant if variant is not None else next(iter(labels))
    if chosen not in labels:
        hint = nearest(chosen, labels) or f"there are: {', '.join(labels)}"
        raise StudyError(f"the study has no variant {chosen!r}; {hint}")
    item = labels[chosen]
    if not isinstance(item.scenario, Timed) or not item.scenario.keeps_time():
        raise StudyError("this variant keeps no time, and has no timeline", None, "write `timing: queued`")
    with (
        Bar(f"{plan.study.name}: timeline", item.scenario.size(), item.scenario.steps, quiet=quiet) as bar,
        Timeline(path, events) as timeline,
    ):
        item.scenario.draw(timeline, item.seed, bar.add)
    return Written(path, chosen, timeline.events, timeline.left_out)
