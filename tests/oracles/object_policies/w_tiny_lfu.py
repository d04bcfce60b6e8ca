"""W-TinyLFU from section 4 of its paper, with lists."""

from __future__ import annotations

from tests.oracles.object_policies.sketch import Sketch


class WTinyLfu:
    def __init__(self, capacity: int, most: int, window: float = 0.01, doorkeeper: bool = False) -> None:
        self.capacity = capacity
        main = int(capacity * (1 - window) + 1e-9)
        self.window_most = capacity - main
        self.protected_most = main * 8 // 10
        self.window: list[int] = []  # oldest first
        self.probation: list[int] = []
        self.protected: list[int] = []
        self.size: dict[int, int] = {}
        self.sketch = Sketch(capacity, most, doorkeeper)

    def of(self, *lists: list[int]) -> int:
        return sum(self.size[x] for held in lists for x in held)

    def on_access(self, x: int, size: int) -> bool:
        if size > self.capacity and x not in self.window + self.probation + self.protected:
            return False
        self.sketch.count(x, size)
        for held in (self.window, self.probation, self.protected):
            if x in held:
                held.remove(x)
                if held is self.probation and self.size[x] <= self.protected_most:
                    self.protected.append(x)
                    while self.of(self.protected) > self.protected_most:
                        self.probation.append(self.protected.pop(0))
                else:
                    held.append(x)
                return True
        while self.of(self.window, self.probation, self.protected) + size > self.capacity:
            self.leave(size)
        self.size[x] = size
        self.window.append(x)
        while self.of(self.window) > self.window_most:
            self.probation.append(self.window.pop(0))
        return False

    def leave(self, size: int) -> None:
        main = self.probation or self.protected
        candidate = self.window and self.of(self.window) + size > self.window_most
        if main and candidate:
            wins = self.sketch.counted(self.window[0]) > self.sketch.counted(main[0])
            (main if wins else self.window).pop(0)
        else:
            (main or self.window).pop(0)
