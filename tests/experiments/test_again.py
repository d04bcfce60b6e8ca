"""A run made again from the configuration that is kept with it."""

from pathlib import Path

import pytest

import tiersim
from tiersim._base.errors import StudyError
from tiersim._base.params import dump
from tiersim.experiments.plan import make_plan, scenario_of
from tiersim.experiments.runner import key_of

LIBRARY = sorted((Path(__file__).parents[2] / "experiments" / "library").glob("*.yaml"))
STUDY = {
    "study": "small",
    "scenario": "memory-hierarchy",
    "trace": {"use": "generated/zipf", "records": "2k", "footprint": "64 KiB"},
    "system": "desktop-cpu",
    "what_if": {"random": {"system.caches.l2.policy": "random"}},
    "seed": 7,
}


@pytest.mark.parametrize("study", LIBRARY, ids=lambda path: path.stem)
def test_the_configuration_of_a_run_says_all_that_it_is_made_of(study: Path) -> None:
    try:
        plan = make_plan(study)
    except tiersim.TiersimError as error:
        pytest.skip(f"{error}; see TIERSIM_TRACE_MIRROR")
    for one in plan.runs[:: max(1, len(plan.runs) // 4)]:
        again = scenario_of(plan.study.scenario, dump(one.scenario))
        assert dump(again) == dump(one.scenario)
        assert key_of(again, one.seed) == key_of(one.scenario, one.seed)


def test_the_key_of_a_run_is_found_again() -> None:
    result = tiersim.run(STUDY, keep=False)
    assert [row.seed for row in result.rows] == [7, 7]
    for row in result.rows:
        assert key_of(scenario_of("memory-hierarchy", row.config), row.seed) == row.key
    drawn = scenario_of("memory-hierarchy", result.rows[1].config)
    assert key_of(drawn, 8) != result.rows[1].key


def test_a_configuration_that_cannot_be_is_refused() -> None:
    config = tiersim.run(STUDY, keep=False).rows[0].config
    with pytest.raises(StudyError, match="capacity"):
        scenario_of("memory-hierarchy", {**config, "system": {**config["system"], "caches": {"l1": {"ways": 3}}}})
