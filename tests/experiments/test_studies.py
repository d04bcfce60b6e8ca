"""The studies that come along, by name: where a name may stand, and what is said of one that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiersim._base.errors import StudyError
from tiersim.experiments.catalogue import listing
from tiersim.experiments.studies import LIBRARY, names, study_file
from tiersim.experiments.study import read_study


def test_every_file_of_the_library_has_a_name_and_a_question() -> None:
    listed = listing("studies")
    assert [row["name"] for row in listed] == names() == sorted(f"library/{file.stem}" for file in LIBRARY.iterdir())
    assert all(row["about"].endswith("?") for row in listed)


def test_a_name_is_the_file_wherever_one_stands(tmp_path: Path) -> None:
    by_name, by_file = read_study("library/bigger-l2"), read_study(LIBRARY / "bigger-l2.yaml")
    assert (by_name.name, by_name.tree, by_name.file) == (by_file.name, by_file.tree, by_file.file)
    mine = tmp_path / "mine.yaml"
    mine.write_text("study: mine\nextends: library/bigger-l2\nsweep: null\n")
    assert [variant.label for variant in read_study(mine).variants] == [
        *("base", "SRRIP in the L2", "twice the L2", "both"),
    ]


def test_a_path_that_looks_alike_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("library").mkdir()
    Path("library/bigger-l2.yaml").write_text("study: mine\nscenario: x\n")
    assert read_study("library/bigger-l2.yaml").name == "mine"
    assert study_file(tmp_path / "library" / "bigger-l2") == tmp_path / "library" / "bigger-l2"


def test_a_name_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no study 'bigger-l3'; did you mean 'bigger-l2'") as told:
        read_study("library/bigger-l3")
    assert told.value.place is None
    mine = tmp_path / "mine.yaml"
    mine.write_text("study: mine\nextends: library/biger-l2\n")
    with pytest.raises(StudyError, match=r"did you mean 'bigger-l2'") as told:
        read_study(mine)
    assert (told.value.place.line, told.value.place.column) == (2, 10)
    with pytest.raises(StudyError, match="`tiersim list studies` shows them all"):
        read_study("library/something-else")
