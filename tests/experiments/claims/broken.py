"""A policy that breaks after a while."""


class Broken:
    """Holds nothing, and divides by nothing at its 900th request."""

    def start(self, capacity: int) -> None:
        self.left = 900

    def __len__(self) -> int:
        return 0

    def on_access(self, x: int, size: int) -> bool:
        self.left -= 1
        return 1 // self.left > 1
