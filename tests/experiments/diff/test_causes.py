"""What differs between two configurations, and what stands between them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim.experiments.diff.causes import ABSENT, Cause, causes_of, mixed

A: dict[str, Any] = {
    "use": "memory-hierarchy",
    "trace": {"use": "generated/zipf", "skew": 0.9, "skip": "0"},
    "system": {
        "caches": {"l1": {"capacity": "32 KiB", "policy": {"use": "lru"}}, "l3": {"capacity": "1 MiB"}},
        "memory": {"latency": "80 ns"},
    },
    "sizes": [1, 2],
}


def changed(**settings: Any) -> dict[str, Any]:
    """The configuration with dotted keys (``__`` for a dot) set; `ABSENT` takes one away."""

    def put(tree: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
        first, *rest = path
        inner = put(tree.get(first, {}), rest, value) if rest else value
        made = {**tree, first: inner}
        return {key: held for key, held in made.items() if held is not ABSENT}

    out = A
    for name, value in settings.items():
        out = put(out, name.split("__"), value)
    return out


def names(b: dict[str, Any]) -> list[str]:
    return [cause.name for cause in causes_of(A, b)]


def test_equal_configurations_have_no_cause() -> None:
    assert causes_of(A, changed()) == []


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        (changed(system__memory__latency="90 ns"), ["system.memory.latency"]),
        # another policy has other parameters: all that it has is one cause
        (changed(system__caches__l1__policy={"use": "srrip", "bits": 2}), ["system.caches.l1.policy"]),
        (changed(system__caches__l1__policy={"use": "lru", "bits": 2}), ["system.caches.l1.policy.bits"]),
        (changed(system__caches__l3=ABSENT), ["system.caches.l3"]),
        (changed(system__caches__l2={"capacity": "1 MiB", "ways": 8}), ["system.caches.l2"]),
        (changed(trace={"use": "other", "limit": "9"}), ["trace"]),
        (changed(trace__skew=1.1, trace__limit="9"), ["trace.skew", "trace.limit"]),
        (changed(sizes=[1, 3]), ["sizes"]),
        (changed(sizes=ABSENT), ["sizes"]),
    ],
)
def test_a_cause_is_the_highest_node_that_differs_for_good(b: dict[str, Any], expected: list[str]) -> None:
    assert names(b) == expected


def test_causes_tell_both_values() -> None:
    (policy,) = causes_of(A, changed(system__caches__l1__policy={"use": "srrip", "bits": 2}))
    assert policy.told() == ("lru", "srrip")
    (gone,) = causes_of(A, changed(system__caches__l3=ABSENT))
    assert gone.told() == ("capacity: 1 MiB", "-")
    assert Cause(("x",), 3, [1, 2]).told() == ("3", "1, 2")


def test_a_mixture_has_what_was_switched_and_nothing_else() -> None:
    b = changed(system__memory__latency="90 ns", system__caches__l3=ABSENT, system__caches__l1__capacity="64 KiB")
    causes = causes_of(A, b)
    assert [cause.name for cause in causes] == [
        "system.caches.l1.capacity",
        "system.caches.l3",
        "system.memory.latency",
    ]
    assert mixed(A, b, causes, {1}) == changed(system__caches__l3=ABSENT)
    assert mixed(A, b, causes, {0, 2}) == changed(
        system__memory__latency="90 ns", system__caches__l1__capacity="64 KiB"
    )


def test_what_only_b_has_comes_where_it_stands_there() -> None:
    """The last cache is the lowest one, and a table's order is that of the caches."""
    a = {"caches": {"l1": 1, "l3": 3}}
    b = {"caches": {"l0": 0, "l1": 1, "l2": 2, "l3": 3}}
    assert list(mixed(a, b, causes_of(a, b), {1})["caches"]) == ["l1", "l2", "l3"]
    assert list(mixed(a, b, causes_of(a, b), {0, 1})["caches"]) == ["l0", "l1", "l2", "l3"]


LEAF = st.sampled_from(["1 KiB", 2, None, True])
TREE = st.recursive(
    LEAF, lambda inner: st.dictionaries(st.sampled_from(["use", "a", "b", "c"]), inner, max_size=3), max_leaves=8
)
CONFIG = st.dictionaries(st.sampled_from(["a", "b", "c"]), TREE, max_size=3)


@given(CONFIG, CONFIG)
def test_none_switched_is_a_and_all_switched_is_b(a: dict[str, Any], b: dict[str, Any]) -> None:
    causes = causes_of(a, b)
    assert mixed(a, b, causes, ()) == a
    assert mixed(a, b, causes, range(len(causes))) == b
    assert (causes == []) == (a == b)
    assert {cause.path for cause in causes_of(b, a)} == {cause.path for cause in causes}
    for number, cause in enumerate(causes):  # one alone is the only cause
        assert [held.path for held in causes_of(a, mixed(a, b, causes, {number}))] == [cause.path]
