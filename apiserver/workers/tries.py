"""Tries to log in, counted by the keeper: an attacker gets no more of them from several workers than from one."""

from __future__ import annotations

from ..errors import ServiceUnavailable
from ..store.protocol import Unavailable
from .colleagues import Colleagues
from .words import FILL, GIVE_BACK, TAKE


class SharedTries:
    """Implements `facade.guessing.Tries`."""

    def __init__(self, colleagues: Colleagues) -> None:
        self._colleagues = colleagues

    async def take(self, name: str, key: str) -> float:
        """See `Tries.take`. Without the keeper nobody logs in."""
        try:
            return float(await self._colleagues.ask(TAKE, name, key))
        except Unavailable as error:
            raise ServiceUnavailable(str(error), retry_after_s=1) from error

    def give_back(self, name: str, key: str) -> None:
        """See `Tries.give_back`."""
        self._colleagues.say(GIVE_BACK, name, key)

    def fill(self, name: str, key: str) -> None:
        """See `Tries.fill`."""
        self._colleagues.say(FILL, name, key)
