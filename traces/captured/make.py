"""Make the bundled captures again: ``python -m tiersim.traces.captured.make [--write]``.

Says for each whether its bytes are those of the catalogue. They are when the programs, valgrind, the C library and
pyarrow are the same; with others the traces are of the same kind, and differ. ``--write`` puts what was made in the
place of what is bundled. Needs valgrind, gcc, sqlite3 and coreutils, and about five minutes.
"""

from __future__ import annotations

import json
import random
import shlex
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tiersim._base.errors import CaptureError
from tiersim.traces.capture import capture_memory
from tiersim.traces.catalogue import BUNDLED, Bundled, bundled
from tiersim.traces.store import sha256_of

PROGRAMS = Path(__file__).parents[1] / "programs"
ENVIRONMENT = {"HOME": "/nonexistent", "LC_ALL": "C", "PATH": "/usr/bin:/bin"}  # lies on the stack: part of the recipe
LEVEL = 19  # slow to pack, as fast as any to unpack
LICENCE = "CC0-1.0"
QUERY = (
    "PRAGMA cache_size = -16000; SELECT b.low, count(*), sum(o.amount), max(c.region) FROM bands b "
    "CROSS JOIN orders o ON o.amount BETWEEN b.low AND b.high JOIN customers c ON c.id = o.customer GROUP BY b.low"
)


@dataclass(frozen=True)
class Recipe:
    """How one capture is made: shell lines or a function first, then the traced program in the same folder."""

    name: str
    about: str
    before: tuple[str | Callable[[Path], None], ...]
    command: tuple[str, ...]
    limit: int
    skip: int = 0
    fetches: bool = False

    def text(self) -> str:
        """The recipe in words."""
        steps = [step if isinstance(step, str) else (step.__doc__ or "").strip() for step in self.before]
        window = f"records {self.skip:,} to {self.skip + self.limit - 1:,} at most, zstd level {LEVEL}"
        kept = "with fetches, " if self.fetches else ""
        return "; ".join([*steps, f"capture {shlex.join(self.command)} ({kept}{window})"])


def words(folder: Path) -> None:
    """words.txt: 20,000 lines of five words out of 2,000, from Python's random.Random(1)"""
    dice = random.Random(1)
    known = ["".join(dice.choice(string.ascii_lowercase) for _ in range(dice.randint(2, 9))) for _ in range(2000)]
    lines = [" ".join(dice.choice(known) for _ in range(5)) for _ in range(20_000)]
    (folder / "words.txt").write_text("\n".join(lines) + "\n", encoding="ascii")


# Every capture skips the start of its program: the dynamic linker makes a few look-ups by random bytes there.
RECIPES = (
    Recipe(
        "captured/sort",
        "GNU sort on a text file: reading it and beginning to sort, with every instruction fetch",
        (words,),
        ("sort", "--parallel=1", "--buffer-size=8M", "words.txt"),
        skip=200_000,
        limit=3_000_000,
        fetches=True,
    ),
    Recipe(
        "captured/sqlite-query",
        "the SQLite shell: a range join that scans 1.3 MB of orders once for each group, with look-ups by key",
        ("sqlite3 shop.db < shop.sql",),
        ("sqlite3", "-readonly", "shop.db", QUERY),
        skip=1_000_000,
        limit=5_000_000,
    ),
    Recipe(
        "captured/graph-bfs",
        "breadth-first search of a Kronecker graph of 64 Ki vertices (4 MiB) and 512 Ki edges (2 MiB)",
        ("gcc -O1 -std=c11 -no-pie -fno-pie -o graph-bfs graph-bfs.c", "./graph-bfs make 16 8 1 > graph.bin"),
        ("./graph-bfs", "run", "graph.bin"),
        skip=40_000,
        limit=900_000,
    ),
    Recipe(
        "captured/random-access",
        "random updates of a table of 8 MiB, after the RandomAccess benchmark of the HPC Challenge (GUPS)",
        ("gcc -O1 -std=c11 -no-pie -fno-pie -o random-access random-access.c",),
        ("./random-access", "20", "320000"),
        skip=30_000,
        limit=1_000_000,
    ),
)


def make(recipe: Recipe, folder: Path) -> tuple[Bundled, Path]:
    """The entry for the catalogue and the file. Raises CaptureError when a step fails."""
    for step in recipe.before:
        if callable(step):
            step(folder)
        elif subprocess.run(step, shell=True, cwd=folder, check=False).returncode:
            raise CaptureError(f"{recipe.name}: this failed: {step}", None, "apt install gcc libc6-dev sqlite3")
    out = folder / f"{recipe.name.removeprefix('captured/')}.parquet"
    trace = capture_memory(
        list(recipe.command),
        out,
        fetches=recipe.fetches,
        skip=recipe.skip,
        limit=recipe.limit,
        silent=True,
        environment=ENVIRONMENT,
        folder=folder,
        level=LEVEL,
    )
    entry = Bundled(
        name=recipe.name,
        file=out.name,
        sha256=sha256_of(out),
        records=trace.records,
        instructions=trace.instructions,
        about=recipe.about,
        recipe=recipe.text(),
        licence=LICENCE,
    )
    return entry, out


def main(words: list[str]) -> int:
    """Make them all; 0 if each has the bytes of the catalogue or was written to it."""
    write = "--write" in words
    made: list[Bundled] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in PROGRAMS.iterdir():
            shutil.copy(source, folder)
        for recipe in RECIPES:
            entry, file = make(recipe, folder)
            made.append(entry)
            known = bundled().get(entry.name)
            same = known is not None and known.sha256 == entry.sha256
            print(f"{entry.name}: {file.stat().st_size:,} bytes, {'equal' if same else 'different'}", flush=True)
            if write:
                shutil.copy(file, BUNDLED / entry.file)
    equal = all(entry == bundled().get(entry.name) for entry in made)
    if write:
        text = json.dumps([asdict(entry) for entry in made], indent=2) + "\n"
        (BUNDLED / "catalog.json").write_text(text, encoding="utf-8")
    return 0 if equal or write else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
