"""Archives of routed experts: by hand, against numpy, in little memory, and what is said of a wrong one."""

from __future__ import annotations

import io
import itertools
import random
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tiersim._base.errors import TraceError
from tiersim._base.registry import build, load
from tiersim.traces.keys import key_of
from tiersim.traces.ragged import joined
from tiersim.traces.readers import moe_npz
from tiersim.traces.schema import ROUTING

READER = "moe-npz"
EXPERTS = np.array([[[3, 1], [0, 2]], [[2, 3], [1, 0]], [[0, 3], [9, 1]]], np.uint8)


def packed(save: Callable[..., None] = np.savez, /, **changed: Any) -> bytes:
    held: dict[str, Any] = {"experts": EXPERTS, "offsets": np.array([0, 2, 2, 3]), "prompts": np.array(["a", "b", "é"])}
    file = io.BytesIO()
    save(file, **{name: each for name, each in (held | changed).items() if each is not None})
    return file.getvalue()


def zipped(compression: int = zipfile.ZIP_STORED, **changed: bytes) -> bytes:
    """An archive whose members may be any bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed())) as old, zipfile.ZipFile(file, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, changed.get(name.removesuffix(".npy"), old.read(name)))
    return file.getvalue()


def array(text: str, data: bytes = b"", version: int = 1) -> bytes:
    """A member with this header."""
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + data


def read(raw: bytes, **options: Any) -> dict[str, Any]:
    chunks = list(build("reader", {"use": READER, **options}).read(io.BytesIO(raw), "t.npz"))
    for chunk in chunks:
        ROUTING.check(chunk, "t")
    columns = {name: joined([chunk[name] for chunk in chunks]) for name in chunks[0]}
    return {name: [each.tolist() for each in held] for name, held in columns.items()}


BY_HAND = {  # a prompt of two tokens, one without any, one of one token
    "layer": [0, 1, 0, 1, 0, 1],
    "token": [0, 0, 1, 1, 0, 0],
    "experts": [[3, 1], [0, 2], [2, 3], [1, 0], [0, 3], [9, 1]],
    "sequence": [key_of("a")] * 4 + [key_of("é")] * 2,
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_by_hand(save: Callable[..., None]) -> None:
    assert read(packed(save)) == BY_HAND


@pytest.mark.parametrize(
    "changed",
    [{"experts": EXPERTS.astype(kind)} for kind in ("u1", "<u2", ">u2", "<i4", ">i8", "<u8", "i1")]
    + [
        {"offsets": np.array([0, 2, 2, 3], ">u2")},
        {"prompts": np.array(["a", "b", "é"], ">U40")},
        {"prompts": np.array([each.encode() for each in "abé"])},
    ],
)
def test_types_of_numbers_and_text(changed: dict[str, NDArray[Any]]) -> None:
    assert read(packed(**changed)) == BY_HAND


def test_number_of_the_first_layer() -> None:
    assert read(packed(), first_layer=1)["layer"] == [1, 2] * 3


def test_headers_of_other_writers() -> None:
    for version in (1, 2, 3):
        member = array("{'descr':'|u1','fortran_order':False,'shape':(3,2,2)}\n", EXPERTS.tobytes(), version)
        assert read(zipped(experts=member)) == BY_HAND


@given(
    arrays.arrays(np.uint16, st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3)), unique=True),
    st.lists(st.integers(0, 12), max_size=4),
    st.sampled_from([np.savez, np.savez_compressed]),
    st.integers(4, 40),
)
def test_against_numpy(experts: NDArray[np.uint16], cuts: list[int], save: Any, step: int) -> None:
    offsets = np.array([0, *sorted(min(cut, len(experts)) for cut in cuts), len(experts)])
    names = np.array([f"prompt {number}" for number in range(len(offsets) - 1)])
    raw = packed(save, experts=experts, offsets=offsets, prompts=names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moe_npz, "STEP", step)
        found = read(raw)
    rows = zip(*(found[name] for name in ("sequence", "token", "layer", "experts")), strict=True)
    assert list(rows) == [
        (key_of(str(names[prompt])), token, layer, experts[offsets[prompt] + token, layer].tolist())
        for prompt in range(len(names))
        for token in range(offsets[prompt + 1] - offsets[prompt])
        for layer in range(experts.shape[1])
    ]


def test_in_little_memory() -> None:
    tokens = 1 << 19
    experts = np.zeros((tokens, 8, 2), np.uint8)
    experts[:, :, 1] = 1
    raw = packed(np.savez_compressed, experts=experts, offsets=np.array([0, tokens]), prompts=np.array(["a"]))
    records = 0
    tracemalloc.start()
    try:
        for chunk in build("reader", READER).read(io.BytesIO(raw), "t.npz"):
            records += len(chunk["layer"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert records == 8 * tokens
    assert peak < 16 << 20  # the experts alone, two bytes each, are as many


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (packed(experts=None), r"the archive has no experts\.npy, but 'offsets\.npy', 'prompts\.npy'"),
        (packed(prompts=None), r"the archive has no prompts\.npy, but "),
        (packed(prompts=np.array(["a", 5, None], object)), r"prompts\.npy holds Python objects as pickles"),
        (packed(experts=EXPERTS.astype(float)), r"experts\.npy has not whole numbers along 3 axes, in C order: .*<f8"),
        (packed(experts=np.asfortranarray(EXPERTS)), r"experts\.npy has not whole numbers along 3 axes, in C order"),
        (packed(experts=EXPERTS[0]), r"experts\.npy has not whole numbers along 3 axes"),
        (packed(experts=EXPERTS.astype([("a", "u1")])), r"experts\.npy has not whole numbers along 3 axes"),
        (packed(prompts=np.array([1, 2, 3])), r"prompts\.npy has not text along one axis"),
        (packed(prompts=np.array(["a", "b"])), r"prompts\.npy has 2 names, and offsets\.npy is of 3 prompts"),
        (packed(prompts=np.array(["a", "b", "a"])), r"prompts\.npy has a name twice"),
        (packed(offsets=np.array([0, 2, 3])), r"prompts\.npy has 3 names, and offsets\.npy is of 2 prompts"),
        (packed(offsets=np.array([0])), r"offsets\.npy is of 0 prompts"),
        (packed(offsets=np.array([], int)), r"offsets\.npy is of -1 prompts"),
        (packed(offsets=np.array([1, 2, 2, 3])), r"offsets\.npy does not rise from 0 on: entry 0 is 1"),
        (packed(offsets=np.array([0, 2, 1, 3])), r"offsets\.npy does not rise from 0 on: entry 2 is 1"),
        (packed(offsets=np.array([0, 2, 2, 2**63], np.uint64)), r"offsets\.npy does not rise from 0 on: entry 3"),
        (packed(offsets=np.array([0, 2, 2, 4])), r"experts\.npy has 3 tokens, and offsets\.npy ends with 4"),
        (packed(experts=EXPERTS[:, :0]), r"experts\.npy has 0 layers from 0 on and 2 experts"),
        (packed(experts=EXPERTS[:, :, :0]), r"experts\.npy has 2 layers from 0 on and 0 experts"),
        (packed(experts=EXPERTS - np.int32(2)), r"experts\.npy has at token 0 and layer 0 what are not .*: \[1, -1\]"),
        (packed(experts=EXPERTS + np.array([0, 65535])), r"experts\.npy has at token 0 and layer 0 .*: \[3, 65536\]"),
        (packed(experts=EXPERTS // 3), r"experts\.npy has at token 0 and layer 1 what are not different .*: \[0, 0\]"),
        (zipped(experts=b"text"), r"experts\.npy is no array of numpy: 'text'"),
        (zipped(experts=array("{}")), r"experts\.npy has not whole numbers"),
        (zipped(experts=array("x" * 9000, b"", 2)), r"experts\.npy is no array of numpy"),
        (zipped(experts=array("{}", b"", 9)), r"experts\.npy is no array of numpy"),
        (
            zipped(experts=array("{'descr': '|u1', 'fortran_order': False, 'shape': (9000000000000, 26, 6), }", b"12")),
            r"experts\.npy has \d+ bytes, and its header tells of 1,404,000,000,000,0\d\d: ",
        ),
        (
            zipped(experts=array("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 99999, 99999), }")),
            r"experts\.npy has 9,999,800,001 bytes in one entry, and no more than 16,777,216 are read",
        ),
        (
            zipped(prompts=array("{'descr': '<U1', 'fortran_order': False, 'shape': (3,), }", b"\xff" * 12)),
            r"prompts\.npy has text that is none",
        ),
        (zipped(zipfile.ZIP_LZMA), r"offsets\.npy is compressed in a way \(number 14\) that numpy does not use"),
        (packed()[:-9], r"the zip archive breaks off, or is damaged \(File is not a zip file\)"),
        (packed()[:300], r"the zip archive breaks off"),
        (packed().replace(EXPERTS.tobytes(), bytes(reversed(EXPERTS.tobytes()))), r"the zip archive .*Bad CRC-32"),
        (b"\x93NUMPY\x01\x00", r"byte 0 does not begin a zip archive: '\\\\x93NUMPY"),
        (b"", r"byte 0 does not begin a zip archive: ''"),
    ],
)
def test_a_wrong_archive(raw: bytes, message: str) -> None:
    with pytest.raises(TraceError, match=r"^t\.npz: " + message) as caught:
        read(raw)
    assert caught.value.remedy


def test_layers_beyond_the_last_number() -> None:
    assert read(packed(), first_layer=65534)["layer"][:2] == [65534, 65535]
    with pytest.raises(TraceError, match="has 2 layers from 65,535 on"):
        read(packed(), first_layer=65535)


def test_no_room_for_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(TraceError, match=r"t\.npz cannot be put into a temporary file: No space left") as caught:
        read(packed())
    assert "TMPDIR" in caught.value.remedy


def test_the_temporary_file_is_closed_whatever_happens() -> None:
    made: list[Any] = []
    opened = tempfile.TemporaryFile

    def temporary() -> Any:
        made.append(opened())
        return made[-1]

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise TraceError("the stream breaks off", None, "fetch it again")
            return super().read(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", temporary)
        for stream in (io.BytesIO(packed()), io.BytesIO(packed()[:-9]), Broken(packed())):
            for end in (1, 99):  # after the first chunk, or all of them
                with suppress(TraceError):
                    chunks = build("reader", READER).read(stream, "t.npz")
                    list(itertools.islice(chunks, end))
                chunks.close()
                stream.seek(0)
    assert [file.closed for file in made] == [True] * 6


@settings(deadline=None, max_examples=300)
@given(st.booleans(), st.integers(0, 2**32), st.integers(1, 8))
def test_changed_bytes(small: bool, seed: int, changes: int) -> None:
    draw = random.Random(seed)
    raw = bytearray(packed(np.savez_compressed if small else np.savez))
    for _ in range(changes):
        at = draw.randrange(len(raw))
        raw[at : at + draw.randrange(3)] = draw.choice([draw.randbytes(1), b"", b"\xff", b"\0"])
    try:
        made = read(bytes(raw))
    except TraceError as error:
        message, remedy = error.message, error.remedy
    else:
        assert made == BY_HAND  # a sum over the bytes stands in the archive
        return
    assert message.startswith("t.npz: ")
    assert message.isprintable()
    assert len(message) < 300
    assert remedy


@pytest.mark.parametrize(
    ("head", "right"),
    [
        (packed(), True),
        (packed(np.savez_compressed), True),
        (packed(experts=None)[:60], True),
        (packed(np.savez, first=np.zeros(1), experts=None, offsets=None, prompts=None), False),
        (b"PK\x03\x04", False),
        (b"", False),
    ],
)
def test_recognition(head: bytes, right: bool) -> None:
    assert load("reader", READER).recognise(head, "t") is right
