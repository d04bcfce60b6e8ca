"""Quantities: what is read, what is refused and in which words, and that nothing is lost on the way back."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import StudyError, UnitError
from tiersim._base.units import DIMENSIONS, ITEMS, Quantity, describe, parse, show

READ = [
    ("80 GiB", "bytes", 80 * 2**30),
    ("80GiB", "bytes", 80 * 2**30),
    (" 80  GiB ", "bytes", 80 * 2**30),
    ("1.5 KiB", "bytes", 1536),
    ("64 kB", "bytes", 64_000),
    ("3 MB", "bytes", 3 * 10**6),
    ("4 GB", "bytes", 4 * 10**9),
    ("1.25 TB", "bytes", 1_250_000_000_000),
    ("1 PB", "bytes", 10**15),
    ("2 MiB", "bytes", 2**21),
    ("1 TiB", "bytes", 2**40),
    ("1 PiB", "bytes", 2**50),
    ("0 B", "bytes", 0),
    (".5 KiB", "bytes", 512),
    ("1_000 B", "bytes", 1000),
    ("+7 B", "bytes", 7),
    ("3.35 TB/s", "bandwidth", 3_350_000_000_000),
    ("100 Gb/s", "bandwidth", 12_500_000_000),
    ("80 Mb/s", "bandwidth", 10_000_000),
    ("80 MB/s", "bandwidth", 80_000_000),
    ("8 b/s", "bandwidth", 1),
    ("40 GB / s", "bandwidth", 40 * 10**9),
    ("2 GiB/s", "bandwidth", 2**31),
    ("7 ps", "time", 7),
    ("90 ns", "time", 90_000),
    ("0.3 ns", "time", 300),
    ("160 us", "time", 160 * 10**6),
    ("160 µs", "time", 160 * 10**6),
    ("160 \u03bcs", "time", 160 * 10**6),
    ("5 ms", "time", 5 * 10**9),
    ("5 s", "time", 5 * 10**12),
    ("2 min", "time", 120 * 10**12),
    ("1.5 h", "time", 5400 * 10**12),
    ("12 cycles", "cycles", 12),
    ("1 cycle", "cycles", 1),
    ("3.2 GHz", "frequency", 3_200_000_000),
    ("800 MHz", "frequency", 800_000_000),
    ("50 Hz", "frequency", 50),
    ("64 Ki", "count", 65536),
    ("64Ki", "count", 65536),
    ("5M", "count", 5_000_000),
    ("300k", "count", 300_000),
    ("1 Mi tokens", "count", 2**20),
    ("20480 tokens", "count", 20480),
    ("1 token", "count", 1),
    ("64 Ki entries", "count", 65536),
    ("3 accesses", "count", 3),
    ("2 queries", "count", 2),
    ("1000obj", "count", 1000),
    ("1.5k", "count", 1500),
    ("32", "count", 32),
    ("1_000", "count", 1000),
    (32, "count", 32),
    (32.0, "count", 32),
    ("4 /s", "rate", 4 * 10**9),
    ("6.25 /s", "rate", 6_250_000_000),
    ("6.25/s", "rate", 6_250_000_000),
    ("4 requests/s", "rate", 4 * 10**9),
    ("4 requests per s", "rate", 4 * 10**9),
    ("2k /s", "rate", 2000 * 10**9),
    ("3 /min", "rate", 50_000_000),
    ("9 /h", "rate", 2_500_000),
    ("160 us/token", "time_per_item", 160 * 10**6),
    ("160 us per token", "time_per_item", 160 * 10**6),
    ("12 per layer", "count_per_item", 12),
    ("2 Ki per layer", "count_per_item", 2048),
    ("12/layer", "count_per_item", 12),
    ("7.4 %", "ratio", 74_000_000),
    ("7.4%", "ratio", 74_000_000),
    ("0.074", "ratio", 74_000_000),
    (0.074, "ratio", 74_000_000),
    (1e-5, "ratio", 10_000),
    (1, "ratio", 10**9),
    ("10 %", "ratio", 10**8),
    ("700 W", "power", 700_000),
    ("1.2 kW", "power", 1_200_000),
    ("50 mW", "power", 50),
    ("5 points", "points", 50_000_000),
    ("0.5 points", "points", 5_000_000),
    ("1 point", "points", 10_000_000),
]


@pytest.mark.parametrize(("value", "dimension", "amount"), READ)
def test_it_reads(value: Any, dimension: str, amount: int) -> None:
    found = parse(value, dimension)
    assert (found.amount, found.dimension) == (amount, dimension)
    assert type(found.amount) is int
    assert parse(str(found), dimension) == found


def test_every_dimension_and_its_example_are_read() -> None:
    assert {dimension for _, dimension, _ in READ} == set(DIMENSIONS)
    for name, kind in DIMENSIONS.items():
        assert parse(kind.example, name).dimension == name


# `...` stands for what is expected, such as "expected a size such as 80 GiB"
REFUSED = [
    # a wrong dimension
    ("90 ns", "bytes", "'90 ns' is a time; ..."),
    ("100 GB", "bandwidth", "'100 GB' is a size; ..."),
    ("12 cycles", "time", "'12 cycles' is a number of cycles; ..."),
    ("5 %", "points", "'5 %' is a share; ..."),
    ("12 layers", "count_per_item", "'12 layers' is a count; ..."),
    ("64 Ki", "bytes", "'64 Ki' is a count; ..."),
    # a near spelling
    ("80 gib", "bytes", "'80 gib' has an unknown unit 'gib'; ...; did you mean 80 GiB?"),
    ("80 Gib", "bytes", "'80 Gib' is in bits, which only a bandwidth has; ...; did you mean 80 GiB?"),
    ("32 KB", "bytes", "'32 KB' has an unknown unit 'KB'; ...; did you mean 32 KiB or 32 kB?"),
    ("64 bytes", "bytes", "'64 bytes' has an unknown unit 'bytes'; ...; did you mean 64 B?"),
    ("64K", "count", "'64K' has an unknown unit 'K'; ...; did you mean 64 Ki or 64 k?"),
    ("2 mb/s", "bandwidth", "'2 mb/s' has an unknown unit 'mb/s'; ...; did you mean 2 MB/s or 2 Mb/s?"),
    ("9 Gbps", "bandwidth", "'9 Gbps' has an unknown unit 'Gbps'; ...; did you mean 9 Gb/s?"),
    ("5 sec", "time", "'5 sec' has an unknown unit 'sec'; ...; did you mean 5 s?"),
    ("12 cycels", "cycles", "'12 cycels' has an unknown unit 'cycels'; ...; did you mean 12 cycles?"),
    ("3 ghz", "frequency", "'3 ghz' has an unknown unit 'ghz'; ...; did you mean 3 GHz?"),
    ("9 percent", "ratio", "'9 percent' has an unknown unit 'percent'; ...; did you mean 9 %?"),
    ("3 pp", "points", "'3 pp' has an unknown unit 'pp'; ...; did you mean 3 points?"),
    ("2 us/tokn", "time_per_item", "'2 us/tokn' has an unknown unit 'us/tokn'; ...; did you mean 2 us/token?"),
    ("2 per layr", "count_per_item", "'2 per layr' has an unknown unit 'per layr'; ...; did you mean 2 per layer?"),
    ("4 /sec", "rate", "'4 /sec' has an unknown unit '/sec'; ...; did you mean 4 /s?"),
    ("3 wombats", "time", "'3 wombats' has an unknown unit 'wombats'; ..."),
    # no unit, no number, too much
    ("64", "bytes", "'64' has no unit; ..."),
    (64, "time", "'64' has no unit; ..."),
    (0.5, "bytes", "'0.5' has no unit; ..."),
    ("GiB", "bytes", "'GiB' does not begin with a number; ..."),
    ("nan", "ratio", "'nan' does not begin with a number; ..."),
    (math.nan, "ratio", "'nan' does not begin with a number; ..."),
    (math.inf, "ratio", "'inf' does not begin with a number; ..."),
    ("", "count", "an empty text is not a quantity; ..."),
    ("  ", "count", "an empty text is not a quantity; ..."),
    ("80 GiB GiB", "bytes", "'80 GiB GiB' has more than one unit; ..."),
    ("5 ns 3 ps", "time", "'5 ns 3 ps' has more than one unit; ..."),
    # numbers
    ("-5 ns", "time", "'-5 ns' is negative; ..."),
    (-5, "count", "'-5' is negative; ..."),
    (-0.5, "ratio", "'-0.5' is negative; ..."),
    ("1e3 B", "bytes", "'1e3 B': write the number out, or with a prefix such as k, M or Ki; ..."),
    ("1,000", "count", "'1,000': a number is written 1000, 1_000 or 7.4; ..."),
    ("1.2.3 B", "bytes", "'1.2.3 B': a number is written 1000, 1_000 or 7.4; ..."),
    ("1__0 B", "bytes", "'1__0 B': a number is written 1000, 1_000 or 7.4; ..."),
    ("9" * 61, "count", "a number of more than 60 digits is too long; ..."),
    pytest.param(10**5000, "count", "a number of more than 60 digits is too long; ...", id="huge"),
    # a fraction of the base unit
    ("0.5 B", "bytes", "'0.5 B' is no whole number of bytes, the finest that is kept"),
    ("3 b/s", "bandwidth", "'3 b/s' is no whole number of bytes a second, the finest that is kept"),
    ("0.0001 ns", "time", "'0.0001 ns' is no whole number of picoseconds, the finest that is kept"),
    ("1.5 cycles", "cycles", "'1.5 cycles' is no whole number of cycles, the finest that is kept"),
    ("0.1 Ki", "count", "'0.1 Ki' is no whole number of items, the finest that is kept"),
    (0.5, "count", "'0.5' is no whole number of items, the finest that is kept"),
    ("1 /h", "rate", "'1 /h' is no whole number of events in 10^9 seconds, the finest that is kept"),
    ("0.0000000001", "ratio", "'0.0000000001' is no whole number of parts per billion, the finest that is kept"),
    # no quantity at all
    (True, "count", "true is not a quantity; ..."),
    (None, "count", "nothing is not a quantity; ..."),
    ([1], "count", "a list is not a quantity; ..."),
    ({"a": 1}, "count", "a mapping is not a quantity; ..."),
]


@pytest.mark.parametrize(("value", "dimension", "message"), REFUSED)
def test_it_refuses(value: Any, dimension: str, message: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(value, dimension)
    assert caught.value.message == message.replace("...", f"expected {describe(dimension)}")
    assert isinstance(caught.value, StudyError)


def test_of_several_dimensions_the_first_that_fits_is_taken() -> None:
    assert parse("90 ns", "time", "cycles") == Quantity(90_000, "time")
    assert parse("12 cycles", "time", "cycles") == Quantity(12, "cycles")
    assert parse(10, "count", "ratio") == Quantity(10, "count")
    assert parse(0.1, "count", "ratio") == Quantity(10**8, "ratio")
    with pytest.raises(UnitError, match="expected a time such as 90 ns or a number of cycles such as 12 cycles"):
        parse("1 GiB", "time", "cycles")


def test_describe() -> None:
    assert describe("bytes") == "a size such as 80 GiB"
    assert describe("time", "cycles") == "a time such as 90 ns or a number of cycles such as 12 cycles"


def test_what_it_is_per_is_kept() -> None:
    assert parse("12 per layer", "count_per_item").item == "layer"
    assert str(parse("160 us per token", "time_per_item")) == "160 us/token"
    assert parse("12 per layer", "count_per_item") != parse("12 per token", "count_per_item")
    assert show(12, "count_per_item") == "12 per item"


@pytest.mark.parametrize(
    ("amount", "dimension", "text"),
    [
        (0, "bytes", "0 B"),
        (64, "bytes", "64 B"),
        (1000, "bytes", "1 kB"),
        (1024, "bytes", "1 KiB"),
        (1536, "bytes", "1.5 KiB"),
        (2**20, "bytes", "1 MiB"),
        (1025, "bytes", "1025 B"),
        (12_500_000_000, "bandwidth", "12.5 GB/s"),
        (90_000, "time", "90 ns"),
        (90 * 10**12, "time", "90 s"),
        (7200 * 10**12, "time", "2 h"),
        (1, "cycles", "1 cycle"),
        (12, "cycles", "12 cycles"),
        (4_500_000_000, "frequency", "4.5 GHz"),
        (4000, "count", "4000"),
        (65536, "count", "64 Ki"),
        (5_000_000, "count", "5M"),
        (6_250_000_000, "rate", "6.25 /s"),
        (74_000_000, "ratio", "7.4 %"),
        (50_000_000, "points", "5 points"),
        (10_000_000, "points", "1 point"),
    ],
)
def test_it_shows_what_a_person_would_write(amount: int, dimension: str, text: str) -> None:
    assert show(amount, dimension) == text == str(Quantity(amount, dimension))


def test_a_negative_amount_is_not_shown() -> None:
    with pytest.raises(UnitError, match="-1 bytes is negative"):
        show(-1, "bytes")


AMOUNTS = st.one_of(
    st.integers(0, 10**18),
    st.builds(lambda few, power: few * 10**power, st.integers(0, 999), st.integers(0, 15)),
    st.builds(lambda few, power: few * 2**power, st.integers(0, 999), st.integers(0, 50)),
)


@given(AMOUNTS, st.sampled_from(sorted(DIMENSIONS)), st.sampled_from(sorted(ITEMS)))
def test_what_is_shown_reads_back(amount: int, dimension: str, item: str) -> None:
    per = item if DIMENSIONS[dimension].per is ITEMS and item != "item" else ""
    quantity = Quantity(amount, dimension, per)
    assert parse(str(quantity), dimension) == quantity
    assert parse(show(amount, dimension), dimension).amount == amount


@given(st.integers(0, 10**9), st.integers(0, 12), st.sampled_from(sorted(DIMENSIONS["bytes"].units)))
def test_a_decimal_is_read_exactly_or_refused(digits: int, places: int, unit: str) -> None:
    exact = Fraction(digits, 10**places) * DIMENSIONS["bytes"].units[unit]
    text = f"{digits // 10**places}.{digits % 10**places:0{places}d}" if places else str(digits)
    if exact.denominator == 1:
        assert parse(f"{text} {unit}", "bytes").amount == exact
    else:
        with pytest.raises(UnitError, match="no whole number of bytes"):
            parse(f"{text} {unit}", "bytes")


@given(st.text(max_size=12), st.sampled_from(sorted(DIMENSIONS)))
def test_any_text_is_read_or_refused_in_words(text: str, dimension: str) -> None:
    found, message = None, ""
    try:
        found = parse(text, dimension)
    except UnitError as error:
        message = error.message
    if found is None:
        assert "expected" in message or "no whole number" in message
    else:
        assert parse(str(found), dimension) == found
