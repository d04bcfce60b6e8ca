"""`tiersim traces check` and `info`: what is told of damage, of oddities, and of what a trace is like."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import pickle
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiersim.cli import main
from tiersim.experiments.doctor.access_object import lines_of
from tiersim.experiments.trace_doctor import check_trace, trace_info
from tiersim.traces import Writer
from tiersim.traces.schema import ACCESS, OBJECT

MIRROR = Path(os.environ.get("TIERSIM_TRACE_MIRROR") or "/nonexistent")
KEYS = [5, 7, 5, 9, 7, 5, 11, 5]


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["traces", *arguments])
    held = capsys.readouterr()
    return int(ended.value.code or 0), held.out, held.err


def stored(path: Path, **columns: Any) -> Path:
    with Writer(path, schema=OBJECT) as out:
        out.append({column.name: np.array(columns[column.name], column.dtype) for column in OBJECT.present(columns)})
    return path


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def one(warnings: list[str], words: str) -> str:
    """The only warning that has these words."""
    (found,) = [text for text in warnings if words in text]
    return found


# check


def test_nothing_odd(tmp_path: Path) -> None:
    found = check_trace(stored(tmp_path / "t.parquet", id=KEYS, time=[at * 1000 for at in range(8)]))
    assert found.to_dict() == {"format": "tiersim", "records": 8, "errors": [], "warnings": []}


@pytest.mark.parametrize("name", ["captured/sort", "generated/zipf-objects"])
def test_what_comes_along_is_right(name: str) -> None:
    found = check_trace(name)
    assert (found.errors, found.warnings) == ([], [])
    assert found.records == (3_000_000 if name == "captured/sort" else 1_000_000)


def test_time_that_goes_back(tmp_path: Path) -> None:
    # falls at records 3 and 6: by 2 s and by 4 s
    path = table(tmp_path / "t.csv", "time,id\n" + "".join(f"{time},{time}\n" for time in (0, 9, 7, 8, 12, 8, 13, 14)))
    said = one(check_trace(path).warnings, "time goes back")
    assert said.startswith("time goes back 2 times, first at record 3, by up to 4 s")


def test_time_goes_back_between_chunks(tmp_path: Path) -> None:
    time = np.arange(1 << 17)
    time[1 << 16] -= 5  # the first record of the second chunk
    found = check_trace(stored(tmp_path / "t.parquet", id=time % 10, time=time))
    assert one(found.warnings, "time goes back").startswith("time goes back 1 times, first at record 65,537, by up to")


def test_coarse_clock(tmp_path: Path) -> None:
    path = stored(
        tmp_path / "t.parquet", id=KEYS, time=[0, 0, 0, 0, 500_000_000, 500_000_000, 750_000_000, 750_000_000]
    )
    assert "3 different times in 8 records, in steps of 250 ms" in one(check_trace(path).warnings, "coarse")
    path = stored(tmp_path / "u.parquet", id=KEYS, time=[3] * 8)
    assert "1 different time in 8 records;" in one(check_trace(path).warnings, "coarse")


def test_sizes(tmp_path: Path) -> None:
    # 5 has sizes 1, 1, 2, 2; 7 has 3 and 3; three records are empty in 9 and 11
    path = stored(tmp_path / "t.parquet", id=KEYS, size=[1, 3, 1, 0, 3, 2, 0, 2])
    warnings = check_trace(path).warnings
    assert one(warnings, "0 bytes").startswith("2 of 8 records")
    assert one(warnings, "change their size").startswith("1 of 4 objects")


def test_columns_that_say_nothing(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.parquet", id=KEYS, op=[0] * 8, tenant=[0] * 7 + [1], size=[1] * 8)
    told = [text for text in check_trace(path).warnings if "says nothing" in text]
    assert [text.split()[2] for text in told] == ["op", "size"]


def test_no_reuse(tmp_path: Path) -> None:
    assert "no reuse" in one(check_trace(stored(tmp_path / "t.parquet", id=range(9))).warnings, "reuse")


def test_several_files(tmp_path: Path) -> None:
    time = [0, 10, 20, 30, 0, 10, 20, 30]
    ids = [0, 1, 2, 0, 0, 1, 1, 2]
    said = one(check_trace(stored(tmp_path / "t.parquet", id=ids, time=time)).warnings, "several files")
    assert said.startswith("time starts again 1 times")
    hashed = [key * 0x9E3779B97F4A7C15 % 2**64 for key in ids]
    found = check_trace(stored(tmp_path / "u.parquet", id=hashed, time=time))
    assert not [text for text in found.warnings if "several files" in text]


def test_wrong_suffix(tmp_path: Path) -> None:
    text = "".join(f"{key}\n" for key in KEYS).encode()
    for name, packed, said in [
        ("t.txt.gz", lzma.compress(text), "is packed with xz, and its name ends in .gz"),
        ("t.txt", gzip.compress(text), "is packed with gzip, and its name does not say so"),
        ("u.txt.xz", text, "is not packed, and its name ends in .xz"),
    ]:
        (tmp_path / name).write_bytes(packed)
        found = check_trace(tmp_path / name)
        assert (found.records, found.errors) == (8, [])
        assert said in found.warnings[0]


def test_last_line_without_end(tmp_path: Path) -> None:
    found = check_trace(table(tmp_path / "t.txt", "5\n7\n5\n1"))
    assert found.errors == []
    assert "may be cut short" in one(found.warnings, "line end")


def test_what_breaks_off_is_counted_so_far(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f"{key % 999}\n" for key in range(600_000)).encode())
    path = tmp_path / "t.txt.gz"
    path.write_bytes(whole[: len(whole) // 2])
    found = check_trace(path)
    assert found.format == "lirs"
    assert 0 < found.records < 600_000
    (error,) = found.errors
    assert "the gzip stream breaks off" in error
    assert f"after record {found.records:,}" in error
    assert "fetch the file again" in error


def test_a_record_in_the_middle(tmp_path: Path) -> None:
    found = check_trace(table(tmp_path / "t.csv", "time,id\n0,1\n1,2\nx,3\n"))
    assert "line 4, column 1 (byte 16)" in found.errors[0]


def test_damaged_parquet(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.parquet", id=np.arange(1 << 16) * 12345)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    path.write_bytes(raw)
    assert "is damaged" in check_trace(path).errors[0]
    path.write_bytes(raw[:1000])
    assert "is damaged" in check_trace(path).errors[0]


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "t.pkl").write_bytes(pickle.dumps({"trace": KEYS}))
    (tmp_path / "t.pkl.gz").write_bytes(gzip.compress(pickle.dumps(KEYS)))
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as held:
        held.writestr("archive/data.pkl", pickle.dumps(KEYS))
    for name in ("t.pkl", "t.pkl.gz", "t.pt"):
        found = check_trace(tmp_path / name)
        assert found.format is None
        assert "Python pickle" in found.errors[0]


@pytest.mark.parametrize("seed", range(3))
def test_any_damage_is_told(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as held:
        held.writestr("archive/data.txt", b"5\n7\n" * 100)
    text = "".join(f"{key % 99}\n" for key in range(3000)).encode()
    parquet = stored(tmp_path / "t.parquet", id=np.arange(3000) % 77, time=np.arange(3000)).read_bytes()
    for whole in (text, gzip.compress(text), lzma.compress(text), parquet, (tmp_path / "t.zip").read_bytes()):
        for _ in range(8):
            raw = bytearray(whole)
            for _ in range(int(rng.integers(1, 6))):
                raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
            (tmp_path / "t").write_bytes(raw[: int(rng.integers(1, len(raw) + 1))])
            found = check_trace(tmp_path / "t")  # whatever it says, it says it
            assert found.records or found.errors


def test_exit_statuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = table(tmp_path / "t.txt", "5\n7\n5")
    status, out, err = cli(capsys, "check", str(good), "--quiet")
    assert (status, err) == (0, "")
    assert "lirs, 3 records" in out
    assert "warning:" in out
    status, out, _ = cli(capsys, "check", "captured/sort", "--quiet")
    assert "nothing wrong, nothing odd" in out
    (tmp_path / "bad").write_bytes(b"\x00\x01\x02 not a trace")
    status, out, _ = cli(capsys, "check", str(tmp_path / "bad"), "--json")
    assert status == 2
    held = json.loads(out)
    assert sorted(held) == ["errors", "format", "records", "warnings"]
    assert (held["format"], held["records"]) == (None, 0)
    status, _, err = cli(capsys, "check", str(tmp_path / "none"))
    assert status == 2
    assert "there is no trace" in err
    assert "Traceback" not in err
    assert cli(capsys, "check", str(good), "--option", "x")[0] == 2
    assert cli(capsys, "check", str(good), "--option", "nonesuch=3")[0] == 2


# info


def test_lines_that_accesses_touch() -> None:
    chunk = {
        "address": np.array([0, 63, 60, 128, 1000], np.uint64),
        "size": np.array([64, 1, 8, 200, 8], np.uint16),
    }
    # 128..327 lies in lines 2, 3, 4 and 5
    assert lines_of(chunk).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 15]


def distances(keys: list[int]) -> list[int]:
    """Reuse distances, by walking a stack."""
    stack: OrderedDict[int, None] = OrderedDict()
    out = []
    for key in keys:
        if key in stack:
            out.append(len(stack) - list(stack).index(key))
            del stack[key]
        stack[key] = None
    return out


def test_by_a_plain_account(tmp_path: Path) -> None:
    keys = (np.random.default_rng(3).zipf(1.3, 5000) % 700).tolist()
    time = np.sort(np.random.default_rng(4).integers(0, 10**12, 5000))
    size = [key % 13 + 1 for key in keys]
    found = trace_info(stored(tmp_path / "t.parquet", id=keys, time=time, size=size))
    counts = sorted(Counter(keys).values(), reverse=True)
    assert (found.records, found.requests, found.objects) == (5000, 5000, len(counts))
    assert found.footprint == sum(key % 13 + 1 for key in set(keys))
    assert found.span_ns == time[-1] - time[0]
    asked = sorted(distances(keys))
    assert found.reuse["share"] == len(asked) / 5000
    for percent, value in found.reuse["quantiles"].items():
        assert value == asked[-(-len(asked) * int(percent) // 100) - 1]
    top = -(-len(counts) // 100)
    assert found.popularity.top_share == sum(counts[:top]) / 5000
    assert [(row["end"], row["objects"], row["bytes"]) for row in found.working_set] == [
        (end, len(set(keys[end - 100 : end])), sum(key % 13 + 1 for key in set(keys[end - 100 : end])))
        for end in range(100, 5001, 100)
    ]
    assert found.burstiness is not None
    assert 0.8 < found.burstiness.index < 1.2  # uniform times


def test_slope_is_that_of_the_generator() -> None:
    for skew in (0.6, 1.1):
        slope = trace_info("generated/zipf-objects", skew=skew).popularity.zipf_slope
        assert slope == pytest.approx(skew, abs=0.05)


def test_bursts(tmp_path: Path) -> None:
    # 1000 windows of 1 ms; all records of ten in the first of them: mean 1, variance 9
    time = np.repeat(np.arange(0, 1000, 10), 10) * 1_000_000
    time[-1] = 999_999_999
    found = trace_info(stored(tmp_path / "t.parquet", id=np.arange(1000) % 10, time=time)).burstiness
    assert found is not None
    assert (found.windows, found.window_ns) == (1000, 1_000_000)
    assert found.index == pytest.approx(9, rel=0.01)


def test_accesses_are_of_lines(tmp_path: Path) -> None:
    with Writer(tmp_path / "t.parquet", schema=ACCESS) as out:
        out.append(
            {
                "address": np.array([0, 60, 64], np.uint64),
                "size": np.array([4, 8, 4], np.uint16),
                "kind": np.array([0, 1, 0], np.uint8),
                "gap": np.array([1, 1, 1], np.uint32),
            }
        )
    found = trace_info(tmp_path / "t.parquet")
    assert (found.records, found.requests, found.objects, found.footprint) == (3, 4, 2, 128)
    assert found.kinds == {"load": 2, "store": 1}
    assert (found.span_ns, found.burstiness) == (None, None)


def test_info_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "t.csv", "time,id\n" + "".join(f"{at},{key}\n" for at, key in enumerate(KEYS * 20)))
    status, out, _ = cli(capsys, "info", str(path), "--plot", str(tmp_path / "f.svg"), "--quiet")
    assert status == 0
    assert "reuse distance" in out
    assert "index of dispersion" in out
    assert (tmp_path / "f.svg").read_bytes().startswith(b"<?xml")
    status, out, _ = cli(capsys, "info", str(path), "--json", "--quiet")
    held = json.loads(out)
    assert (held["records"], held["objects"], held["schema"]) == (160, 4, "object")
    assert "drawn" not in held
    status, _, err = cli(capsys, "info", str(path), "--plot", str(tmp_path / "f.gif"), "--quiet")
    assert status == 2
    assert ".png" in err
    path.write_text("time,id\n0,1\nx,1\n")
    status, _, err = cli(capsys, "info", str(path), "--quiet")
    assert status == 2
    assert "line 3" in err


def test_a_trace_without_reuse_has_an_info(tmp_path: Path) -> None:
    found = trace_info(stored(tmp_path / "t.parquet", id=[1, 2, 3]))
    assert found.reuse == {"share": 0, "quantiles": dict.fromkeys(map(str, (10, 25, 50, 75, 90, 99)))}
    assert found.popularity.zipf_slope is None


def test_a_public_trace() -> None:
    path = MIRROR / "cloudphysics_io.csv.gz"
    if not path.exists():
        pytest.skip("TIERSIM_TRACE_MIRROR names no folder with this trace")
    found = check_trace(path)
    assert (found.format, found.records, found.errors) == ("object-csv", 113_872, [])
    assert "in steps of 1 s" in one(found.warnings, "coarse")
    told = trace_info(path)
    assert (told.objects, told.span_ns) == (48_974, 7200 * 10**9)
