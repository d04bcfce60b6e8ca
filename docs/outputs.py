"""Makes what the pages quote: runs commands in a scratch folder, keeps their output, and puts it into the pages.

    python docs/outputs.py                 make all outputs and bring the pages up to date
    python docs/outputs.py --check         make them again and compare, with what is kept and what the pages quote
    python docs/outputs.py --check quick   only those that simulate nothing
    python docs/outputs.py --measure       also those that depend on the machine

A page quotes a file of docs/ between two comments: ``<!-- quote: outputs/NAME.txt -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
OUTPUTS = DOCS / "outputs"
EXAMPLES = DOCS / "examples"
LIBRARY = DOCS.parent / "experiments" / "library"
COLUMNS = "100"
QUOTE = re.compile(r"(<!-- quote: (?P<file>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
LANGUAGE = {".txt": "text", ".csv": "text", ".yaml": "yaml", ".py": "python"}

LOOPS = "generated/loop-objects"
ALIKE = "plain_lazy.py:PlainLazy,slow_lazy.py:SlowLazy,lazy.py:Lazy,lazy.py:Lazy(every=1)"
SIZED = "--option size=1KiB --option largest=1MiB"


@dataclass(frozen=True)
class Output:
    """Commands whose output is quoted; `kind` is quick (simulates nothing), exact, or measured (differs by machine)."""

    name: str
    commands: tuple[str, ...]
    kind: str = "exact"
    status: int = 0
    """The exit status of the last command."""
    keep: str = ""
    """A pattern of the one file that the commands make and that the pages show beside the output."""


ALL = [
    Output("demo", ("tiersim run bigger-l2.yaml",)),
    Output("hot-rows", ("tiersim run hot-rows.yaml",)),
    Output(
        "paper",
        (
            "tiersim run hot-rows.yaml > table.txt",
            "tiersim report results/hot-rows --bundle",
            "cat results/hot-rows/paper/tables/variants.tex",
        ),
    ),
    Output(
        "rerun",
        (
            "tiersim run hot-rows.yaml > table.txt",
            "tiersim report results/hot-rows --bundle > written.txt",
            "tiersim rerun results/hot-rows/bundle.zip --quiet",
        ),
    ),
    Output("three-lines", ("tiersim run three-lines.yaml",)),
    Output(
        "figure-tutorial",
        (
            "tiersim run what-matters.yaml > answer.txt",
            "tiersim report results/what-matters --bundle",
            "ls results/what-matters/paper/figures/*page.pdf results/what-matters/paper/tables/*.tex",
        ),
    ),
    Output("slower-memory", ("tiersim run slower-memory.yaml",), keep="results/slower-memory/figures/*.svg"),
    Output(
        "many-factors",
        ("tiersim run many-factors.yaml > table.txt", "tail -3 table.txt"),
        keep="results/many-factors/figures/*latency*.svg",
    ),
    Output("what-matters", ("tiersim run what-matters.yaml",)),
    Output("random-updates", ("tiersim run random-updates.yaml",)),
    Output("turns", ("tiersim run turns.yaml",)),
    Output("page-walkers", ("tiersim run page-walkers.yaml",)),
    Output("real-programs", ("python real_programs.py",), "measured"),  # of what TIERSIM_TRACE_MIRROR has
    Output("small-cluster", ("tiersim run small-cluster.yaml",)),
    Output("which-router", ("tiersim run which-router.yaml",)),
    Output("kv-tiers", ("tiersim run kv-tiers.yaml",), "measured"),  # of what TIERSIM_TRACE_MIRROR has
    Output(
        "disaggregation",
        ("tiersim run disaggregation.yaml",),
        "measured",
        keep="results/disaggregation/figures/goodput*.svg",
    ),
    Output(
        "moe-consistency",
        ("tiersim verify moe-consistency.yaml", "tiersim run moe-consistency.yaml > table.txt"),
        "measured",  # of what TIERSIM_TRACE_MIRROR has
        keep="results/moe-consistency/figures/*what-if.svg",
    ),
    Output(
        "moe-consistency-segments",
        ("tiersim run moe-consistency-segments.yaml",),
        "measured",
        keep="results/moe-consistency-segments/figures/*.svg",
    ),
    Output(  # of what TIERSIM_TRACE_MIRROR has, as the next two
        "moe-offload",
        ("tiersim run moe-offload.yaml --set 'report.metrics=[tokens_per_second, hit_ratio]'",),
        "measured",
        keep="results/moe-offload/figures/*.svg",
    ),
    Output("moe-offload-accuracy", ("tiersim run moe-offload-accuracy.yaml",), "measured"),
    Output("moe-offload-batches", ("tiersim run moe-offload-batches.yaml",), "measured"),
    Output("long-list", ("tiersim run long-list.yaml",)),
    Output("old-truths", ("tiersim verify old-truths.yaml",)),
    Output("explain-claim", ("tiersim explain M14",), "quick"),
    Output("victim-cache", ("tiersim run victim-cache.yaml",)),
    Output("why", ("tiersim replay requests.csv --policy lru --size 1500B --why 7001",)),
    Output("replay", (f"tiersim replay {LOOPS} --policy lru,sieve,s3-fifo --size 1%,10%",)),
    Output(
        "replay-sizes",
        (f"tiersim replay {LOOPS} {SIZED} --policy lru,s3-fifo,gdsf --size 1%,256MiB,1000obj",),
    ),
    Output("replay-no-sizes", (f"tiersim replay {LOOPS} --size 256MiB --quiet",), "quick", 2),
    Output(
        "replay-admission",
        (f"tiersim replay {LOOPS} --policy 'lru,tinylfu+lru,s3-fifo,s3-fifo(small=20%)' --size 1% --no-regret",),
    ),
    Output("replay-windows", (f"tiersim replay {LOOPS} --limit 150000 --policy lru,sieve --size 1% --windows 3",)),
    Output("replay-tenants", (f"tiersim replay {LOOPS} --option tenants=3 --size 1% --quota 0=50%,1=20%",)),
    Output("mrc", ("tiersim mrc generated/zipf-objects --size 0.1%,1%,3%,10%,30%",)),
    Output("mrc-sample", ("tiersim mrc generated/zipf-objects --size 0.1%,1%,3%,10%,30% --sample 5%",)),
    Output("popular-files", ("tiersim run popular-files.yaml",)),
    Output("luck", ("tiersim run better-or-luck.yaml",)),
    Output("luck-sessions", ("tiersim run better-or-luck.yaml --set report.blocks=sessions",)),
    Output("luck-longer", ("tiersim run better-or-luck.yaml --set trace.requests=2M",)),
    Output("luck-seeds", ("tiersim run better-or-luck.yaml --set 'repeat={seeds: 5}'",)),
    Output(
        "own-plain", (f"tiersim replay {LOOPS} --policy plain_lazy.py:PlainLazy,lru,fifo --size 1%,10% --no-regret",)
    ),
    Output(
        "own-same",
        (f"tiersim replay {LOOPS} --limit 20000 --policy '{ALIKE},lru' --size 1%,10% --no-regret",),
    ),
    Output(
        "own-leak",
        (
            "sed 's/leave(spot, x)/pass/' lazy.py > leaky.py",
            f"tiersim replay {LOOPS} --limit 20000 --policy leaky.py:Lazy --size 1% --quiet",
        ),
        status=2,
    ),
    Output("how-fast", ("python how_fast.py",), "measured"),
    Output("ishigami", ("python ishigami.py",)),
    Output("how-sure", ("python how_sure.py",)),
    Output("check", ("tiersim traces check requests.csv",), "quick"),
    Output(
        "check-cut", ("head -c 220 requests.csv > cut.csv", "tiersim traces check cut.csv --quiet"), "quick", status=2
    ),
    Output(
        "check-word",
        ("sed s/,get,/,fetch,/ requests.csv > words.csv", "tiersim traces check words.csv --quiet"),
        status=2,
    ),
    Output(
        "check-twice",
        ("(cat requests.csv; tail -n +2 requests.csv) > twice.csv", "tiersim traces check twice.csv"),
    ),
    Output("info", (f"tiersim traces info {LOOPS}",)),
    Output(
        "convert",
        (
            "tiersim traces convert requests.csv requests.parquet",
            "tiersim traces convert requests.parquet again.csv",
            "head -3 again.csv",
        ),
    ),
    Output("sample", ("tiersim traces sample generated/zipf-objects some.parquet --share 5%",)),
    Output(
        "split",
        (
            "tiersim traces split requests.csv --parts 2 --out 'part-{}.parquet'",
            "tiersim traces merge part-1.parquet part-2.parquet whole.parquet --same-ids",
        ),
    ),
    Output(
        "merge",
        (
            "grep -e time -e ',1$' requests.csv > one.csv",
            "grep -e time -e ',2$' requests.csv > two.csv",
            "tiersim traces merge one.csv two.csv both.csv --quiet",
        ),
        status=2,
    ),
    Output(
        "annotate",
        (
            "grep -v delete requests.csv > kept.csv",
            "tiersim traces annotate kept.csv kept.oracleGeneral",
        ),
    ),
    Output("new", ("tiersim new memory-hierarchy", "cat memory-hierarchy.yaml"), "quick"),
    Output("mistake", ("sed -i s/capacity/capcity/ hot-rows.yaml", "tiersim run hot-rows.yaml"), "quick", 2),
    Output("no-unit", ("tiersim run hot-rows.yaml --set system.caches.l2.capacity=512",), "quick", 2),
    Output("explain", ("tiersim explain caches.l2.conflict_misses",), "quick"),
    Output(
        "old-and-new",
        (
            "tiersim run old-and-new.yaml > table.txt",
            "tiersim diff results/old-and-new:base 'results/old-and-new:the new machine' --plot fall.svg",
        ),
        keep="fall.svg",
    ),
    Output(
        "diff-studies",
        (
            "tiersim run hot-rows.yaml > table.txt",
            "tiersim run hot-rows.yaml --set system.memory.latency=120ns --out results/slower > slower.txt",
            "tiersim diff results/hot-rows results/slower --metric average_access_time",
        ),
    ),
    Output("again", ("tiersim run hot-rows.yaml > first.txt", "tiersim run hot-rows.yaml --dry-run | head -1")),
    Output(
        "capture",
        (
            "seq 1 20000 | shuf --random-source=<(yes) > numbers.txt",
            "time sort --parallel=1 numbers.txt > sorted.txt",
            "time tiersim capture memory --silent --quiet --limit 5M -- sort --parallel=1 numbers.txt",
        ),
        "measured",
    ),
    Output(
        "capture-experts",
        (
            r"printf 'Where do foxes sleep?\nName three rivers.\n' > prompts.txt",
            "tiersim capture moe --random mixtral --prompts prompts.txt --tokens 16 --quiet",
        ),
        "measured",  # of what random weights a version of torch draws
    ),
]


BENCHMARKED = (  # quoted too; made by what the page names, in minutes or hours
    *("dram-speed", "dram-validation", "translation-speed", "translation-length"),
    *("capture-blocks", "capture-cost", "serving-reality", "serving-prediction", "serving-calibration"),
    "serving-speed",
    *(f"victima-{name}" for name in ("verdicts", "means", "shares", "guests-means", "artifact-means")),
    *(f"victima-l2-sizes-{name}" for name in ("verdicts", "means")),
    *(f"dualmap-{name}" for name in ("verdicts", "attainment", "p90", "candidates", "finer-goodput")),
    *(f"dualmap-{name}-attainment" for name in ("clock", "engine", "routers", "stale", "failures", "growing")),
    *("dualmap-growing-hits", "dualmap-sizes-capacity", "dualmap-sizes-hits"),
)


def run(output: Output, folder: Path) -> str:
    """The commands of an output with what they print, as a terminal shows it; messages only where one fails."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": COLUMNS,
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "TIMEFORMAT": "real %1R s",
    }
    lines: list[str] = []
    for command in output.commands:
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != (output.status if command is output.commands[-1] else 0):
            raise SystemExit(f"{output.name}: {command}\n{done.stderr}")
        timed = command.startswith("time ")
        said = done.stdout + (done.stderr if done.returncode or timed else "")
        lines += [f"$ {command}", *(line.rstrip() for line in said.splitlines())]
    return "\n".join(lines).strip() + "\n"


def make(outputs: list[Output]) -> Iterator[tuple[Output, str, bytes | None]]:
    """Each output with its text, and the content of the file that is kept with it."""
    for output in outputs:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "work"
            shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copytree(LIBRARY, folder, dirs_exist_ok=True)
            text = run(output, folder)
            yield output, text, next(folder.glob(output.keep)).read_bytes() if output.keep else None


def pages() -> list[Path]:
    """Every page that may quote."""
    return [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]


def quoted(page: str) -> str:
    """The text of a page with all that it quotes as it is now."""

    def fill(match: re.Match[str]) -> str:
        file = DOCS / match["file"]
        text = file.read_text(encoding="utf-8").rstrip()
        return f"{match[1]}```{LANGUAGE[file.suffix]}\n{text}\n```\n{match[3]}"

    return QUOTE.sub(fill, page)


def check(outputs: list[Output]) -> list[str]:
    """What is not as it would be made now."""
    wrong = []
    for output, text, _ in make(outputs):
        kept = OUTPUTS / f"{output.name}.txt"
        if not kept.exists() or kept.read_text(encoding="utf-8") != text:
            wrong.append(f"{kept.relative_to(DOCS.parent)} is not what its commands print now:\n{text}")
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if quoted(text) != text:
            wrong.append(f"{page.relative_to(DOCS.parent)} does not quote what is kept")
    return wrong


def main() -> None:
    """Make or compare, as the command line says."""
    parser = argparse.ArgumentParser(description="Make what the pages quote.")
    parser.add_argument("--check", nargs="?", const="all", choices=["all", "quick"], help="compare and write nothing")
    parser.add_argument("--measure", action="store_true", help="also make what depends on the machine")
    asked = parser.parse_args()
    if asked.check:
        kinds = ("quick",) if asked.check == "quick" else ("quick", "exact")
        wrong = check([output for output in ALL if output.kind in kinds])
        if wrong:
            raise SystemExit("\n".join([*wrong, "python docs/outputs.py makes them again"]))
        return
    OUTPUTS.mkdir(exist_ok=True)
    for output, text, kept in make([output for output in ALL if asked.measure or output.kind != "measured"]):
        (OUTPUTS / f"{output.name}.txt").write_text(text, encoding="utf-8")
        if kept is not None:
            (OUTPUTS / f"{output.name}.svg").write_bytes(kept)
        print(output.name)
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if quoted(text) != text:
            page.write_text(quoted(text), encoding="utf-8")


if __name__ == "__main__":
    main()
