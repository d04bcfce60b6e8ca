"""Captures of real programs; without valgrind only what is said about its absence."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tiersim._base.errors import CaptureError
from tiersim.cli.capture import capture_command
from tiersim.traces import capture_memory
from tiersim.traces.schema import FETCH

PLAIN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
needs_valgrind = pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")


@needs_valgrind
def test_a_whole_program(tmp_path: Path) -> None:
    trace = capture_memory(["true"], tmp_path / "true.parquet", silent=True)
    assert trace.records > 1000
    assert trace.instructions > trace.records
    assert not trace.has_fetches
    said = trace.provenance
    assert (said["command"], said["stopped_by"], said["exit_code"]) == (["true"], "exit", 0)
    assert said["tracer"].startswith("valgrind-")
    assert len(said["program_sha256"]) == 64
    assert [item.name for item in tmp_path.iterdir()] == ["true.parquet"]


@needs_valgrind
def test_fetches_are_the_same_instructions(tmp_path: Path) -> None:
    plain = capture_memory(["true"], tmp_path / "plain.parquet", environment=PLAIN)
    full = capture_memory(["true"], tmp_path / "full.parquet", environment=PLAIN, fetches=True)
    assert full.kinds["fetch"] == full.instructions == plain.instructions
    assert full.records == plain.records + full.kinds["fetch"]
    chunk = next(full.chunks())
    assert (chunk["gap"] == (chunk["kind"] == FETCH)).all()


@needs_valgrind
def test_a_window(tmp_path: Path) -> None:
    whole = capture_memory(["true"], tmp_path / "whole.parquet", environment=PLAIN)
    seen: list[tuple[int, int | None, str]] = []
    part = capture_memory(
        ["true"],
        tmp_path / "part.parquet",
        environment=PLAIN,
        skip=100,
        limit=1000,
        progress=lambda *said: seen.append(said),
    )
    assert (part.records, part.provenance["stopped_by"]) == (1000, "limit")
    assert seen[-1] == (1000, 1000, "records")
    for chunk, wanted in zip(part.chunks(), whole.chunks(skip=100, limit=1000), strict=True):
        assert (chunk["kind"] == wanted["kind"]).all()
        assert (chunk["gap"] == wanted["gap"]).all()
    assert part.instructions == int(np.sum(next(part.chunks())["gap"]))


@needs_valgrind
def test_time_runs_out(tmp_path: Path) -> None:
    begin = time.monotonic()
    trace = capture_memory(["sleep", "300"], tmp_path / "sleep.parquet", seconds=3)
    assert time.monotonic() - begin < 60
    assert trace.provenance["stopped_by"] == "seconds"
    assert trace.records > 1000


@needs_valgrind
def test_a_program_that_leaves_another_behind_and_fails(tmp_path: Path) -> None:
    begin = time.monotonic()
    trace = capture_memory(["sh", "-c", "sleep 30 & exit 3"], tmp_path / "sh.parquet", silent=True)
    assert time.monotonic() - begin < 25
    assert trace.provenance["exit_code"] == 3


@needs_valgrind
@pytest.mark.parametrize(("program", "told"), [("true", False), ("false", True)])
def test_the_command_says_when_the_program_failed(tmp_path: Path, program: str, told: bool) -> None:
    done = CliRunner().invoke(capture_command, ["memory", "--quiet", "--out", str(tmp_path / "t.parquet"), program])
    assert done.exit_code == 0
    assert ("note: false ended with status 1" in done.output) == told


@needs_valgrind
def test_the_output_of_the_program(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capture_memory(["echo", "hello"], tmp_path / "a.parquet", silent=True)
    assert capfd.readouterr().out == ""
    capture_memory(["echo", "hello"], tmp_path / "a.parquet")
    assert capfd.readouterr().out == "hello\n"


@needs_valgrind
def test_children_are_followed_when_asked(tmp_path: Path) -> None:
    command = ["sh", "-c", "/bin/true; exit 0"]
    alone = capture_memory(command, tmp_path / "alone.parquet", environment=PLAIN)
    family = capture_memory(command, tmp_path / "family.parquet", environment=PLAIN, children=True)
    assert family.records > alone.records + 1000


@needs_valgrind
def test_more_is_skipped_than_there_is(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="true ended before record 1,000,000,000"):
        capture_memory(["true"], tmp_path / "true.parquet", skip=10**9)
    assert not list(tmp_path.iterdir())


@needs_valgrind
def test_a_program_of_another_machine(tmp_path: Path) -> None:
    strange = tmp_path / "strange"
    raw = bytearray(Path("/bin/true").resolve().read_bytes())
    raw[18:20] = b"\xf3\x00"  # the machine in the ELF header: RISC-V
    strange.write_bytes(raw)
    strange.chmod(0o755)
    with pytest.raises(CaptureError, match="before it made one access that could be recorded") as caught:
        capture_memory([str(strange)], tmp_path / "out.parquet", silent=True)
    assert "valgrind --tool=none" in caught.value.remedy
    assert not (tmp_path / "out.parquet").exists()


def test_without_valgrind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "valgrind" else "/bin/true")
    with pytest.raises(CaptureError, match="apt install valgrind"):
        capture_memory(["true"], tmp_path / "true.parquet")


def test_without_a_program(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="there is no program 'no-such-program'"):
        capture_memory(["no-such-program"], tmp_path / "out.parquet")
    with pytest.raises(CaptureError, match="there is no program to capture"):
        capture_memory([], tmp_path / "out.parquet")


def test_the_programs_of_the_captures_compile(tmp_path: Path) -> None:
    from tiersim.traces.captured.make import PROGRAMS

    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    for source in PROGRAMS.glob("*.c"):
        made = tmp_path / source.stem
        flags = ["-O1", "-std=c11", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", *flags, "-o", made, source], check=True)
    graph = subprocess.run([tmp_path / "graph-bfs", "make", "6", "4", "1"], capture_output=True, check=True).stdout
    vertices, edges = np.frombuffer(graph[:16], np.uint64).tolist()
    first = np.frombuffer(graph[16 : 16 + 4 * (vertices + 1)], np.uint32)
    to = np.frombuffer(graph[16 + 4 * (vertices + 1) :], np.uint32)
    assert (vertices, edges, len(to), first[-1]) == (64, 256, 256, 256)
    (tmp_path / "graph.bin").write_bytes(graph)
    ran = subprocess.run([tmp_path / "graph-bfs", "run", tmp_path / "graph.bin"], capture_output=True, check=True)
    root = int(np.argmax(np.diff(first)))
    reached, edge = {root}, [root]
    while edge:
        edge = [int(v) for u in edge for v in to[first[u] : first[u + 1]] if int(v) not in reached]
        edge = list(dict.fromkeys(edge))
        reached |= set(edge)
    assert ran.stdout.decode().startswith(f"{len(reached)} of 64 vertices reached")
    sums = {subprocess.check_output([tmp_path / "random-access", "8", str(n)]) for n in (128, 256, 512)}
    assert len(sums) == 3
