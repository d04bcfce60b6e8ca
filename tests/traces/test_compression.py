"""Unpacking: found by content, delivered up to a fault, and the fault said."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tiersim._base.errors import TraceError
from tiersim.traces.compression import BrokenStreamError, ByteFile


def zstd(raw: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(raw)
    return bytes(sink.getvalue().to_pybytes())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}
RAW = b"".join(b" L %08x,%d\n" % (i * 2654435761 % 2**32, 1 + i % 8) for i in range(30_000))


def drained(path: Path, size: int = 1 << 20) -> bytes:
    with ByteFile(path) as file:
        parts = list(iter(lambda: file.read(size), b""))
        assert file.offset == sum(map(len, parts))
        assert 0 <= file.position <= path.stat().st_size
    return b"".join(parts)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("size", [1000, 1 << 18])
def test_packed_and_plain_are_the_same(tmp_path: Path, name: str, size: int) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(PACKERS[name](RAW))
    with ByteFile(path) as file:
        assert file.packing == name
        assert len(file.read(size)) == size
    assert drained(path, size) == RAW


@pytest.mark.parametrize("name", PACKERS)
def test_two_streams_in_one_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(PACKERS[name](RAW) + PACKERS[name](RAW))
    assert drained(path) == RAW + RAW


def test_plain(tmp_path: Path) -> None:
    path = tmp_path / "trace.gz"
    path.write_bytes(RAW)
    assert drained(path) == RAW
    path.write_bytes(b"")
    assert drained(path) == b""


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("keep", [0.01, 0.5, 0.9999])
def test_a_file_that_breaks_off(tmp_path: Path, name: str, keep: float) -> None:
    packed = PACKERS[name](RAW)
    path = tmp_path / "trace.pack"
    path.write_bytes(packed[: int(keep * len(packed))])
    got: list[bytes] = []
    with ByteFile(path) as file, pytest.raises(BrokenStreamError) as caught:
        got.extend(iter(lambda: file.read(1 << 20), b""))
    assert RAW.startswith(b"".join(got))
    assert str(caught.value).startswith(
        f"trace.pack: the {name} stream breaks off at byte {sum(map(len, got)):,} of what it holds"
    )
    assert "copy or fetch the file again" in str(caught.value)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_damage(tmp_path: Path, name: str) -> None:
    packed = bytearray(PACKERS[name](RAW))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "trace.pack"
    path.write_bytes(packed)
    with pytest.raises(BrokenStreamError, match=f"the {name} stream is damaged"):
        drained(path)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        ByteFile(tmp_path / "absent")


def test_a_plain_file_delivers_what_comes_before_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace"
    path.write_bytes(RAW)

    class Failing:
        """A disk with a bad block at half a megabyte."""

        def __init__(self) -> None:
            self.at = 0

        def seek(self, to: int) -> None:
            self.at = to

        def read(self, size: int) -> bytes:
            if self.at + size > 1 << 19:
                self.at += 4096
                raise OSError(5, "Input/output error")
            self.at += size
            return RAW[self.at - size : self.at]

        read1 = read

        def close(self) -> None:
            pass

    with ByteFile(path) as file:
        file._raw.close()
        monkeypatch.setattr(file, "_raw", Failing())
        monkeypatch.setattr(file, "_file", file._raw)
        assert file.read(1000) == RAW[:1000]
        assert file.read(1 << 20) == RAW[1000 : 1000 + (1 << 18)]
        with pytest.raises(BrokenStreamError, match=r"trace: the file is damaged \(.*\) at byte 263,144"):
            file.read(1 << 20)
