"""What happened: schemas, stores, readers, generators, captures. Imports only `tiersim._base`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiersim.traces.capture import capture_memory
    from tiersim.traces.catalogue import trace_names
    from tiersim.traces.direct import DirectTrace, stream_trace
    from tiersim.traces.load import load_trace
    from tiersim.traces.moe_capture import capture_moe
    from tiersim.traces.serving_capture import capture_serving
    from tiersim.traces.store import Writer
    from tiersim.traces.trace import Trace

__all__ = [
    "DirectTrace",
    "Trace",
    "Writer",
    "capture_memory",
    "capture_moe",
    "capture_serving",
    "load_trace",
    "stream_trace",
    "trace_names",
]

HOMES = {
    "DirectTrace": "direct",
    "Trace": "trace",
    "Writer": "store",
    "capture_memory": "capture",
    "capture_moe": "moe_capture",
    "capture_serving": "serving_capture",
    "load_trace": "load",
    "stream_trace": "direct",
    "trace_names": "catalogue",
}


def __getattr__(name: str) -> Any:
    # imported on first use: Parquet takes a tenth of a second, which `tiersim --help` does not have
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"tiersim.traces.{HOMES[name]}"), name)
