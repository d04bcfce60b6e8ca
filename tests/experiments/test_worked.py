"""Worked examples: they do what the engines do, and three of them what was worked out on paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import tiersim
from tiersim._base.errors import StudyError
from tiersim._base.registry import build, index, load
from tiersim.cli.show import explain_command
from tiersim.experiments.worked import (
    FAMILIES,
    GIVEN,
    Worked,
    experts,
    objects,
    offloading,
    routers,
    translations,
    ways,
    worked,
)
from tiersim.models.caches import simulate_lines
from tiersim.sim.expert_offload import offload
from tiersim.sim.expert_stack import expert_hits
from tiersim.sim.expert_tokens import ExpertTokens
from tiersim.sim.object_replay import replay_objects


def names(family: str) -> list[str]:
    return sorted(name for name, entry in index(family).items() if name == entry.name)


ALL = [(family, name) for family in FAMILIES for name in names(family)]


def held(example: Worked) -> list[list[set[str]]]:
    """What each place holds after each step."""
    return [[set(cell.split()) for cell in step.holds] for step in example.steps]


@pytest.mark.parametrize(("family", "name"), ALL)
def test_each_policy_has_steps(family: str, name: str) -> None:
    example = worked(family, name)
    assert (example.family, example.name) == (family, name)
    assert 8 <= len(example.steps) <= 16
    assert {len(step.holds) for step in example.steps} == {len(example.columns)}
    assert example.setting.endswith(".")
    assert all(len(row) == len(example.heads) for row in example.rows)
    assert all(example.totals.values())
    assert worked(family, name) == example


@pytest.mark.parametrize("name", names("object-replacement"))
def test_objects_hit_as_in_the_engine_and_stay_as_long(name: str) -> None:
    example = worked("object-replacement", name)
    requests, capacity = objects.requests_of(name), objects.capacity_of(name)
    policy = build("object-replacement", name)
    outcomes: list[Any] = []
    done = replay_objects(policy, capacity, requests, compiled=False, outcomes=outcomes)
    assert [step.outcome == "hit" for step in example.steps] == [bool(hit) for hit in np.concatenate(outcomes)]
    assert example.totals == {"hits": f"{done.totals.hits} of {done.totals.requests}"}
    for x in range(requests.objects):  # where each object is after each step, as the engine's log has it
        life = replay_objects(policy, capacity, requests, compiled=False, watch=x).life
        place = "out"
        for number, places in enumerate(held(example)):
            place = next((event.after for event in life if event.request == number), place)
            found = [
                column
                for column, texts in zip(example.columns, places, strict=True)
                if any(text.partition(":")[0] == chr(ord("A") + x) for text in texts)
            ]
            assert found == (
                [] if place == "out" else ["in the cache"] if place == "in" and "in" not in example.columns else [place]
            )


@pytest.mark.parametrize("name", names("admission"))
def test_admissions_admit_as_in_the_engine(name: str) -> None:
    requests, outcomes = objects.requests_of(name), []
    lru: Any = build("object-replacement", "lru")
    gate = build("admission", name)
    replay_objects(lru, objects.capacity_of(name), requests, admission=gate, compiled=False, outcomes=outcomes)
    example = worked("admission", name)
    assert [step.outcome == "hit" for step in example.steps] == [bool(hit) for hit in np.concatenate(outcomes)]
    recent: list[str] = []  # behind any admission is LRU
    for step in example.steps:
        if step.outcome != "miss, stays out":
            recent = [text for text in recent if text != step.asked and text not in step.left.split()] + [step.asked]
        assert step.holds == (" ".join(recent),)


def test_replay_counts_the_same_hits(tmp_path: Path) -> None:
    (tmp_path / "steps.csv").write_text("".join(f"{ord(letter)}\n" for letter in objects.TRACE), encoding="utf-8")
    (row,) = tiersim.replay(tmp_path / "steps.csv", "lru", "4obj").rows
    assert {"hits": f"{row.hits} of {row.requests}"} == worked("object-replacement", "lru").totals


BY_HAND = {
    # four objects; the one that was used longest ago stands first
    "lru": "A|AB|BA|BAC|BACD|ACDB|CDBE|DBEC|BECA|ECAF|EAFC|AFCG|FCGH|FCHG|CHGB|HGBA",
    # a hit moves nothing
    "fifo": "A|AB|AB|ABC|ABCD|ABCD|BCDE|BCDE|CDEA|DEAF|EAFC|AFCG|FCGH|FCGH|CGHB|GHBA",
}


@pytest.mark.parametrize("name", BY_HAND)
def test_orders_by_hand(name: str) -> None:
    assert objects.TRACE == "ABACDBECAFCGHGBA"
    found = [step.holds[0].replace(" ", "") for step in worked("object-replacement", name).steps]
    assert found == BY_HAND[name].split("|")


def test_belady_by_hand() -> None:
    example = worked("object-replacement", "belady")
    # E pushes out D, which never comes back; F pushes out E, which neither does; for G and H go C and F, likewise
    assert [step.left for step in example.steps if step.outcome == "miss"][4:6] == ["D", "E"]
    assert {example.steps[11].left, example.steps[12].left} == {"C", "F"}
    assert example.totals == {"hits": "8 of 16"}
    # at step 10 B is needed in 5, A in 6, C in 1 steps, and F never again
    assert example.steps[9].holds[0] == "F A B C"
    assert [step.outcome for step in worked("way-replacement", "belady").steps] == [
        step.outcome for step in example.steps
    ]


@pytest.mark.parametrize("name", [name for name in names("way-replacement") if name != "tlb-aware-srrip"])
def test_ways_hold_what_the_engine_holds(name: str) -> None:
    example = worked("way-replacement", name)
    lines = [ord(letter) - ord("A") for letter in ways.TRACE]
    for count in (5, 8, len(lines)):
        graph = {"l1": {"sets": 1, "ways": ways.WAYS, "policy": name}}
        if name == "belady" and count < len(lines):
            continue  # who knows less of the future decides otherwise
        done = simulate_lines(graph, [("load", line) for line in lines[:count]], engine="plain")
        contents = {chr(ord("A") + line) for line, _ in done.contents["l1"]}
        assert set(example.steps[count - 1].holds[: ways.WAYS]) - {""} == contents
        hits = sum(step.outcome == "hit" for step in example.steps[:count])
        assert done.counters["l1"]["read_misses"] == count - hits


def test_blocks_of_translations_are_spared() -> None:
    """Under pressure a victim that is a TLB block is spared once, so plain lines leave in their place."""
    example = worked("way-replacement", "tlb-aware-srrip")
    assert {"B*", "E*"} <= {step.asked for step in example.steps}
    assert not any("*" in step.left for step in example.steps)
    assert any(step.left for step in example.steps)


@pytest.mark.parametrize("name", names("expert-replacement"))
def test_experts_hit_as_in_one_pass(name: str) -> None:
    uses = [layer * experts.EXPERTS + e for token in experts.TOKENS for layer, e in enumerate(token)]
    tokens = ExpertTokens(
        ids=np.array(uses, np.int32),
        starts=np.arange(len(experts.TOKENS) + 1) * experts.LAYERS,
        ends=np.array([0, len(experts.TOKENS)]),
        first=np.zeros(1, np.int64),
        layers=np.arange(experts.LAYERS),
        experts=experts.EXPERTS,
    )
    found = expert_hits(build("expert-replacement", name), tokens, cold=True, compiled=False).hits(experts.SLOTS)
    example = worked("expert-replacement", name)
    assert sum(step.outcome == "hit" for step in example.steps) == int(found.sum())
    assert max(len(step.holds[0].split()) for step in example.steps) == experts.SLOTS


@pytest.mark.parametrize("name", names("experts"))
def test_systems_end_as_when_they_are_not_stopped(name: str) -> None:
    example = worked("experts", name)
    system = build("experts", {"use": name, **GIVEN.get(("experts", name), {})})
    slots = offloading.SLOTS * (1 if getattr(system, "scope", "layer") == "layer" else 2)
    if not hasattr(system, "place"):
        popular = np.ones(12, np.int64)
        done = offload(offloading.ROWS, offloading.COSTS, system, slots=slots, popular=popular, compiled=False)
        assert example.totals["ends at"] == str(done.end)
        assert example.totals["loads"] == str(done.counts["loads"])
    for places in held(example):
        assert sum(map(len, places[:2])) <= 2 * offloading.SLOTS
    ends = [int(step.holds[-1]) for step in example.steps]
    assert ends == sorted(ends)


def test_a_placement_by_hand() -> None:
    """Fiddler keeps the most popular and runs the others on the processor: 3 + 7 and 2 more for hidden states."""
    example = worked("experts", "fiddler")
    assert {step.holds[:2] for step in example.steps} == {example.steps[0].holds[:2]}
    assert example.totals["loads"] == "0"


@pytest.mark.parametrize("name", names("routing"))
def test_routers_choose_as_when_nobody_looks(name: str) -> None:
    policy = build("routing", name)
    example, (done, seen) = worked("routing", name), routers.served(policy)
    assert list(seen) == list(range(len(routers.REQUESTS)))
    assert [f"instance {place}" for place in done.instance] == [
        step.outcome.partition(" after")[0] for step in example.steps
    ]
    assert example.steps[0].holds[:2] == ("0 / 0 / 0", "0 / 0 / 0")
    assert (done.end > 0).all()


def test_where_requests_go_by_hand() -> None:
    assert [step.outcome for step in worked("routing", "round-robin").steps] == [f"instance {k % 3}" for k in range(12)]
    sticky: dict[str, set[str]] = {}
    for step in worked("routing", "session-hash").steps:
        sticky.setdefault(step.asked.split(",")[1].partition(":")[0], set()).add(step.outcome)
    assert {len(places) for places in sticky.values()} == {1}


@pytest.mark.parametrize("name", names("translation"))
def test_translations_come_from_where_the_engine_counts_them(name: str) -> None:
    example = worked("translation", name)
    policy = build("translation", {"use": name, **GIVEN.get(("translation", name), {})})
    done = translations.ran(policy, len(translations.TRACE))
    found = [step.outcome for step in example.steps]
    assert found.count("page walk") == done.own["walks"]
    assert found.count("second TLB") == done.structures["tlbs.l2"]["lookups"] - done.structures["tlbs.l2"]["misses"]
    assert len(found) - found.count("second TLB") - found.count("first TLB") == done.own["missing"]
    for step in example.steps:
        assert step.asked in step.holds[0].split()  # a translation that was asked for is in the first TLB
        assert len(step.holds[0].split()) <= 2
        assert len(step.holds[1].split()) <= 4


def test_a_block_answers_for_its_neighbours() -> None:
    """A to D share a line of the page table: the walk for A makes a block that the next three find."""
    found = {name: [step.outcome for step in worked("translation", name).steps[:4]] for name in ("radix", "victima")}
    assert found == {"radix": ["page walk"] * 4, "victima": ["page walk", *["TLB block"] * 3]}


def test_predictors_by_hand() -> None:
    said = {
        name: [step.outcome == "costly" for step in worked("walk-cost-predictor", name).steps] for name in PREDICTED
    }
    assert said == {name: [k + 1 in told for k in range(16)] for name, told in PREDICTED.items()}


# after walk k; the 2nd, the 3rd and those from the 6th on read memory, and more than 7 walks are not counted
PREDICTED = {
    "always": range(1, 17),
    "at-least-once": range(2, 17),
    "box-notes": range(2, 11),  # the 10th is the 7th that reads memory
    "box-swapped": range(2, 16),  # and the 15th the 12th
    "artifact-tree": range(2, 17),
}


def test_explain_shows_steps() -> None:
    told = CliRunner().invoke(explain_command, ["object-replacement/lru", "--steps"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    assert worked("object-replacement", "lru").setting in told.output
    assert "hits: 5 of 16" in told.output
    made = json.loads(CliRunner().invoke(explain_command, ["sieve", "--steps", "--json"]).output)
    assert made["example"]["steps"][0]["request"] == "A"
    assert "example" not in json.loads(CliRunner().invoke(explain_command, ["sieve", "--json"]).output)


@pytest.mark.parametrize("word", ["system.caches.l2", "linear", "desktop-cpu"])
def test_what_has_no_steps_says_so(word: str) -> None:
    with pytest.raises(StudyError, match="no policy that is shown by steps"):
        explain_command.main([word, "--steps"], standalone_mode=False)


def test_names_that_are_shown_exist() -> None:
    for family, name in GIVEN:
        assert load(family, name)
    assert set(objects.SIZED) <= {*index("object-replacement"), *index("admission")}
