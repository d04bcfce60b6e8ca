"""The engine against Valgrind's cachegrind: every miss of I1, D1 and LL of a real program, exactly.

Cachegrind has no write-backs: a write is a read to it. Our write-back D1 with `write_allocate` misses alike. Its
write-backs reach the LL, where one that hits is no use and moves nothing. One that misses must not bring its line in,
so the LL has no `write_allocate`. No other write reaches the LL, which then holds what cachegrind's holds.

Two runs under two tools must do the same accesses, and both must lie inside a line for both tools to count them alike:
workload.c sees to the first, aligned data and the assembler's bundles to the second, and the test checks both.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.oracles.hierarchy import Reference
from tiersim.models.caches import simulate_lines

LINE = 64
WORKLOAD = Path(__file__).parents[1] / "oracles" / "workload.c"
COMPILE = (
    "gcc -S -O2 -ffreestanding -fno-pie -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables"
    " -mgeneral-regs-only -fno-tree-loop-distribute-patterns -falign-functions=512"
)
LINK = "gcc -nostdlib -static -no-pie"

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the workload is written for x86-64"),
    pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed"),
]


class Geometry(NamedTuple):
    """Bytes and ways of I1, D1 and LL."""

    i1: tuple[int, int]
    d1: tuple[int, int]
    ll: tuple[int, int]


GEOMETRIES = {
    "direct-mapped I1": Geometry((256, 1), (1024, 2), (8192, 4)),
    "like a small core": Geometry((512, 2), (4096, 4), (32768, 8)),
    "direct-mapped D1": Geometry((256, 4), (2048, 1), (65536, 16)),
    "LL no larger than D1": Geometry((256, 2), (4096, 8), (4096, 1)),
}


class Run(NamedTuple):
    program: Path
    seen: Counter[str]
    """Accesses by lackey's letter: I, L, S, M."""
    references: list[Reference]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("cachegrind")
    source, program, log = folder / "workload.s", folder / "workload", folder / "accesses"
    subprocess.run([*COMPILE.split(), "-o", source, WORKLOAD], check=True)
    source.write_text(".bundle_align_mode 5\n" + source.read_text())  # no instruction crosses 32 bytes, so no line
    subprocess.run([*LINK.split(), "-o", program, source], check=True)
    valgrind("lackey", program, f"--log-file={log}", "--trace-mem=yes")
    records = list(accesses(log))
    return Run(program, Counter(kind for kind, _ in records), list(references(records)))


def valgrind(tool: str, program: Path, *options: str) -> None:
    subprocess.run(["valgrind", f"--tool={tool}", *options, program], check=True, timeout=300)


def accesses(log: Path) -> Iterator[tuple[str, int]]:
    with log.open() as lines:
        for text in lines:
            if text[0] == "I" or text[0] == " ":  # all else is Valgrind's own talk
                kind, place = text.split()
                address, size = place.split(",")
                start = int(address, 16)
                assert start % LINE + int(size) <= LINE, f"{text.strip()} crosses a line"
                yield kind, start // LINE


def cachegrind(program: Path, geometry: Geometry, folder: Path) -> dict[str, int]:
    sizes = [f"--{name.upper()}={size},{ways},{LINE}" for name, (size, ways) in geometry._asdict().items()]
    out = folder / "cachegrind.out"
    quiet = f"--log-file={folder / 'log'}"
    valgrind("cachegrind", program, quiet, "--cache-sim=yes", f"--cachegrind-out-file={out}", *sizes)
    rows = dict(row.split(":", 1) for row in out.read_text().splitlines() if row.startswith(("events:", "summary:")))
    return dict(zip(rows["events"].split(), map(int, rows["summary"].split()), strict=True))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_miss(name: str, run: Run, tmp_path: Path) -> None:
    geometry = GEOMETRIES[name]
    theirs = cachegrind(run.program, geometry, tmp_path)
    seen = (run.seen["I"], run.seen["L"] + run.seen["M"], run.seen["S"])
    assert seen == (theirs["Ir"], theirs["Dr"], theirs["Dw"]), "the two tools have not seen the same program"

    def cache(size_and_ways: tuple[int, int], **rest: object) -> dict[str, object]:
        size, ways = size_and_ways
        return {"sets": size // LINE // ways, "ways": ways, "policy": "lru", **rest}

    graph = {
        "i1": cache(geometry.i1, below="ll", serves="instructions"),
        "d1": cache(geometry.d1, below="ll", serves="data"),
        "ll": cache(geometry.ll, below="memory", write_allocate=False),
    }
    ours = simulate_lines(graph, run.references, engine="compiled").counters
    assert ours["i1"]["read_misses"] == theirs["I1mr"]
    assert ours["d1"]["read_misses"] == theirs["D1mr"]
    assert ours["d1"]["write_misses"] == theirs["D1mw"]
    assert ours["ll"]["reads"] == theirs["I1mr"] + theirs["D1mr"] + theirs["D1mw"]
    assert ours["ll"]["read_misses"] == theirs["ILmr"] + theirs["DLmr"] + theirs["DLmw"]
    assert theirs["I1mr"] > theirs["ILmr"] > 0  # it was worth comparing
    assert theirs["D1mr"] > theirs["DLmr"] > 0


def references(records: list[tuple[str, int]]) -> Iterator[Reference]:
    for kind, line in records:
        if kind == "I":
            yield "fetch", line
        elif kind != "S":
            yield "load", line
        if kind in ("S", "M"):
            yield "store", line
