"""What the readers of tree searches share: how many tokens a text has, as far as can be told."""

from __future__ import annotations

from typing import Final

from tiersim._base.params import Param

__all__ = ["CHARACTERS", "estimated"]

CHARACTERS: Final = Param("characters that a token is reckoned to have", ge=0.01)


def estimated(text: str, characters_per_token: float) -> int:
    """The tokens of a text by its characters, rounded up; there is no tokenizer here."""
    return int(-(-len(text) // characters_per_token))
