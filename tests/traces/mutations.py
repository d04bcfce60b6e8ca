"""Files that are nearly right: what a fuzzer makes of valid ones."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow as pa

__all__ = ["CHANGES", "PACKERS", "damaged", "mutated", "nested"]

Change = Callable[[Random, bytes], bytes]
LARGEST = 1 << 16  # bytes of a mutated file: what is found in larger ones is found in these, and sooner

NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
WORD = re.compile(rb"[^\s,;|:\"{}\[\]]+")
BITS = (7, 8, 15, 16, 24, 31, 32, 52, 53, 62, 63, 64, 80)
ODD_NUMBERS = b"""0 -0 +0 +1 -1 00 007 1. .5 1.5 -0.0 0.1 1e3 1E+3 1e-3 1e18 1e19 1e30 1e308 1e309 1e400 -1e400 1e-400
4.9e-324 1e99999999 NaN nan -nan Infinity inf -inf null true 0x 0x10 0b1 0o7 1_000 1,000 9999999999999"""
NUMBERS = [
    *(str(2**bits + more).encode() for bits in BITS for more in (-1, 0, 1)),
    *(f"-{2**bits + more}".encode() for bits in (31, 63) for more in (-1, 0, 1)),
    *ODD_NUMBERS.split(),
    "\u0663".encode(),  # a digit, not of ASCII
    "\u00b2".encode(),  # a digit that is no decimal
    b"9" * 20,
    b"1" + b"0" * 40,
    b"0" * 40 + b"1",
    b"0." + b"3" * 60,
    b"7" * 4301,  # more digits than Python turns into a number
    b"0." + b"7" * 5000,
]
ODD_WORDS = b"""get set delete read write R W LD ST I L S M * # - _ . / \\ 0xg null None nan true {} [] "" '' == % $"""
WORDS = [
    *ODD_WORDS.split(),
    b"",
    b" ",
    b'"',
    b'"a,b"',
    b'"a\nb"',
    b"a" * 300,
    b"x" * 9000,
    "\u00e4\u20ac\U0001f600".encode(),
]
BROKEN = [b"\x00", b"\xff", b"\xfe\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\x80", b"\x1a"]
BLANKS = [b" ", b"\t", b"  ", b"\n", b"\r", b"\r\n", b"\x0b", b"\x0c", b"\xc2\xa0", b"\xe2\x80\xa8", b"\x85"]
DELIMITERS = [b",", b";", b"\t", b" ", b"|", b":"]
LEAVES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 10**40, 0.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", "a", "\x00", "\ud800", "\U0001f600", "1", "-1", "1e5", "local", "{1: 0.5}"),
    *("x" * 3000, [], {}, [[]], [{}], [0] * 50, [-1], [2**64], [1.5], ["1"], [None], {"": {}}, {"a": [1]}),
]


def mutated(draw: Random, seeds: list[bytes], others: list[bytes]) -> bytes:
    """One of these valid files with one change or some; ``others`` are valid files of other formats, for splices."""
    raw = draw.choice(seeds)
    if draw.random() < 0.2:
        raw *= draw.randrange(2, 5)
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        if draw.random() < 0.03:
            raw = _spliced(draw, raw, draw.choice(others))
        else:
            raw = draw.choice(CHANGES)(draw, raw)
        raw = raw[:LARGEST]
    return raw


def _span(draw: Random, raw: bytes, longest: int) -> tuple[int, int]:
    """Where something begins and ends that has at most so many bytes."""
    start = draw.randrange(len(raw) + 1)
    return start, min(len(raw), start + draw.randrange(longest + 1))


def _spliced(draw: Random, raw: bytes, other: bytes) -> bytes:
    start, end = _span(draw, raw, 40)
    begin, stop = _span(draw, other, 400)
    return raw[:start] + other[begin:stop] + raw[end:]


# Bytes


def flip_bits(draw: Random, raw: bytes) -> bytes:
    held = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 4, 20)) if raw else 0):
        held[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    return bytes(held)


def set_bytes(draw: Random, raw: bytes) -> bytes:
    start, end = _span(draw, raw, 4)
    return raw[:start] + draw.randbytes(end - start) + raw[end:]


def insert(draw: Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw) + 1)
    what = draw.choice((BROKEN, BLANKS, DELIMITERS, WORDS, NUMBERS))
    return raw[:at] + draw.choice(what) + raw[at:]


def remove(draw: Random, raw: bytes) -> bytes:
    start, end = _span(draw, raw, draw.choice((1, 8, 300)))
    return raw[:start] + raw[end:]


def cut(draw: Random, raw: bytes) -> bytes:
    return raw[: draw.randrange(len(raw) + 1)]


def behead(draw: Random, raw: bytes) -> bytes:
    return raw[draw.randrange(min(len(raw), 200) + 1) :]


def repeat(draw: Random, raw: bytes) -> bytes:
    start, end = _span(draw, raw, draw.choice((1, 8, 100)))
    return raw[:end] + raw[start:end] * draw.choice((1, 2, 30, 700)) + raw[end:]


def move(draw: Random, raw: bytes) -> bytes:
    start, end = _span(draw, raw, 60)
    rest = raw[:start] + raw[end:]
    at = draw.randrange(len(rest) + 1)
    return rest[:at] + raw[start:end] + rest[at:]


def set_word(draw: Random, raw: bytes) -> bytes:
    """Write an extreme number in binary at an aligned place."""
    width = draw.choice((2, 4, 8))
    if len(raw) < width:
        return raw
    at = draw.randrange(len(raw) // width) * width
    value = draw.choice((0, 1, 1 << 7, 1 << (width * 8 - 1), (1 << (width * 8 - 1)) - 1, (1 << (width * 8)) - 1))
    return raw[:at] + value.to_bytes(width, draw.choice(("little", "big"))) + raw[at + width :]


# Text


def other_number(draw: Random, raw: bytes) -> bytes:
    return _instead(draw, raw, NUMBER, NUMBERS)


def other_word(draw: Random, raw: bytes) -> bytes:
    return _instead(draw, raw, WORD, draw.choice((WORDS, NUMBERS, BROKEN)))


def _instead(draw: Random, raw: bytes, what: re.Pattern[bytes], new: list[bytes]) -> bytes:
    """Another text at one of the places where the pattern is found."""
    found = what.search(raw, draw.randrange(len(raw) + 1)) or what.search(raw)
    return raw[: found.start()] + draw.choice(new) + raw[found.end() :] if found else raw


def change_lines(draw: Random, raw: bytes) -> bytes:
    """Lines doubled, left out, exchanged, joined, or blank."""
    lines = raw.split(b"\n")
    one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
    how = draw.randrange(6)
    if how == 0:
        lines[one:one] = [lines[two]] * draw.choice((1, 1, 40))
    elif how == 1:
        del lines[one]
    elif how == 2:
        lines[one], lines[two] = lines[two], lines[one]
    elif how == 3:
        lines[one : one + 2] = [b"".join(lines[one : one + 2])]
    elif how == 4:
        lines[one:one] = [draw.choice((b"", b" ", b"\t", b"\r", b"#", b"*"))] * draw.choice((1, 1, 40))
    else:
        lines[one] = lines[one][: draw.randrange(len(lines[one]) + 1)]
    return b"\n".join(lines)


def change_fields(draw: Random, raw: bytes) -> bytes:
    """Fields of a line doubled, left out or exchanged; or of every line."""
    delimiter = draw.choice([each for each in DELIMITERS if each in raw] or [b","])
    lines = raw.split(b"\n")
    at, other, how = draw.randrange(30), draw.randrange(30), draw.randrange(3)
    chosen = range(len(lines)) if draw.random() < 0.3 else [draw.randrange(len(lines))]
    for number in chosen:
        fields = lines[number].split(delimiter)
        one, two = at % len(fields), other % len(fields)
        if how == 0:
            fields.insert(one, fields[two])
        elif how == 1:
            del fields[one]
        else:
            fields[one], fields[two] = fields[two], fields[one]
        lines[number] = delimiter.join(fields)
    return b"\n".join(lines)


def swap_delimiters(draw: Random, raw: bytes) -> bytes:
    old, new = draw.sample(DELIMITERS, 2)
    return raw.replace(old, new, draw.choice((1, 3, -1)))


def other_line_ends(draw: Random, raw: bytes) -> bytes:
    return raw.replace(
        b"\n", draw.choice((b"\r\n", b"\r", b"\n\r", b"\n\n", b"\x00\n", b" \n", b"")), draw.choice((1, -1))
    )


def other_encoding(draw: Random, raw: bytes) -> bytes:
    text = raw.decode("latin-1")
    return draw.choice(
        (
            lambda: b"\xef\xbb\xbf" + raw,
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-16-be"),
            lambda: text.encode("utf-8-sig"),
            lambda: raw.upper(),
            lambda: raw.lower(),
            lambda: raw.replace(b'"', b"'"),
        )
    )()


# JSON


def change_json(draw: Random, raw: bytes) -> bytes:
    """One value of a line, or of a whole file, that is JSON: another, one more, none, or deeply nested."""
    lines = raw.split(b"\n")
    number = draw.randrange(len(lines))
    for text, before, after in (
        (lines[number], lines[:number], lines[number + 1 :]),
        (raw, [], []),
    ):
        try:
            held = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(held, dict | list):
            return b"\n".join([*before, _other_json(draw, held), *after])
    return other_word(draw, raw)


def _other_json(draw: Random, held: Any) -> bytes:
    places = list(_places(held))
    mark = f"mark{draw.randrange(1 << 30)}"
    if not places:
        return json.dumps(draw.choice(LEAVES)).encode()
    inside, key = draw.choice(places)
    how = draw.randrange(8)
    raw = b""
    if how < 3:
        inside[key] = draw.choice(LEAVES)
    elif how == 3:
        del inside[key]
    elif how == 4:
        inside[key] = draw.choice(([inside[key]], {"a": inside[key]}, str(inside[key]), [inside[key]] * 3))
    elif how == 5 and isinstance(inside, list):
        inside.insert(key, draw.choice([*LEAVES, inside[key]]))
    else:
        old, inside[key] = inside[key], mark
        text = json.dumps(old)
        raw = draw.choice(
            (
                b"[" * 60_000,
                b"[" * 30_000 + b"]" * 30_000,
                b'{"a":' * 5000 + b"1" + b"}" * 5000,
                draw.choice(NUMBERS),
                f"{text}, {json.dumps(key)}: {draw.choice((text, '1'))}".encode(),  # the same key twice
                text.encode() + b",",
            )
        )
    return (
        json.dumps(held, ensure_ascii=draw.random() < 0.9)
        .encode("utf-8", "surrogatepass")
        .replace(f'"{mark}"'.encode(), raw)
    )


def _places(held: Any) -> Any:
    """Every place in a tree of JSON that has a value: what it is in, and under which key."""
    todo = [held]
    while todo:
        inside = todo.pop()
        for key, value in list(inside.items() if isinstance(inside, dict) else enumerate(inside)):
            yield inside, key
            if isinstance(value, dict | list):
                todo.append(value)


CHANGES: list[Change] = [
    *(flip_bits, set_bytes, insert, remove, cut, behead, repeat, move, set_word),
    *(other_number, other_number, other_number, other_word, change_lines, change_lines, change_fields, change_fields),
    *(swap_delimiters, other_line_ends, other_encoding, change_json, change_json, change_json),
]

# Packing


def zstd(raw: bytes) -> bytes:
    """The bytes as one frame of zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(raw)
    return bytes(sink.getvalue())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda raw: gzip.compress(raw, 1),
    "bzip2": lambda raw: bz2.compress(raw, 1),
    "xz": lambda raw: lzma.compress(raw, preset=0),
    "zstd": zstd,
}


def nested(draw: Random, raw: bytes) -> bytes:
    """Packed two or three times."""
    for _ in range(draw.randrange(2, 4)):
        raw = draw.choice(list(PACKERS.values()))(raw)
    return raw


def damaged(draw: Random, raw: bytes) -> bytes:
    """A packed file that is cut, changed, or goes on with something else."""
    other = draw.choice(list(PACKERS.values()))
    changes: list[Change] = [flip_bits, set_bytes, remove, cut, repeat, move, insert, set_word]
    return draw.choice(
        (
            lambda: draw.choice(changes)(draw, raw),
            lambda: raw + draw.choice((b"\x00", bytes(4), bytes(512), b"\n", b"garbage", draw.randbytes(30))),
            lambda: raw + flip_bits(draw, raw),
            lambda: raw + other(b"7\n"),
            lambda: other(b"") + raw,
            lambda: raw + raw[: draw.randrange(20)],
        )
    )()
