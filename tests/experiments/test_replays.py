"""`tiersim replay` and `tiersim mrc`: rows, samples, quotas, classes of one's own, and what is told of mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiersim
from tests.oracles.object_requests import scans_and_favourites
from tiersim._base.errors import AuditError, PolicyError, StudyError, TraceError
from tiersim._base.registry import build
from tiersim.cli import main
from tiersim.experiments import replays
from tiersim.experiments.miss_ratio_curve import miss_ratio_curve
from tiersim.experiments.progress import Bar
from tiersim.experiments.replays import ask_why, names_in, parse_policy, replay
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import number_requests, requests_from
from tiersim.traces.schema import OBJECT
from tiersim.traces.store import StoredTrace, Writer

STREAM = scans_and_favourites(20_000, 5, objects=800)
SIZED = {"size": (STREAM % np.uint64(50)).astype(np.int64) + 1}
MINE = '''
from collections import OrderedDict


class Mine:
    """LRU, written down as one thinks of it."""

    def start(self, capacity):
        self.capacity, self.order = capacity, OrderedDict()

    def __len__(self):
        return len(self.order)

    def on_access(self, x, size):
        hit = x in self.order
        if hit:
            self.order.move_to_end(x)
        else:
            if len(self.order) == self.capacity:
                self.order.popitem(last=False)
            self.order[x] = size
        return hit
'''


LEAKY = """
from tiersim.policies.object.lru import Lru


class Leaky(Lru):
    compiled = False

    @staticmethod
    def remove(spot, x):
        return
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A trace of 4000 keys as text."""
    path = tmp_path / "trace.lis"
    path.write_text("".join(f"{key} 1 0 {at}\n" for at, key in enumerate(STREAM[:4000])))
    return path


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    held = capsys.readouterr()
    return int(ended.value.code or 0), held.out, held.err


def test_rows_are_those_of_the_engine() -> None:
    requests = requests_from(STREAM, **SIZED)
    result = replay(requests, "lru, sieve", "1%,100obj,2000B", workers=2)
    assert [(row.policy, row.size) for row in result.rows] == [
        (policy, size) for policy in ("lru", "sieve") for size in ("1%", "100obj", "2000B")
    ]
    capacity = {"1%": requests.footprint // 100, "100obj": 100, "2000B": 2000}
    best = {}
    for row in result.rows:
        held = requests.without_sizes() if row.size == "100obj" else requests
        assert row.capacity == capacity[row.size]
        done = replay_objects(build("object-replacement", row.policy), row.capacity, held)
        assert (row.misses, row.byte_misses) == (done.totals.misses, done.totals.byte_misses)
        assert row.hits + row.misses == row.requests == len(STREAM)
        assert row.evictions == done.counters["evicted"]
        if row.size not in best:
            best[row.size] = replay_objects(build("object-replacement", "belady"), row.capacity, held).totals.misses
        assert row.regret == pytest.approx((row.misses - best[row.size]) / len(STREAM))
    assert result.to_pandas()["misses"].tolist() == [row.misses for row in result.rows]


def test_threads_change_nothing() -> None:
    requests = requests_from(STREAM)
    given: dict[str, Any] = {"policies": "lru,fifo,sieve", "sizes": "1%,10%", "windows": 3, "warm_up": "10%"}
    assert replay(requests, workers=1, **given) == replay(requests, workers=4, **given)


def test_windows_and_warm_up() -> None:
    result = replay(requests_from(STREAM), "lru", "5%", windows=3, warm_up="25%", regret=False)
    assert [row.end for row in result.windows] == [10_000, 15_000, 20_000]
    assert sum(row.misses for row in result.windows) == result.rows[0].misses
    assert result.rows[0].requests == 15_000


def test_tenants_have_rows_and_quotas_keep_them_apart() -> None:
    tenant = (STREAM % np.uint64(3)).astype(np.uint32)
    requests = requests_from(STREAM, tenant=tenant)
    shared = replay(requests, "lru", "300obj", regret=False)
    assert [row.tenant for row in shared.tenants] == [0, 1, 2]
    assert sum(row.misses for row in shared.tenants) == shared.rows[0].misses
    apart = replay(requests, "lru", "300obj", quotas={"1": "50 %"}, regret=False)
    alone = replay(requests_from(STREAM[tenant == 1]), "lru", "150obj", regret=False)
    assert apart.tenants[1].misses == alone.rows[0].misses
    rest = replay(requests_from(STREAM[tenant != 1]), "lru", "150obj", regret=False)
    assert apart.tenants[0].misses + apart.tenants[2].misses == rest.rows[0].misses
    equal = replay(requests, "lru", "300obj", quotas="equal", regret=False)
    third = replay(requests_from(STREAM[tenant == 2]), "lru", "99obj", regret=False)
    assert equal.tenants[2].misses == pytest.approx(third.rows[0].misses, rel=0.02)


@pytest.mark.parametrize("policy", ["s3-fifo", "lru"])
def test_a_miniature_says_how_far_it_may_be_off(policy: str) -> None:
    """Objects are drawn by a hash of their keys, sizes scaled, ratios corrected for favourites drawn or not."""
    stream = np.random.default_rng(3).zipf(1.1, 300_000) % 40_000
    whole = replay(requests_from(stream), policy, "10%", regret=False).rows[0]
    inside = []
    for seed in range(8):
        sampled = number_requests([{"id": stream.astype(np.uint64)}], share=0.1, seed=seed)
        small = replay(sampled, policy, f"10%,{whole.capacity}obj", regret=False)
        assert small.notes
        for row in small.rows:
            assert row.error is not None
            assert abs(row.capacity - whole.capacity) < 0.1 * whole.capacity
            inside.append(abs(row.miss_ratio - whole.miss_ratio) < 3 * row.error)
    assert np.mean(inside) > 0.85


def test_the_curve_of_lru_is_that_of_single_runs() -> None:
    requests = requests_from(STREAM)
    curve = miss_ratio_curve(requests, points=8)
    assert (curve.method, curve.error, curve.unit) == ("stack distances", None, "objects")
    assert curve.sizes[-1] == requests.objects
    for size, ratio in zip(curve.sizes, curve.miss_ratio, strict=True):
        row = replay(requests, "lru", f"{size}obj", regret=False).rows[0]
        assert ratio == pytest.approx(row.miss_ratio)
    other = miss_ratio_curve(requests, "sieve", sizes=["10%", "500obj"])
    assert other.miss_ratio[1] == replay(requests, "sieve", "500obj", regret=False).rows[0].miss_ratio


def test_the_curve_in_bytes_is_exact_below_the_largest_object_too() -> None:
    requests = requests_from(STREAM, **SIZED)
    curve = miss_ratio_curve(requests, sizes=["7B", "20B", "60B", "10%"])
    assert curve.method == "both"
    assert curve.notes
    for size, ratio, of_bytes in zip(curve.sizes, curve.miss_ratio, curve.byte_miss_ratio, strict=True):
        row = replay(requests, "lru", f"{size}B", regret=False).rows[0]
        assert (ratio, of_bytes) == (pytest.approx(row.miss_ratio), pytest.approx(row.byte_miss_ratio))


def test_shards_says_how_far_it_may_be_off() -> None:
    stream = np.random.default_rng(4).zipf(1.05, 400_000) % 60_000
    whole = requests_from(stream)
    exact = miss_ratio_curve(whole, sizes=["1%", "5%", "20%"])
    inside = []
    for seed in range(6):
        sampled = number_requests([{"id": stream.astype(np.uint64)}], share=0.1, seed=seed)
        curve = miss_ratio_curve(sampled, sizes=[f"{size}obj" for size in exact.sizes], seed=seed)
        assert curve.method.startswith("SHARDS")
        assert curve.error is not None
        for found, right, error in zip(curve.miss_ratio, exact.miss_ratio, curve.error, strict=True):
            assert 0 < error < 0.2
            inside.append(abs(found - right) < 3 * error)
    assert np.mean(inside) > 0.85


def test_names_of_policies() -> None:
    assert names_in("lru, s3-fifo(small=5%, move_at=1),a+b") == ["lru", "s3-fifo(small=5%, move_at=1)", "a+b"]
    _, policy, admission = parse_policy("s3-fifo(small=5%, move_at=1, fill=false)")
    assert (policy.small, policy.move_at, policy.fill, admission) == (50_000_000, 1, False, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lruu", "did you mean 'lru'?"),
        ("s3-fifo(smal=5%)", "did you mean 'small'?"),
        ("s3-fifo(small)", "'small' in 's3-fifo(small)' is no parameter=value"),
        ("s3-fifo(small=200%)", "must be at most"),
        ("lru)", "'lru)' is no policy"),
        ("nothing.py:Mine", "there is no file 'nothing.py'"),
        ("nobody+lru", "no admission is called 'nobody'"),
    ],
)
def test_names_that_are_none(text: str, told: str) -> None:
    with pytest.raises(StudyError, match=re.escape(told)):
        parse_policy(text)


def test_a_plain_class_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    name = f"{tmp_path / 'mine.py'}:Mine"
    result = replay(requests_from(STREAM), f"{name},lru", "2%", windows=2, regret=False)
    assert result.rows[0].misses == result.rows[1].misses
    assert [row.misses for row in result.windows[:2]] == [row.misses for row in result.windows[2:]]
    refused = replay(requests_from([1, 1], ttl=[5, 5], time=[0, 1]), name, "2obj", regret=False)
    assert not refused.rows
    assert "would not hear of the trace's times to live" in refused.skipped[0]["why"]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (("self.order.popitem(last=False)", "pass"), "holds 9 objects after request"),
        (("return hit", "return hit + self.nothing"), "fails at request 0: AttributeError"),
    ],
)
def test_a_plain_class_that_is_wrong(tmp_path: Path, edit: tuple[str, str], told: str) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace(*edit))
    name = f"{tmp_path / 'mine.py'}:Mine"
    result = replay(requests_from(STREAM), name, "8obj", regret=False)
    assert told in result.skipped[0]["why"]


def test_a_plain_class_has_no_constructor(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("def start", "def __init__"))
    with pytest.raises(StudyError, match=r"start\(self, capacity\)"):
        replay(requests_from(STREAM), f"{tmp_path / 'mine.py'}:Mine", "8obj")


def test_sizes_that_cannot_be() -> None:
    requests = requests_from(STREAM)
    with pytest.raises(StudyError, match="needs object sizes"):
        replay(requests, "lru", "64MiB")
    with pytest.raises(StudyError, match="leaves nothing"):
        replay(requests, "lru", "1%", warm_up="20000")
    with pytest.raises(StudyError, match="needs a policy and a size"):
        replay(requests, "", "1%")
    with pytest.raises(StudyError, match="quotas need tenants"):
        replay(requests, "lru", "1%", quotas="equal")
    with pytest.raises(StudyError, match="more than the whole cache"):
        replay(requests_from([1], tenant=[1]), "lru", "1%", quotas={"1": "60 %", "2": "60 %"})
    with pytest.raises(TraceError, match="access records"):
        replay("captured/sort", "lru", "1%")


def test_times_to_live_need_times() -> None:
    with pytest.raises(TraceError, match="times to live and no times"):
        requests_from([1, 1], ttl=[5, 5])


def test_a_number_needs_its_unit_where_there_are_sizes() -> None:
    with pytest.raises(StudyError, match="100 of what"):
        replay(requests_from(STREAM, **SIZED), "lru", "100")
    assert replay(requests_from(STREAM), "lru,lru", "1 Ki,1 Ki", regret=False).rows[0].capacity == 1024


def test_requests_that_were_read_are_not_read_again() -> None:
    for more in ({"share": 0.5}, {"limit": 3}, {"format": "lirs"}, {"bits": 3}):
        with pytest.raises(StudyError, match=next(iter(more))):
            replay(requests_from(STREAM), "lru", "1%", **more)
        with pytest.raises(StudyError, match=next(iter(more))):
            miss_ratio_curve(requests_from(STREAM), "lru", **more)


def test_a_fault_of_the_books_names_policy_and_size(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    with pytest.raises(AuditError, match=r"leaky.py:Leaky at 30obj: objects that the policy says it holds"):
        replay(requests_from(STREAM), f"{tmp_path / 'leaky.py'}:Leaky", "30obj", regret=False)


def test_nothing_replayed_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace("return hit", "return hit + self.nothing"))
    (tmp_path / "trace.lis").write_text("1 3 0 1\n")
    name = f"{tmp_path / 'mine.py'}:Mine"
    status, out, err = cli(capsys, "replay", str(tmp_path / "trace.lis"), "--policy", name, "--size", "2obj", "--quiet")
    assert (status, out) == (2, "")
    assert "nothing was replayed" in err
    assert "fails at request 0" in err


def test_the_life_of_an_object(file: Path) -> None:
    requests, life = ask_why(str(file), "s3-fifo", "5%", str(STREAM[0]))
    assert requests.keys[life[0].asked] == STREAM[0]
    assert (life[0].request, life[0].before, life[0].after) == (0, "out", "small")
    with pytest.raises(StudyError, match="no request is for an object"):
        ask_why(str(file), "lru", "5%", "987654321987")
    with pytest.raises(PolicyError, match="room for something"):
        replay_objects(build("object-replacement", "lru"), 0, requests)


def test_the_python_interface(file: Path) -> None:
    rows = tiersim.replay(str(file), "lru", "10%").rows
    curve = tiersim.miss_ratio_curve(str(file), sizes=["10%"])
    assert curve.miss_ratio == [rows[0].miss_ratio]


def test_replay_on_the_command_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "figure.svg"
    status, out, err = cli(
        capsys,
        "replay",
        str(file),
        "--policy",
        "lru,sieve",
        "--size",
        "1%,50obj",
        "--windows",
        "2",
        "--plot",
        str(figure),
    )
    assert status == 0
    assert "above Belady" in out
    assert "by window" in out
    assert "replaying: done" in err
    assert figure.read_text().startswith("<?xml")
    status, out, err = cli(capsys, "replay", str(file), "--size", "50obj", "--json", "--quiet", "--no-regret")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert set(told) == {"trace", "rows", "tenants", "windows", "skipped", "notes"}
    assert {"policy", "size", "requests", "hits", "misses", "byte_misses", "evictions"} <= set(told["rows"][0])
    status, out, _ = cli(capsys, "replay", str(file), "--size", "50obj", "--why", str(STREAM[3]), "--quiet")
    assert status == 0
    assert "out -> in" in out
    assert json.loads(cli(capsys, "replay", str(file), "--size", "9obj", "--why", "1", "--quiet", "--json")[1])["life"]


def test_mrc_on_the_command_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "figure.png"
    status, out, _ = cli(capsys, "mrc", str(file), "--policy", "lru,fifo", "--points", "4", "--plot", str(figure))
    assert status == 0
    assert "stack distances" in out
    assert figure.read_bytes().startswith(b"\x89PNG")
    told = json.loads(cli(capsys, "mrc", str(file), "--points", "4", "--sample", "50%", "--json", "--quiet")[1])
    assert {"policy", "sizes", "miss_ratio", "byte_miss_ratio", "error"} <= set(told)
    assert len(told["error"]) == len(told["sizes"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay", "nothing.bin"], "there is no trace 'nothing.bin'"),
        (["replay", "FILE", "--size", "1 parsec"], "unknown unit"),
        (["replay", "FILE", "--policy", "lruu"], "did you mean 'lru'?"),
        (["replay", "FILE", "--quota", "1"], "no TENANT=SHARE"),
        (["replay", "FILE", "--sample", "0%"], "is no share of the objects"),
        (["replay", "FILE", "--why", "1", "--policy", "lru,fifo"], "one policy at one size"),
        (["replay", "FILE", "--plot", "figure.gif"], "a figure is written as"),
        (["replay", "FILE", "--option", "x"], "no KEY=VALUE"),
        (["replay", "FILE", "--size", "0%"], "no room for anything"),
        (["replay", "FILE", "--limit", "0"], "leaves no request"),
        (["replay", "FILE", "--why", "1", "--sample", "10%"], "--sample means nothing to it"),
        (["replay", "FILE", "--policy", "nowhere.py:Mine"], "there is no file 'nowhere.py'"),
        (["replay", "FILE", "--format", "lackey"], "FILE_NAME"),
        (["mrc", "FILE", "--size", "1%,64MiB"], "needs object sizes"),
        (["mrc", "FILE", "--policy", "nobody"], "no object-replacement is called 'nobody'"),
    ],
)
def test_each_mistake_is_one_message(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    status, out, err = cli(capsys, *(str(file) if word == "FILE" else word for word in arguments), "--quiet")
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert told.replace("FILE_NAME", file.name) in err


@pytest.mark.parametrize("sized", [True, False])
def test_a_stored_trace_gives_the_same_as_its_requests(
    tmp_path: Path, sized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is numbered while the first policy replays it, where its requests are numbered before."""
    path = tmp_path / "t.parquet"
    with Writer(path, schema=OBJECT) as out:
        out.append({"id": STREAM, "time": np.arange(len(STREAM)), **(SIZED if sized else {})})
    monkeypatch.setattr(replays, "_numbered", lambda *_, **__: pytest.fail("this was numbered before"))
    names = ["lru", "s3-fifo", "w-tinylfu", "random"]
    for sizes, workers in (("10%,500obj", 2), ("1000obj", 1)):
        begun = replay(path, names, sizes, warm_up="10%", windows=3, workers=workers)
        whole = replay(
            requests_from(STREAM, time=np.arange(len(STREAM)), **(SIZED if sized else {})),
            names,
            sizes,
            warm_up="10%",
            windows=3,
        )
        assert begun.rows == whole.rows
        assert begun.rows
        assert (begun.windows, begun.skipped) == (whole.windows, whole.skipped)


def test_a_replay_begins_before_the_trace_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    with Writer(path, schema=OBJECT) as out:
        for _ in range(3):
            out.append({"id": np.arange(1 << 20, dtype=np.uint64)})
    read: list[int] = []
    replayed: list[int] = []

    def counted(*given: Any, **named: Any) -> Any:
        for chunk in _chunks(*given, **named):
            read.append(len(chunk["id"]))
            yield chunk

    def progress(_: Bar, count: int) -> None:
        if not replayed:
            assert sum(read) == 1 << 20
        replayed.append(count)

    _chunks = StoredTrace.chunks
    monkeypatch.setattr(StoredTrace, "chunks", counted)
    monkeypatch.setattr(Bar, "add", progress)
    replay(path, "lru", "10%")
    assert sum(read) == 3 << 20
    assert sum(replayed) == 2 * 3 << 20  # and Belady's
