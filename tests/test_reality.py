"""The benchmark of the model against this machine: its pure parts by hand, and all of it on small footprints."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim._base.errors import DependencyError, StudyError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_reality", ROOT / "benchmarks" / "reality.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


reality = _module()
HERE = reality.SYSFS / f"cpu{reality.processors()[0]}" / "cache"
SHOWN = bool(list(HERE.glob("index*")))


def sysfs(folder: Path, *caches: tuple[int, str, str, int, str]) -> Path:
    """A folder as the kernel shows it, from level, type, size, ways and sharing."""
    for place, (level, kind, size, ways, cpus) in enumerate(caches):
        index = folder / f"index{place}"
        index.mkdir(parents=True)
        told = {"level": level, "type": kind, "size": size, "ways_of_associativity": ways}
        for name, value in {**told, "coherency_line_size": 64, "shared_cpu_list": cpus}.items():
            (index / name).write_text(f"{value}\n")
        (index / "power").mkdir()  # folders lie among the files
    return folder


SMALL = ((1, "Data", "1K", 2, "0"), (1, "Instruction", "32K", 8, "0"), (2, "Unified", "4K", 4, "0-1"))


def test_sysfs_is_read_from_the_core_down_without_instruction_caches(tmp_path: Path) -> None:
    found = reality.host_caches(sysfs(tmp_path, (3, "Unified", "32M", 16, "0-3"), *SMALL))
    assert [(cache.level, cache.capacity, cache.ways, cache.line, cache.cpus) for cache in found] == [
        (1, 1 << 10, 2, 64, "0"),
        (2, 4 << 10, 4, 64, "0-1"),
        (3, 32 << 20, 16, 64, "0-3"),
    ]


def test_a_machine_that_hides_its_caches_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="describes no cache"):
        reality.host_caches(tmp_path / "cache")


def test_the_model_of_the_processor_and_whether_it_is_virtual() -> None:
    text = "processor\t: 0\nvendor_id\t: X\nmodel name\t: X 1: fast\nflags\t\t: fpu hypervisor\n\nprocessor\t: 1\n"
    assert reality.host_cpu(text) == {"vendor": "X", "model": "X 1: fast", "virtual": "yes"}
    assert reality.host_cpu("Processor\t: other\n") == {"vendor": "unknown", "model": "unknown", "virtual": "not said"}


def test_a_cache_is_divided_by_ways_among_those_who_share_it(tmp_path: Path) -> None:
    l1, l2 = reality.host_caches(sysfs(tmp_path, *SMALL))
    assert reality.part_of(l1, [0, 1]) == l1
    assert reality.part_of(l2, [0, 2]) == l2
    part = reality.part_of(l2, [0, 1])
    assert (part.capacity, part.ways) == (2 << 10, 2)
    assert reality.sharers(dataclasses.replace(l2, cpus="0-3,8"), [1, 3, 4, 8]) == 3
    whole = reality.part_of(dataclasses.replace(l2, ways=0, capacity=3 * 64), [0, 1])
    assert (whole.capacity, whole.ways) == (64, 0)


def test_footprints_and_the_points_that_are_fitted_on() -> None:
    sizes = reality.footprints(4096, 32768)
    assert sizes == [4096, 6144, 8192, 12288, 16384, 24576, 32768]
    # half of 8 KiB, the middle of 8 and 32 KiB in octaves, and four times 32 KiB, which the largest is nearest to
    assert reality.plateaus([8192, 32768], sizes) == [4096, 16384, 32768]


def test_caches_out_of_reach_are_memory_and_no_footprint_comes_near_them(tmp_path: Path) -> None:
    caches = reality.host_caches(sysfs(tmp_path, *SMALL))
    assert reality.in_reach(caches, 16 << 10) == (caches, 16 << 10)
    assert reality.in_reach(caches, 8 << 10) == (caches[:1], 2 << 10)
    with pytest.raises(StudyError, match="--largest '4 KiB' or more"):
        reality.in_reach(caches, 4095)


def test_prediction_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An L1 of 8 sets of 2 and an L2 of 16 sets of 4: 16 and 64 lines. Samples of 48 loads, once round 48 lines."""
    monkeypatch.setattr(reality, "LOADS", 48)
    caches = reality.host_caches(sysfs(tmp_path, *SMALL))
    system = reality.with_latencies(reality.system_of(caches, "X", 1e9), [1.0, 3.5, 50.0])

    def chase(*order: int) -> Any:
        return reality.chase_of(np.array(order, np.uint32), reality.HUGE, 64, 4 << 10).replay(system)

    # 16 lines fit the L1: each load pays 1 ns
    inside = chase(*range(16))
    assert inside.reads() == [1, 0, 0]
    assert reality.nanoseconds(system, inside) == 1.0
    # 48 lines in order, 6 to a set of the L1 that holds 2, come round by LRU only after they left; the L2 holds all
    beyond = chase(*range(48))
    assert beyond.reads() == [1, 1, 0]
    assert reality.nanoseconds(system, beyond) == 4.5
    # from the last line down, the first 16 are in the L1 after reading through: 32 of 48 pay 3.5 ns more
    assert chase(*range(47, -1, -1)).reads() == [1, 32 / 48, 0]
    # 96 lines, 6 to a set of the L2 that holds 4: nothing comes round in time
    memory = reality.stream_of("read", 96 * 64, 64).replay(system)
    assert memory.reads() == [1, 1, 1]
    assert reality.nanoseconds(system, memory) == 54.5


@pytest.mark.parametrize(("vendor", "inclusion"), [("AuthenticAMD", "exclusive"), ("GenuineIntel", "non-inclusive")])
def test_an_l3_holds_what_the_l2_evicted_on_amd_only(tmp_path: Path, vendor: str, inclusion: str) -> None:
    caches = reality.host_caches(sysfs(tmp_path, *SMALL, (3, "Unified", "8K", 4, "0")))
    held = reality.system_of(caches, vendor, 1e9).caches
    assert [held[name].inclusion for name in ("l1", "l2", "l3")] == ["non-inclusive", "non-inclusive", inclusion]


def test_a_copy_loads_and_stores_as_many_lines(tmp_path: Path) -> None:
    system = reality.system_of(reality.host_caches(sysfs(tmp_path, *SMALL)), "X", 1e9)
    held = reality.stream_of("copy", 32 * 64, 64).replay(system)
    assert held.count == 32
    assert (held.caches["l1"]["reads"], held.caches["l1"]["writes"]) == (16, 16)
    assert held.reads() == [1, 1, 0]


def test_latencies_are_those_that_give_what_was_measured() -> None:
    # the third point hits the last cache for a quarter of its loads: 1 + 3 + 10 + 0.75 x 80
    assert reality.fitted([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0.75], [1, 1, 1, 0]], [1, 4, 74, 14]) == pytest.approx(
        [1, 3, 10, 80]
    )


def test_bandwidth_by_littles_law() -> None:
    """Half of the lines wait for the L2 (10 ns over 10 outstanding), a quarter for memory (80 ns over 20)."""
    held = reality.Lookups({"l1": {"reads": 4, "writes": 0}, "l2": {"reads": 2, "writes": 0}}, {"reads": 1}, 4)
    assert reality.bandwidth(64, held, [1.0, 4.0], issue=0.5) == pytest.approx(64e9 / 1.5)
    assert reality.bandwidth(64, held, [1.0, 4.0], issue=2.0) == pytest.approx(32e9)


def test_pages_keep_their_inside_and_lie_apart() -> None:
    offset = np.arange(0, 64 * 4096, 1024, dtype=np.uint64)
    address = reality.scattered(offset, 4096, seed=1)
    assert (address % 4096 == offset % 4096).all()
    frames = (address // 4096).reshape(64, 4)
    assert (frames == frames[:, :1]).all()
    assert len(set(frames[:, 0].tolist())) == 64


def test_without_a_compiler_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DependencyError, match="install a C compiler"), reality.kernels():
        pass


def test_what_measures_nothing_is_refused() -> None:
    for asked, message in {
        "--sweeps 0": "no sweep measures nothing",
        "--threads 0": "0 threads cannot run at once",
        f"--threads {len(reality.processors()) + 1}": "threads cannot run at once here\n  say --threads from 1 to",
        "--largest 4096MB/s": "expected a size",
    }.items():
        with pytest.raises(SystemExit, match=message):
            reality.main(asked.split(" "))


@pytest.mark.skipif(not SHOWN, reason="this machine hides its caches")
def test_footprints_without_a_point_for_the_first_cache_are_refused() -> None:
    with pytest.raises(SystemExit, match="leave no point for the first cache"):
        reality.main(["--smallest", "1GiB"])
    with pytest.raises(SystemExit, match="too small for a first cache"):
        reality.main(["--largest", "4KiB"])


@pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("cc")), reason="there is no C compiler")
@pytest.mark.skipif(not SHOWN, reason="this machine hides its caches")
def test_all_of_it_on_small_footprints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reality, "SAMPLES", 5)
    monkeypatch.setattr(reality, "STREAMS", 5)
    first = reality.host_caches(HERE)[0].capacity
    kept, drawn = tmp_path / "run.json", tmp_path / "run.svg"
    asked = ["--smallest", f"{first // 4} B", "--largest", f"{4 * first} B", "--sweeps", "1", "--json", str(kept)]
    reality.main([*asked, "--figure", str(drawn)])
    printed = capsys.readouterr().out
    run = json.loads(kept.read_text())
    assert drawn.read_bytes().startswith(b"<?xml")
    assert all(row["huge"] > 0 and row["small"] > 0 for row in run["chase"])
    assert all(row["rate"] > 0 for row in run["streams"])
    for row in run["chase"]:  # what was fitted is met, and more than that was predicted
        if row["fitted"]:
            assert row["huge_lru"] == pytest.approx(row["huge"], rel=0.01)
    assert len(run["chase"]) > sum(row["fitted"] for row in run["chase"])
    reality.main(["--from", str(kept)])
    assert capsys.readouterr().out == printed


def test_the_page_shows_the_run_that_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    reality.main(["--from", str(DOCS / "outputs" / "reality.json")])
    page = (DOCS / "explanation" / "against-reality.md").read_text(encoding="utf-8")
    assert f"```text\n{capsys.readouterr().out}```\n" in page


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for text in ("{", "{}", "[1]"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(SystemExit, match=r"run\.json is no run that --json kept"):
            reality.main(["--from", str(tmp_path / "run.json")])
