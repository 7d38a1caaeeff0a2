"""A client whose process dies after its first write: for showing that any write of a controller may be its last."""

from __future__ import annotations

from typing import Any

from stark.client.api import Client

WRITES = ("create", "update", "patch", "delete")


class Killed(BaseException):
    """The process is no more. Nothing of the code under test may catch it."""


class Mortal:
    """The client. `writes` counts up to one."""

    def __init__(self, api: Client) -> None:
        self._api, self.writes = api, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._api, name)
        return self._last(method) if name in WRITES else method

    def _last(self, method: Any) -> Any:
        async def write(*args: Any, **more: Any) -> Any:
            if self.writes:
                raise Killed
            self.writes += 1
            await method(*args, **more)
            raise Killed

        return write
