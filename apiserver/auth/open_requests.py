"""The requests that last, by who asked: so that those of somebody who is nobody any more can be cut off."""

from __future__ import annotations

from collections.abc import Callable

from ..request import User


class OpenRequests:
    """Watches, logs, transfers and connections into pods that are under way."""

    def __init__(self) -> None:
        self._open: dict[object, tuple[User, Callable[[], None]]] = {}

    def enter(self, user: User, hang_up: Callable[[], None] | None) -> Callable[[], None]:
        """One begins; call the answer when it is over. `hang_up` ends it at once."""
        if hang_up is None:
            return _nothing
        mark = object()
        self._open[mark] = (user, hang_up)

        def leave() -> None:
            self._open.pop(mark, None)

        return leave

    def cut(self, concerns: Callable[[User], bool]) -> int:
        """End all of the users it concerns; how many there were."""
        concerned = [(mark, hang_up) for mark, (user, hang_up) in self._open.items() if concerns(user)]
        for mark, hang_up in concerned:
            self._open.pop(mark, None)
            hang_up()
        return len(concerned)


def _nothing() -> None:
    """What is over that was never noted."""
