"""Claims: read and checked before anything runs, judged by what the runs gave, shown, and verified."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiersim
from tests.experiments.test_library import fits, the_schema
from tiersim._base.errors import AbsentError, StudyError
from tiersim.cli import main
from tiersim.experiments.catalogue import claim_keys, explain, listing
from tiersim.experiments.claims.published import published
from tiersim.experiments.claims.show import counted
from tiersim.experiments.claims.verdicts import KEYS, OWN_KEYS, Verdict, check, read_claims
from tiersim.experiments.claims.verify import verify
from tiersim.experiments.plan import make_plan
from tiersim.experiments.results import Row
from tiersim.experiments.statistics import Estimate, estimate
from tiersim.experiments.yaml_tree import from_data, load, plain
from tiersim.traces.fetch import fetched, find_public

Call = Callable[..., tuple[int, str, str]]
FIXTURES = Path(__file__).with_name("claims")
STUDIES = sorted(path.stem for path in FIXTURES.glob("*.yaml"))
PUBLISHED = {  # the others say by their name what their verdict must be
    "K3": "holds",
    "K4": "holds",
    "D7": "holds",
    "V1": "not-reproduced",
    "V8": "fails",
    "V10": "holds",
    "D5": "skipped",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the fixtures, and no public traces."""
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERSIM_TRACE_MIRROR", raising=False)
    return tmp_path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line here: exit status, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        assert isinstance(left.value.code, int)
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


# verdicts


@pytest.mark.parametrize("study", STUDIES)
def test_every_fixture_gets_the_verdicts_that_it_names(study: str) -> None:
    verdicts = verify([Path(f"{study}.yaml")])
    claims = plain(load(Path(f"{study}.yaml")))["claims"]
    assert [held.figure.claim for held in verdicts] == list(claims)
    for held in verdicts:
        name = held.figure.claim
        assert held.verdict == PUBLISHED.get(name) or name.startswith(f"{held.verdict}-"), (name, held.why)
        assert bool(held.why) == (held.verdict != "holds" or "and" in claims[name])
        assert held.study == f"claims-{study}"


def test_the_fixtures_give_every_verdict_with_seeds_and_without() -> None:
    exact, seeds, refused = (
        {held.verdict for held in verify([Path(f"{name}.yaml")])} for name in ("exact", "seeds", "refused")
    )
    assert exact == seeds == {"holds", "fails", "not-reproduced"}
    assert refused == {"holds", "fails", "skipped"}


def by_claim(study: str) -> tuple[dict[str, Verdict], dict[Any, dict[str, float]]]:
    """The verdicts of a fixture, and the metrics of its runs by variant, seed and what is swept."""
    result = tiersim.run(f"{study}.yaml", keep=False)
    found = {}
    for row in result.rows:
        swept = [held for key, held in row.factors.items() if key not in ("what_if", "seed")]
        found[(row.factors["what_if"], *swept, *([row.seed] if "seed" in row.factors else []))] = row.metrics
    return {held.figure.claim: held for held in result.verdicts()}, found


def test_what_is_measured_is_what_the_rows_say() -> None:
    held, rows = by_claim("exact")
    sizes = ["2 %", "5 %", "10 %", "20 %"]
    lru, fifo, belady = ([rows[name, size]["miss_ratio"] for size in sizes] for name in ("base", "FIFO", "Belady"))
    assert held["holds-range"].estimates == (Estimate.exact(fifo[2] - lru[2]),)
    right = sum(a / b for a, b in zip(belady, lru)) / 4 - 1
    assert held["holds-below"].public()["measured"] == pytest.approx(right)
    first, second = held["holds-several"].public()["measured"]
    assert first == pytest.approx(max(lru) / min(lru))
    assert second == pytest.approx(math.prod(a / b for a, b in zip(fifo, lru)) ** (1 / 4))
    assert [one.difference.value for one in held["holds-monotone"].tolds] == pytest.approx(
        [a - b for a, b in pairwise(lru)]
    )
    assert held["K3"].public()["measured"] == sum(a < b for a, b in zip(belady, lru))
    assert len(held["holds-order"].tolds) == 8  # two comparisons at four sizes


def test_seeds_are_paired_and_the_mean_decides() -> None:
    held, rows = by_claim("seeds")
    mine, base = ([rows[name, seed]["miss_ratio"] for seed in range(5)] for name in ("more", "base"))
    (one,) = held["D7"].estimates
    assert one == estimate([a / b - 1 for a, b in zip(mine, base)])
    assert one.low < one.value < one.high
    public = held["D7"].public()
    assert public["interval"] == [one.low, one.high]
    less = estimate([rows["base", seed]["misses"] - rows["a little more", seed]["misses"] for seed in range(5)])
    (told,) = held["fails-chance"].tolds
    assert told.difference == less
    assert less.low < 0 < less.value  # it leans the way that is claimed, and may be chance
    assert "may be chance" in held["fails-chance"].why
    first, second = (told.difference for told in held["holds-order"].tolds)
    assert second.low < first.low  # the closest of several comparisons is shown
    assert held["holds-order"].public()["interval"] == [second.low, second.high]


def test_a_mark_that_is_no_longer_true_fails_until_it_is_removed() -> None:
    (held,) = [one for one in verify([Path("exact.yaml")]) if one.figure.claim == "fails-stale-mark"]
    assert held.why == "it is reproduced now: remove the mark `not-reproduced`"
    text = Path("exact.yaml").read_text().replace("    not-reproduced: it was not the same once\n", "")
    Path("mended.yaml").write_text(text)
    assert [one.verdict for one in verify([Path("mended.yaml")]) if one.figure.claim == "fails-stale-mark"] == ["holds"]


def test_what_failed_or_was_refused_says_which_run() -> None:
    held = {one.figure.claim: one for one in verify([Path("refused.yaml")])}
    assert held["skipped-order"].why.startswith("Cacheus was skipped: Cacheus moves the bound")
    assert held["fails-broken"].why.startswith("broken failed: Broken fails at request 899: ZeroDivisionError")
    assert held["skipped-range"].public()["measured"] is None


def test_an_absent_trace_is_told_from_a_wrong_one() -> None:
    with pytest.raises(AbsentError, match="public/lirs-cs is not here yet"):
        fetched(find_public("public/lirs-cs"))
    (held,) = verify([Path("absent.yaml")])
    assert held.why == "public/lirs-cs is not here yet; fetch it: tiersim traces fetch public/lirs-cs"
    Path("absent.yaml").write_text(Path("absent.yaml").read_text().replace("lirs-cs", "lirs-sc"))
    with pytest.raises(tiersim.TiersimError, match="the catalogue has no public trace 'public/lirs-sc'"):
        verify([Path("absent.yaml")])


OWN = "published: x, source: y"
SMALL = """
study: small
scenario: object-cache
trace: {use: generated/zipf-objects, requests: 2k, objects: 300}
cache: {capacity: 30 objects, policy: random}
what_if:
  LRU: {cache.policy: lru}
sweep:
  cache.capacity: [30 objects, 60 objects]
claims:
"""


def small(claims: str, *sets: str) -> dict[str, Verdict]:
    Path("small.yaml").write_text(SMALL + claims)
    return {held.figure.claim: held for held in tiersim.run("small.yaml", sets, keep=False).verdicts()}


def test_one_seed_is_no_order_and_a_mean_all_the_same() -> None:
    lru, base = "min(misses['LRU'])", "max(misses['base'])"
    held = small(
        f"""  a: {{measure: "{lru} < {base}", {OWN}}}
  b: {{measure: "{lru} < max(misses['LRU'])", {OWN}}}
  c: {{measure: "mean(miss_ratio['base'])", range: [1 %, 99 %], {OWN}}}
"""
    )
    assert {name: one.verdict for name, one in held.items()} == {"a": "fails", "b": "holds", "c": "holds"}
    assert "by one seed, which may be chance: repeat it" in held["a"].why
    assert held["c"].public()["interval"] is None
    assert held["c"].interval() == "no interval"
    assert held["b"].interval() == "exact"


@pytest.mark.parametrize(
    ("allowed", "verdict"),
    [
        ("range: [0, 2]", "holds"),
        ("range: [2, 3]", "holds"),
        ("range: [1.99, 2]", "holds"),
        ("range: [2.01, 3]", "fails"),
        ("range: [200 %, 201 %]", "holds"),
        ("range: [-3, -2]", "fails"),
        ("below: 2.01", "holds"),
        ("below: 2", "fails"),
        ("range: [0 B, 2 B]", "holds"),
        ("range: [2 kB, 3 kB]", "fails"),
    ],
)
def test_ends_of_a_range_belong_to_it_and_that_of_below_does_not(allowed: str, verdict: str) -> None:
    assert (
        small(f"  a: {{measure: 2 + 0 * mean(misses), {allowed}, published: x, source: y}}\n")["a"].verdict == verdict
    )


WHOLE = {
    "measure": "mean(misses['LRU'])",
    "and": "mean(misses['LRU']) < mean(misses['base'])",
    "what": "misses",
    "published": "some",
    "figure": 700,
    "range": [0, 10_000],
    "source": "a book",
}
CHANGED = {
    "measure": ("max(misses['LRU'])", "measured"),
    "and": ("mean(misses['LRU']) > mean(misses['base'])", "verdict"),
    "not-reproduced": ("too few", "verdict"),
    "what": ("few misses", "what"),
    "published": ("many", "published"),
    "figure": (800, "published"),
    "range": ([0, 1], "tolerance"),
    "below": (1, "tolerance"),
    "source": ("a paper", "source"),
}


@pytest.mark.parametrize("key", [*KEYS, *OWN_KEYS])
def test_every_key_of_a_claim_turns_something(key: str) -> None:
    study = plain(load(Path("exact.yaml")))
    study |= {"what_if": {"LRU": {"cache.policy": "lru"}}, "sweep": {"cache.capacity": ["5 %", "10 %"]}}
    study["cache"] = {"capacity": "5 %", "policy": "fifo"}

    def told(claim: dict[str, Any]) -> dict[str, Any]:
        (held,) = tiersim.run(study | {"claims": {"a": claim}}, keep=False).verdicts()
        return held.public() | {"what": held.figure.what, "published": (held.figure.published, held.figure.figures)}

    changed, where = CHANGED[key]
    without = {name: value for name, value in WHOLE.items() if key != "below" or name != "range"}
    before, after = told(WHOLE), told(without | {key: changed})
    assert before["verdict"] == "holds"
    assert before[where] != after[where]


# what is refused before anything runs


MEAN = "measure: mean(misses)"
SHARE = "share of cycles in translation, radix native: the stall factor of each workload is set by it"


@pytest.mark.parametrize(
    ("claims", "under", "message"),
    [
        ("  {}", "{}", "`claims` without claims"),
        ("  V1:", "V1", "the claim V1 does not say what it measures"),
        ("  V1: {mesure: 3}", "V1", "the claim V1 does not say what it measures"),
        (f"  V1: {{{MEAN}, range: [0, 1]}}", "range", "what V1 must be is published, and no study says it"),
        (f"  V1: {{{MEAN}, below: 1}}", "below", "what V1 must be is published, and no study says it"),
        (f"  V1: {{{MEAN}, published: 1}}", "published", "what V1 must be is published, and no study says it"),
        (f"  a: {{{MEAN}, {OWN}, rnge: 3}}", "rnge", "unknown key 'rnge'; did you mean 'range'?"),
        (
            f"  V-share: {{{MEAN}}}",
            "V-share",
            f"V-share was used for calibration and may not be claimed ({SHARE})",
        ),
        (
            f"  V-shar: {{{MEAN}}}",
            "V-shar",
            "'V-shar' is no published claim, and does not say `published`; did you mean 'V-share'?",
        ),
        (f"  a: {{{MEAN}, published: 3}}", "a", "'a' is no published claim, and does not say `source`"),
        (f"  a: {{{MEAN}, {OWN}}}", "mean(misses)", "a has no range, and this is a number"),
        (f"  a: {{{MEAN}, {OWN}, range: 3}}", "3", "a range has two ends"),
        (f"  a: {{{MEAN}, {OWN}, range: [3, 2]}}", "[3, 2]", "a range goes from its lower end to its upper end"),
        (f"  a: {{{MEAN}, {OWN}, range: [3, 4 %]}}", "[3, 4 %]", "all ends are of one unit"),
        (
            f"  a: {{{MEAN}, {OWN}, range: [3 ns, 4 ns]}}",
            "3 ns",
            "'3 ns' is a time; expected a share such as 7.4 % or a size such as 80 GiB",
        ),
        (f"  a: {{{MEAN}, {OWN}, range: [1, 2], below: 3}}", "below", "`range` and `below` both say what is allowed"),
        (f"  a: {{{MEAN}, {OWN}, range: [[1, 2], [2, 3]]}}", "mean(misses)", "a is a list of 2 numbers, and this is 1"),
        (f'  a: {{measure: "[1, 2]", {OWN}, range: [1, 2]}}', "[1, 2]", "a is one number, and this is 2"),
        ("  M1: {measure: 0.277}", "0.277", "M1 uses no metric: nothing is measured"),
        ("  K4: {measure: 1 == 1}", "1 == 1", "K4 uses no metric: nothing is measured"),
        (f"  a: {{measure: 1 < 2, {OWN}, range: [1, 2]}}", "1 < 2", "a is a number, and this compares"),
        (
            f"  a: {{{MEAN}, {OWN}, range: [1, 2], not-reproduced: }}",
            "not-reproduced",
            "`not-reproduced` says why in a sentence",
        ),
        (
            f"  a: {{measure: misses, {OWN}, range: [1, 2]}}",
            "misses",
            "this gives 4 values, over what_if and cache.capacity",
        ),
        (
            f"  a: {{measure: mean(mises), {OWN}, range: [1, 2]}}",
            "mises",
            "there is no metric 'mises'; did you mean 'misses'?",
        ),
        (f"  a: {{{MEAN}, and: 3, {OWN}, range: [1, 2]}}", "3", "a comparison belongs here"),
        (f"  a: {{measure: a, {OWN}, range: [1, 2]}}", "a", "a is measured by itself: a -> a"),
        (f"  V12: {{{MEAN}}}", "mean(misses)", "V12 has no range, and this is a number"),
        (f"  V8: {{{MEAN}}}", "V8", "V8 also asks: below V1"),
        (
            "  V1: {measure: \"misses['LRU', 'capacity': '30 objects']\"}",
            "misses['LRU', 'capacity': '30 objects']",
            "V1 is an average over 11 workloads, and this averages none",
        ),
        (f"  V1: {{{MEAN}}}", "mean(misses)", "V1 is an average over 11 workloads, and this averages 4"),
        ("  K3: {measure: max(misses)}", "max(misses)", "K3 is a count of 4 points, and this counts none"),
        (
            "  K3: {measure: \"count(misses['LRU'] > 3)\"}",
            "count(misses['LRU'] > 3)",
            "K3 is a count of 4 points, and this counts 2",
        ),
        ("  D6: {measure: min(misses) < max(misses)}", "D6", "D6 is claimed from 5 seeds, and the study has 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(claims: str, under: str, message: str) -> None:
    Path("small.yaml").write_text(SMALL + claims + "\n")
    with pytest.raises(StudyError) as caught:
        make_plan("small.yaml")
    error = caught.value
    assert error.message == message
    assert error.place is not None
    assert (error.place.file, error.place.line) == ("small.yaml", SMALL.count("\n") + 1)
    assert error.place.text[error.place.column - 1 :][: error.place.width] == under


def test_an_average_is_over_workloads_and_nothing_else() -> None:
    sizes = ", ".join(f"{size} objects" for size in range(30, 41))
    text = SMALL.replace("30 objects, 60 objects", sizes)
    Path("small.yaml").write_text(text + "  V1: {measure: \"mean(misses['LRU'] / misses['base'])\"}\n")
    with pytest.raises(StudyError, match=r"this averages over cache.capacity, which are no workloads"):
        make_plan("small.yaml")


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**30),
    st.floats(allow_nan=False),
    st.sampled_from(["4 %", "-4 %", "2 MB", "3 ns", "", "mean(misses)", "misses['LRU'] < 3", "a", "%", "-", "+ %"]),
)
things = st.one_of(scalars, st.lists(scalars, max_size=3), st.lists(st.lists(scalars, max_size=3), max_size=2))


@given(
    st.one_of(
        things,
        st.dictionaries(
            st.sampled_from(["V1", "V12", "V-share", "D7", "K2", "a"]),
            st.one_of(things, st.dictionaries(st.sampled_from([*KEYS, *OWN_KEYS, "x"]), things)),
        ),
    )
)
def test_no_claims_raise_anything_else(claims: Any) -> None:
    rows = [Row(name, {"what_if": name}, 0, "", "waiting") for name in ("base", "LRU")]
    with contextlib.suppress(StudyError):
        found = read_claims(from_data(claims, "claims"))
        check("s", found, rows, [], [], {"misses"}.__contains__, ["misses"], 1)


@pytest.mark.parametrize("count", [10, 12])
def test_an_average_is_over_as_many_workloads_as_are_published(count: int) -> None:
    text = Path("workloads.yaml").read_text()
    seeds = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]"
    assert seeds in text
    Path("other.yaml").write_text(text.replace(seeds, str(list(range(count)))))
    with pytest.raises(StudyError, match=f"V1 is an average over 11 workloads, and this averages {count}"):
        make_plan("other.yaml")


def test_a_study_that_extends_another_may_take_a_claim_away() -> None:
    Path("less.yaml").write_text("extends: workloads.yaml\nclaims:\n  V1: {not-reproduced: still}\n  V10: null\n")
    plan = make_plan("less.yaml")
    assert plan.claims is not None
    assert list(plan.claims.claims) == ["V1", "V8"]
    assert plan.claims.claims["V1"].mark == "still"
    assert "not-reproduced: still" in plan.resolved()


# the data


def test_every_published_figure_is_whole() -> None:
    ids = {"V": 12, "D": 8, "M": 16, "E": 4, "K": 9}
    every = published()
    claims = {name for name, held in every.items() if not held.calibration}
    assert claims == {f"{letter}{number}" for letter, count in ids.items() for number in range(1, count + 1)}
    for name, held in every.items():
        assert held.what, name
        assert held.published, name
        assert held.known, name
        assert held.setup, name
        assert "arXiv:" in held.source, name
        if held.calibration:
            assert not held.ranges, name
            continue
        assert bool(held.ranges) != (held.asks in ("order", "monotone", "exact")), name
        assert held.tolerance, name
        for figure, allowed in zip(held.figures, held.ranges):
            assert allowed.holds(figure), name  # the authors' own figure is within what is allowed
            assert not allowed.holds(math.nan), name
    assert all(held.average == 11 for name, held in every.items() if name.startswith("V"))


def test_a_range_within_points_is_as_wide_as_it_says() -> None:
    for number in range(1, 16):
        held = published()[f"M{number}"]
        (figure,), (allowed,) = held.figures, held.ranges
        points = 0.03 if number <= 12 else 0.02
        assert (figure - allowed.low, allowed.high - figure) == pytest.approx((points, points))


# what is shown


def test_run_shows_and_gives_the_verdicts(command: Call) -> None:
    status, out, _ = command("run", "workloads.yaml", "--quiet", "--workers", "1")
    assert status == 0  # a claim that fails is no run that fails
    assert "3 claims: 1 holds, 1 fails, 1 not-reproduced" in out
    made = json.loads(command("run", "workloads.yaml", "--quiet", "--workers", "1", "--json")[1])
    assert [held["claim"] for held in made["claims"]] == ["V1", "V8", "V10"]
    report = Path("results/claims-workloads/report.html").read_text()
    assert '<h2 id="claims">Claims</h2>' in report
    assert "the optimum is no TLB" in report
    assert "claims:" in Path("results/claims-workloads/resolved.yaml").read_text()


def test_a_study_without_claims_shows_none(command: Call) -> None:
    Path("small.yaml").write_text(SMALL.replace("claims:\n", ""))
    made = json.loads(command("run", "small.yaml", "--quiet", "--workers", "1", "--json")[1])
    assert "claims" not in made
    assert 'id="claims"' not in Path("results/small/report.html").read_text()
    status, _, said = command("verify", "small.yaml")
    assert status == 2
    assert "small.yaml makes no claims" in said


FORM = {"study", "claim", "source", "published", "measured", "interval", "tolerance", "verdict", "why"}


def test_verify_prints_the_form_that_scripts_read(command: Call) -> None:
    status, out, _ = command(
        "verify", "workloads.yaml", "absent.yaml", "--quiet", "--workers", "1", "--json", "--out", "there"
    )
    assert status == 1
    made = json.loads(out)
    assert made.keys() == {"claims"}
    assert all(held.keys() == FORM for held in made["claims"])
    first, *_, last = made["claims"]
    assert first["published"] == 0.074
    assert first["tolerance"] == [0.04, 0.12]
    assert first["interval"] == [first["measured"], first["measured"]]
    assert (last["verdict"], last["measured"], last["interval"]) == ("skipped", None, None)
    assert Path("there/claims-workloads/runs.csv").exists()
    below = next(one for one in verify([Path("seeds.yaml")], out=Path("there")) if one.figure.claim == "D7")
    assert below.public()["tolerance"] == [None, -0.03]


def test_verify_ends_as_its_claims_do(command: Call) -> None:
    status, out, _ = command("verify", "absent.yaml", "--quiet", "--workers", "1")
    assert status == 0
    assert "1 claim: 1 skipped" in out
    text = Path("workloads.yaml").read_text()
    Path("wrong.yaml").write_text(text.replace("misses['LRU']", "misses['LRV']"))
    status, _, said = command("verify", "wrong.yaml", "--quiet", "--workers", "1")
    assert status == 2
    assert "no variant is called 'LRV'; did you mean 'LRU'?" in said
    assert "Traceback" not in said


def test_verify_takes_the_library_and_runs_only_what_claims(
    command: Call, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    library = folder / "library"
    library.mkdir()
    (library / "a.yaml").write_text(SMALL.replace("claims:\n", "").replace("small", "never-run"))
    shutil.copy("absent.yaml", library / "b.yaml")
    monkeypatch.setattr("tiersim.experiments.claims.verify.LIBRARY", library)
    assert [held.study for held in verify()] == ["claims-absent"]
    assert not Path("results/never-run").exists()
    (library / "b.yaml").unlink()
    status, out, _ = command("verify")
    assert (status, out) == (0, "no study of the library makes a claim\n")


def test_verify_resumes() -> None:
    verify([Path("workloads.yaml")])
    before = {path: path.stat().st_mtime_ns for path in Path("results/claims-workloads/runs").iterdir()}
    assert verify([Path("workloads.yaml")])
    assert {path: path.stat().st_mtime_ns for path in Path("results/claims-workloads/runs").iterdir()} == before


def test_verdicts_are_counted() -> None:
    figure = published()["V1"]
    held = [Verdict("s", figure, verdict) for verdict in ("holds", "fails", "holds", "skipped")]
    assert counted(held) == "4 claims: 2 hold, 1 fails, 1 skipped"
    assert counted(held[:1]) == "1 claim: 1 holds"


# what is explained


def test_list_and_explain_tell_every_published_figure() -> None:
    assert [row["name"] for row in listing("claims")] == list(published())
    answer = explain("V8")
    assert answer.paper == published()["V8"].source
    for part in ("+0.8 %", "-2 % to 4 %, and below V1", "From 11 workloads", "third-party notes"):
        assert part in answer.text
    assert "It may not be claimed: the stall factor" in explain("V-share").text
    assert "From 20 seeds" in explain("K8").text
    with pytest.raises(StudyError, match="did you mean 'V12'"):
        explain("V122")


def test_explain_and_schema_know_every_key_of_a_claim() -> None:
    assert {key.key.rpartition(".")[2] for key in claim_keys()} == {*KEYS, *OWN_KEYS}
    answer = explain("claims")
    assert "geomean" in answer.text
    assert answer.keys == claim_keys()


@pytest.mark.parametrize("study", STUDIES)
def test_the_schema_accepts_the_fixtures(study: str) -> None:
    rule = the_schema("object-cache")
    assert fits(plain(load(Path(f"{study}.yaml"))), rule, rule) == ""


def test_the_schema_refuses_what_no_claim_says() -> None:
    rule, study = the_schema("object-cache"), plain(load(Path("workloads.yaml")))
    assert "mesure is not known" in fits(study | {"claims": {"V1": {"measure": "1", "mesure": "1"}}}, rule, rule)
    assert "measure is missing" in fits(study | {"claims": {"V1": {}}}, rule, rule)
