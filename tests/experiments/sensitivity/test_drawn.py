"""The figures that a study with a sensitivity has: one for each answer, and none without an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

import tiersim
from tiersim.experiments.figures import encode
from tiersim.experiments.sections import Drawing

STUDY = """\
study: small
scenario: memory-hierarchy
trace: {use: generated/zipf, records: 2k, footprint: 64 KiB, write_share: 20 %, seed: 1}
system:
  caches:
    l1: {capacity: 4 KiB, ways: 4, latency: 2 ns}
  memory: {latency: 80 ns}
  core: {frequency: 1 GHz}
what_if:
  larger l1: {system.caches.l1.capacity: 8 KiB, system.caches.l1.latency: 5 ns}
  larger-l1: {system.caches.l1.capacity: 16 KiB, system.caches.l1.latency: 9 ns}
sensitivity:
  at: all
  outputs: [average_access_time]
  factors:
    system.memory.latency: {range: [10 ns, 140 ns]}
    system.core.base_cpi: {categories: [0.5, 1]}
"""
TIME = "average-access-time"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def drawings(more: str, text: str = STUDY) -> dict[str, Drawing]:
    Path("s.yaml").write_text(text + more, encoding="utf-8")
    (section,) = tiersim.run("s.yaml", keep=False).sections()
    found = {one.name: one for one in section.drawings}
    assert len(found) == len(section.drawings)
    return found


def texts(axis: Any) -> list[str]:
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_a_screening_shows_indices_spread_winners_map_and_speed() -> None:
    found = drawings("  method: morris\n  samples: 4\n  map: true\n  speedups: [10 %, 50 %]\n")
    labels = ("base", "larger-l1", "larger-l1-2")  # of two labels that are one in the names of files
    each = {f"{kind}-{TIME}-{at}" for kind in ("sensitivity", "spread", "speedups") for at in labels}
    assert set(found) == {*each, f"winners-{TIME}", f"map-{TIME}"}
    for kind in ("sensitivity", "spread", "speedups", "winners", "map"):
        one = next(one for name, one in found.items() if name.startswith(kind))
        figure = one.draw()
        assert len(encode(figure, "svg")) > 1000
        assert figure.get_suptitle().replace("\n", " ").startswith(one.caption)


def test_a_scatter_has_the_values_of_its_factors() -> None:
    found = drawings("  method: pawn\n  samples: 40\n")
    (winners,) = [one for name, one in found.items() if name == f"winners-{TIME}"]
    (axes,) = winners.draw().axes
    named = {axes.get_xlabel(): texts(axes.xaxis), axes.get_ylabel(): texts(axes.yaxis)}
    assert named == {"memory latency": ["10 ns", "75 ns", "140 ns"], "core base cpi": ["0.5", "1"]}
    assert not any(name.startswith(("pairs", "spread", "map", "speedups")) for name in found)


def test_of_one_variant_names_have_no_label() -> None:
    text = STUDY.replace("at: all", "at: base")
    assert set(drawings("  method: delta\n  samples: 40\n", text)) == {f"sensitivity-{TIME}"}


def test_what_nothing_changes_has_no_figure() -> None:
    text = STUDY[: STUDY.index("what_if")]
    block = "sensitivity: {outputs: [caches.l1.miss_ratio], method: morris, samples: 3, factors: "
    assert drawings(block + "{system.memory.latency: {range: [10 ns, 140 ns]}}}\n", text) == {}
