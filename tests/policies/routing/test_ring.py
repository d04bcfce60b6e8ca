"""The ring: whose keys move when an instance comes or goes."""

from __future__ import annotations

import hashlib
from collections import Counter

from tests.oracles.routing import prompt
from tiersim.policies.routing.candidates import Candidates
from tiersim.policies.routing.prefix_table import PrefixTable
from tiersim.policies.routing.ring import Ring, hashed

KEYS = [f"key {k}" for k in range(20_000)]


def pairs(instances: int) -> list[list[int]]:
    table = PrefixTable(2.0, 0.0, whole=True)
    held = Candidates(range(instances), 2, 160, table)
    return [held.of(prompt(k)) for k in range(len(KEYS))]


def test_hashes_are_the_same_everywhere_and_draws_differ() -> None:
    plain = hashlib.blake2b(b"a", digest_size=8).digest()
    assert hashed("a") == int.from_bytes(plain, "big")
    assert len({hashed("a", draw) for draw in range(10)}) == 10


def test_only_keys_of_who_left_move() -> None:
    all_, without = Ring(range(8), 160), Ring([k for k in range(8) if k != 3], 160)
    before, after = [all_.owner(key) for key in KEYS], [without.owner(key) for key in KEYS]
    assert all(old == new for old, new in zip(before, after, strict=True) if old != 3)
    assert 0.10 < before.count(3) / len(KEYS) < 0.15
    gone = Counter(new for old, new in zip(before, after, strict=True) if old == 3)
    assert len(gone) == 7  # all others get some


def test_with_one_point_each_one_owns_a_quarter_or_more() -> None:
    assert max(Counter(map(Ring(range(8), 1).owner, KEYS)).values()) / len(KEYS) > 0.25


def test_of_two_candidates_both_stay_for_three_quarters_and_one_nearly_always() -> None:
    """The card has 74.8 % and 99.1 % with another hash; (7/8)^2 = 76.6 % if no two hashes fell on one instance."""
    eight, seven = pairs(8), pairs(7)
    both = sum(old == new for old, new in zip(eight, seven, strict=True)) / len(KEYS)
    one = sum(bool(set(old) & set(new)) for old, new in zip(eight, seven, strict=True)) / len(KEYS)
    assert 0.73 < both < 0.77
    assert 0.985 < one < 0.997


def test_an_eighth_of_the_keys_has_both_hashes_on_one_instance() -> None:
    ring = Ring(range(8), 160)
    same = [ring.owner(key, 0) == ring.owner(key, 1) for key in KEYS]
    assert 0.115 < sum(same) / len(KEYS) < 0.135
    held = Candidates(range(8), 2, 160, PrefixTable(2.0, 0.0, whole=True))
    for key in KEYS[:500]:
        first, second = held._hashed(key)
        owner = ring.owner(key, 1)
        assert (first, second) == (ring.owner(key), (owner + 1) % 8 if owner == first else owner)


def test_as_many_candidates_as_there_are_instances() -> None:
    held = Candidates(range(3), 5, 160, PrefixTable(2.0, 0.0, whole=True))
    assert {tuple(sorted(held.of(prompt(k)))) for k in range(50)} == {(0, 1, 2)}
    assert Candidates(range(1), 2, 160, PrefixTable(2.0, 0.0, whole=True)).of(prompt(5)) == [0]


def test_places_are_those_among_the_members() -> None:
    members = [2, 5, 7]
    ring = Ring(members, 40)
    assert all(members[ring.place(key, draw)] == ring.owner(key, draw) for key in KEYS[:200] for draw in range(2))
    held = Candidates(members, 2, 160, PrefixTable(2.0, 0.0, whole=True))
    assert {place for k in range(50) for place in held.of(prompt(k))} == {0, 1, 2}
