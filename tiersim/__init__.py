"""tiersim: what-if questions about memory hierarchies and cache policies, answered by replaying real traces.

import tiersim

result = tiersim.run("study.yaml")
result.to_pandas()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "TiersimError",
    "Trace",
    "__version__",
    "diff",
    "load_trace",
    "miss_ratio_curve",
    "open_result",
    "read_requests",
    "replay",
    "run",
]

if TYPE_CHECKING:
    from tiersim._base.errors import TiersimError
    from tiersim.experiments.diff import diff
    from tiersim.experiments.miss_ratio_curve import miss_ratio_curve
    from tiersim.experiments.opened import open_result
    from tiersim.experiments.replays import read_requests, replay
    from tiersim.experiments.runner import run
    from tiersim.traces import Trace, load_trace

_HOME = {
    "TiersimError": "tiersim._base.errors",
    "Trace": "tiersim.traces",
    "diff": "tiersim.experiments.diff",
    "load_trace": "tiersim.traces",
    "miss_ratio_curve": "tiersim.experiments.miss_ratio_curve",
    "open_result": "tiersim.experiments.opened",
    "read_requests": "tiersim.experiments.replays",
    "replay": "tiersim.experiments.replays",
    "run": "tiersim.experiments.runner",
}


def __getattr__(name: str) -> Any:
    # imported on first use (PEP 562): the command line answers --help without loading the engine
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tiersim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
