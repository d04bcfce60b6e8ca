"""Unpacking: found by content, delivered up to a fault, and the fault said."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from functools import cache
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


def large_window(packing: str) -> bytes:
    """A small file that asks for 256 MiB (zstd) or 4 GiB (xz) to be unpacked."""
    if packing == "zstd":  # a frame with one block, which repeats one byte
        return b"\x28\xb5\x2f\xfd\x00" + bytes([18 << 3]) + (3 | 1000 << 3).to_bytes(3, "little") + b"a"
    packed = bytearray(lzma.compress(b"a" * 1000))
    end = 12 + packed[12] * 4  # of the header of the block, before its checksum
    assert packed[14:16] == b"\x21\x01"  # LZMA2, whose one property is the size of the dictionary
    packed[16] = 40
    packed[end : end + 4] = zlib.crc32(packed[12:end]).to_bytes(4, "little")
    return bytes(packed)


RAW = b"".join(b" L %08x,%d\n" % (i * 2654435761 % 2**32, 1 + i % 8) for i in range(30_000))


@cache
def whole(name: str) -> bytes:
    """The text, packed."""
    return PACKERS[name](RAW)


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
    path.write_bytes(whole(name))
    with ByteFile(path) as file:
        assert file.packing == name
        assert len(file.read(size)) == size
    assert drained(path, size) == RAW


@pytest.mark.parametrize("name", PACKERS)
def test_two_streams_in_one_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(whole(name) + whole(name))
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
    packed = whole(name)
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
    packed = bytearray(whole(name))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "trace.pack"
    path.write_bytes(packed)
    with pytest.raises(BrokenStreamError, match=f"the {name} stream is damaged"):
        drained(path)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("more", [b"garbage", b"\n", b"BZh9", b"\xfd7zXZ\x00\x01"])
def test_what_follows_a_stream_is_one_or_wrong(tmp_path: Path, name: str, more: bytes) -> None:
    path = tmp_path / "trace"
    path.write_bytes(whole(name) + more)
    with pytest.raises(BrokenStreamError, match=f"the {name} stream (is damaged|breaks off)"):
        drained(path)


@pytest.mark.parametrize("name", PACKERS)
def test_a_second_stream_that_is_damaged(tmp_path: Path, name: str) -> None:
    packed = bytearray(whole(name))
    packed[2] ^= 1
    path = tmp_path / "trace"
    path.write_bytes(whole(name) + packed)
    with pytest.raises(BrokenStreamError, match=f"the {name} stream is damaged"):
        drained(path)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("zeros", [4, 512, 1 << 17])
def test_zeros_fill_up_a_block(tmp_path: Path, name: str, zeros: int) -> None:
    path = tmp_path / "trace"
    path.write_bytes(whole(name) + bytes(zeros) + whole(name) + bytes(zeros))
    assert drained(path) == RAW + RAW


@pytest.mark.parametrize("name", PACKERS)
def test_streams_of_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(PACKERS[name](b"") * 9 + whole(name) + PACKERS[name](b"") * 9)
    assert drained(path) == RAW
    path.write_bytes(PACKERS[name](b"") * 2)
    assert drained(path) == b""


def test_a_window_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    for packing in ("xz", "zstd"):
        path.write_bytes(large_window(packing))
        with pytest.raises(BrokenStreamError, match=f"the {packing} stream needs more memory") as caught:
            drained(path)
        assert f"{packing} -d" in caught.value.remedy


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
