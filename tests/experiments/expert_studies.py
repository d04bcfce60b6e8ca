"""A small model, a trace of its routing, and a study of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tiersim.traces.ragged import Ragged
from tiersim.traces.schema import ROUTING
from tiersim.traces.store import Writer

LAYERS, EXPERTS, ACTIVE = 3, 8, 2
MODEL = {
    "layers": 4,
    "hidden": 256,
    "heads": 4,
    "kv_heads": 2,
    "head": 64,
    "feed_forward": 512,
    "vocabulary": 1000,
    "experts": {"count": EXPERTS, "active": ACTIVE, "size": 512, "dense": 1},
}
STUDY: dict[str, Any] = {
    "study": "small",
    "scenario": "expert-offload",
    "trace": {"use": "routing.parquet"},
    "system": {
        "model": MODEL,
        "accelerator": "rtx-4090",
        "host": "desktop-ddr5",
        "link": "pcie-4-x16",
        "expert_slots": "3 per layer",
    },
    "policy": "on-demand",
}


def write_trace(
    path: Path,
    seed: int,
    *,
    sequences: int = 10,
    more: bool = True,
    layers: int = LAYERS,
    experts: int = EXPERTS,
    active: int = ACTIVE,
) -> None:
    """Sequences of 4 to 9 tokens that like the experts of the token before; `more`: with weights and predictions."""
    numbers = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {name: [] for name in ("layer", "token", "sequence", "experts", "weights", "named")}
    for sequence in range(sequences):
        last = numbers.integers(0, experts, (layers, active))
        for token in range(int(numbers.integers(4, 10))):
            for layer in range(layers):
                scores = numbers.random(experts)
                scores[last[layer]] += 0.5
                chosen = np.argsort(-scores)[:active]
                last[layer] = chosen
                columns["layer"].append(layer + 1)
                columns["token"].append(token)
                columns["sequence"].append(100 - sequence)
                columns["experts"].append(chosen.tolist())
                columns["weights"].append(sorted(numbers.integers(1, 9, active) / 8)[::-1])
                columns["named"].append([int(chosen[0]), int((chosen[-1] + numbers.integers(0, 2)) % experts)])
    counts = np.full(len(columns["layer"]), active)
    made: dict[str, Any] = {
        "layer": np.array(columns["layer"], np.uint16),
        "token": np.array(columns["token"], np.uint32),
        "sequence": np.array(columns["sequence"], np.uint64),
        "experts": Ragged.of(columns["experts"], "uint16"),
    }
    if more:
        made["weights"] = Ragged.counted(np.array(columns["weights"], np.float32).ravel(), counts)
        made["predicted"] = Ragged.of([sorted(set(held)) for held in columns["named"]], "uint16")
    with Writer(path, schema=ROUTING) as out:
        out.append(made)
