"""Public traces: what the catalogue says of each, and that nothing gets its name unless it is what was published."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tiersim._base.errors import TraceError
from tiersim.cli import main
from tiersim.experiments.catalogue import explain, listing
from tiersim.traces import fetch as module
from tiersim.traces import load_trace, stream_trace
from tiersim.traces.fetch import Public, fetch, find_public, public

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
CONTENT = "".join(f"{key * key % 997}\n" for key in range(40_000)).encode()
PACKED = gzip.compress(CONTENT, mtime=0)


class Server(BaseHTTPRequestHandler):
    """Serves `PACKED`, as `mood` says: whole, cut, wrong, without ranges."""

    mood: ClassVar[str] = "whole"
    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        given = self.headers.get("Range")
        self.asked.append(given)
        body = gzip.compress(b"something else\n") if self.mood == "wrong" else PACKED
        if self.mood == "gone":
            self.send_error(404)
            return
        begin = int(given.removeprefix("bytes=").rstrip("-")) if given and self.mood != "no ranges" else 0
        if begin and begin >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        part = body[begin:]
        self.wfile.write(part[: len(part) // 2] if self.mood == "cut" else part)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests print enough."""


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)


@pytest.fixture
def item(monkeypatch: pytest.MonkeyPatch) -> Iterator[Public]:
    """An entry of the catalogue whose address is a server here."""
    monkeypatch.setattr(Server, "mood", "whole")
    monkeypatch.setattr(Server, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        made = replace(
            find_public("lirs-cs"),
            name="public/ours",
            url=f"http://127.0.0.1:{server.server_port}/ours.trace.gz",
            file="ours.txt",
            packed="ours.txt.xz",
            bytes=len(CONTENT),
            sha256=hashlib.sha256(CONTENT).hexdigest(),
        )
        entries = {**public(), made.name: made}
        monkeypatch.setattr(module, "public", lambda: entries)
        yield made
        server.shutdown()
        thread.join()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_entry_says_what_it_must() -> None:
    assert len(public()) == 64
    for name, entry in public().items():
        assert name.startswith("public/")
        for told in (entry.kind, entry.about, entry.licence, entry.citation, entry.path):
            assert told.strip() == told
            assert told
        assert len(bytes.fromhex(entry.sha256)) == 32
        assert len(bytes.fromhex(entry.commit)) == 20
        owner = entry.repository.removeprefix("https://github.com/")
        raw = f"https://raw.githubusercontent.com/{owner}/{entry.commit}/{entry.path}"
        assert entry.url in (raw, f"https://github.com/{owner}/tree/{entry.commit}/{entry.path}")
        assert entry.url == raw or entry.recipe
    assert len({entry.file for entry in public().values()}) == 64


def test_from_an_address(item: Public, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(item, tmp_path / "to", lambda done, total, unit: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert left(path.parent) == ["ours.txt"]
    assert seen[-1] == (len(PACKED), len(PACKED))
    fetch(item, tmp_path / "to")
    assert Server.asked == [None]  # what is there is not fetched again


def test_a_download_that_breaks_off_goes_on(item: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "mood", "cut")
    with pytest.raises(TraceError, match="broke off") as caught:
        fetch(item, tmp_path)
    assert "goes on where it stopped" in caught.value.remedy
    assert not (tmp_path / "ours.txt").exists()
    monkeypatch.setattr(Server, "mood", "whole")
    assert fetch(item, tmp_path).read_bytes() == CONTENT
    assert Server.asked == [None, f"bytes={len(PACKED) // 2}-"]
    assert ".ours.txt.part" not in left(tmp_path)


def test_a_server_without_ranges_sends_all_again(item: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ours.txt.part").write_bytes(PACKED[:100])
    monkeypatch.setattr(Server, "mood", "no ranges")
    assert fetch(item, tmp_path).read_bytes() == CONTENT


def test_a_download_that_was_complete(item: Public, tmp_path: Path) -> None:
    (tmp_path / ".ours.txt.part").write_bytes(PACKED)
    assert fetch(item, tmp_path).read_bytes() == CONTENT


def test_a_part_of_something_else(item: Public, tmp_path: Path) -> None:
    (tmp_path / ".ours.txt.part").write_bytes(PACKED + b"more")
    with pytest.raises(TraceError, match="416"):
        fetch(item, tmp_path)
    assert fetch(item, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("begun", [b"", b"\0" * 10])
def test_what_is_wrong_gets_no_name(
    begun: bytes, item: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ours.txt.part").write_bytes(begun)
    monkeypatch.setattr(Server, "mood", "wrong")
    with pytest.raises(TraceError, match="is not public/ours: it holds"):
        fetch(item, tmp_path)
    assert left(tmp_path) == []


def test_more_than_was_expected(item: Public, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="it holds more than 10 bytes"):
        fetch(replace(item, bytes=10), tmp_path)
    assert left(tmp_path) == []


def test_no_way_there(item: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "mood", "gone")
    with pytest.raises(TraceError, match="the server says 404"):
        fetch(item, tmp_path)
    with pytest.raises(TraceError, match="cannot be fetched") as caught:
        fetch(replace(item, url="http://127.0.0.1:1/x"), tmp_path)
    assert "see to the network" in caught.value.remedy
    (tmp_path / "file").touch()
    with pytest.raises(TraceError, match="cannot be written"):
        fetch(item, tmp_path / "file" / "to")


def test_another_file_in_its_place(item: Public, tmp_path: Path) -> None:
    (tmp_path / "ours.txt").write_text("mine")
    with pytest.raises(TraceError, match="exists and is something else"):
        fetch(item, tmp_path)
    assert (tmp_path / "ours.txt").read_text() == "mine"
    damaged = fetch(item)
    damaged.write_text("damaged")
    assert fetch(item).read_bytes() == CONTENT  # the cache folder is ours


def test_the_mirror_is_tried_first(item: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    monkeypatch.setenv("TIERSIM_TRACE_MIRROR", str(mirror))
    (mirror / "ours.txt.xz").write_bytes(lzma.compress(CONTENT))
    assert fetch(item, tmp_path / "to").read_bytes() == CONTENT
    assert Server.asked == []
    (mirror / "ours.txt.xz").write_bytes(lzma.compress(CONTENT)[:-100])
    with pytest.raises(TraceError, match="breaks off"):
        fetch(item)
    (mirror / "ours.txt.xz").write_bytes(lzma.compress(CONTENT[1:]))
    with pytest.raises(TraceError, match=r"is not public/ours: it holds 155,\d+ bytes|is not public/ours"):
        fetch(item)
    assert Server.asked == []


def test_what_was_cut_comes_from_a_mirror_only(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="was cut or repacked") as caught:
        fetch(find_public("moe-qwen15-layer00"), tmp_path)
    assert "Logs/moe_layer0.jsonl" in caught.value.remedy


def test_names_are_known_everywhere(item: Public) -> None:
    for name in ("public/arc-oltp", "arc-oltp", "arc_oltp.lis", "arc_oltp.lis.xz"):
        assert find_public(name).name == "public/arc-oltp"
    with pytest.raises(TraceError, match="no public trace") as caught:
        find_public("arc-oltb")
    assert "arc-oltp" in caught.value.remedy
    with pytest.raises(TraceError, match="is not here yet") as caught:
        load_trace("public/ours")
    assert caught.value.remedy == "fetch it: tiersim traces fetch public/ours"
    fetch(item)
    for opened in (load_trace("public/ours"), stream_trace("public/ours")):
        assert sum(len(chunk["id"]) for chunk in opened.chunks()) == 40_000
    assert "public/arc-oltp" in [row["name"] for row in listing("traces")]
    assert "FAST 2003" in explain("public/arc-oltp").text


def test_the_command_line(item: Public, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def cli(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["traces", *arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    status, out, err = cli("fetch", "ours", "--to", str(tmp_path))
    assert status == 0
    assert str(tmp_path / "ours.txt") in out
    assert "fetching public/ours" in err
    status, _, err = cli("fetch", "nonesuch")
    assert (status, err.splitlines()[0]) == (2, "error: the catalogue has no public trace 'nonesuch'")
    status, out, _ = cli("list", "--json")
    rows = json.loads(out)
    assert {row["kind"] for row in rows} >= {"bundled", "generated", "memory accesses"}
    (row,) = [row for row in rows if row["name"] == "public/lirs-cs"]
    assert (row["here"], row["licence"][:10]) == (False, "Apache-2.0")
    status, out, _ = cli("list", "--kind", "generated")
    assert "generated/zipf" in out
    assert "public/" not in out
    assert cli("list", "--kind", "nonesuch")[0] == 2


@pytest.mark.parametrize("name", ["lirs-cs", "azure-llm-2023-conv", "moe-deepseek-v2-lite", "corda-vaultservice"])
def test_the_mirror_holds_what_was_published(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = find_public(name)
    if not (MIRROR / entry.packed).exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    monkeypatch.setenv("TIERSIM_TRACE_MIRROR", str(MIRROR))
    path = fetch(entry, tmp_path)
    assert path.stat().st_size == entry.bytes
    if name == "corda-vaultservice":  # its reader must be told, and the catalogue tells
        assert load_trace(entry.name).records == 135_702
