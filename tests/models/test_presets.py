"""Presets: every number has a source, and each makes a system that can be built."""

import pytest

from tiersim._base.errors import StudyError
from tiersim._base.registry import validate
from tiersim.experiments import presets
from tiersim.experiments.yaml_tree import plain
from tiersim.models.caches import System, levels_of

ALL = sorted(path.stem for path in presets.FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", ALL)
def test_every_value_has_a_source(name: str) -> None:
    found = presets.find(name)
    assert found.name == name
    assert found.about
    assert found.values
    for value in found.values:
        assert isinstance(value.source, str), value.key
        assert value.source.strip(), value.key
        if value.source.startswith("assumed") and "=" not in value.source:  # an assumption says how far it may be off
            assert value.uncertainty or "equal" in value.source, value.key


@pytest.mark.parametrize("name", presets.names("system"))
def test_a_system_can_be_built(name: str) -> None:
    problems, made = validate(System, plain(presets.find(name).tree))
    assert not problems
    assert made is not None
    levels, sets = levels_of(made)
    assert len(levels) == len(sets) == len(made.caches)


def test_an_unknown_preset_is_told_with_the_nearest() -> None:
    with pytest.raises(StudyError, match="no preset is called 'desktop-cpus'; did you mean 'desktop-cpu'"):
        presets.find("desktop-cpus")
