"""How fast simulations of each kind ran on this machine, for estimates."""

from __future__ import annotations

import hashlib
import json

from tiersim._base.errors import StudyError
from tiersim._base.params import params
from tiersim._base.paths import cache_folder
from tiersim.experiments.scenario import Scenario
from tiersim.experiments.store import write_bytes

__all__ = ["Rates"]

GUESS = 2e7  # steps a second, until this machine has been measured
MOST = 1000  # kinds that are remembered


class Rates:
    """Steps a second by kind of simulation, kept in the user's cache folder."""

    def __init__(self) -> None:
        self._file = cache_folder() / "rates.json"
        self._spent: dict[str, tuple[int, float]] = {}
        try:
            self._known = {str(kind): float(rate) for kind, rate in json.loads(self._file.read_text()).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._known = {}

    def knows(self, scenario: Scenario) -> bool:
        """Whether such a simulation ran here."""
        return _kind(scenario) in self._known

    def of(self, scenario: Scenario) -> float:
        """Steps a second, measured or guessed."""
        return self._known.get(_kind(scenario), GUESS)

    def add(self, scenario: Scenario, seconds: float) -> None:
        """Count a simulation that took so long."""
        kind = _kind(scenario)
        steps, spent = self._spent.get(kind, (0, 0.0))
        self._spent[kind] = (steps + scenario.size(), spent + seconds)

    def save(self) -> None:
        """Remember what was counted, in place of what was known of these kinds."""
        made = {kind: steps / spent for kind, (steps, spent) in self._spent.items() if steps and spent}
        if made:
            known = {kind: rate for kind, rate in self._known.items() if kind not in made} | made
            try:
                write_bytes(self._file, json.dumps(dict(list(known.items())[-MOST:])).encode())
            except StudyError:  # an estimate is worth no error
                return


def _kind(scenario: Scenario) -> str:
    """What runs at one speed: the compiled loop, and what a scenario says in a word: its timing, how many cores."""
    words = {item.name: getattr(scenario, item.name) for item, _, _ in params(type(scenario))}
    short = {name: held for name, held in words.items() if isinstance(held, int | str)}
    text = f"{scenario.registered.name} {short} {scenario.loop()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
