"""How a command ends badly: one plain sentence with the next step, and a documented exit code; never a traceback.

Exit codes: 0 it worked; 1 it did not; 2 the command line was wrong. Interrupted: 130, as shells count it.
"""

from __future__ import annotations

from typing import Any

EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


class CommandError(Exception):
    """What the user is told, and the code the process ends with."""

    exit_code = EXIT_ERROR


class UsageError(CommandError):
    """The command line cannot be understood."""

    exit_code = EXIT_USAGE


class Unreachable(CommandError):
    """The server cannot be talked to: refused, timed out, or not the one its certificate says."""


class ServerError(CommandError):
    """The server answered with a Status (meta/v1) instead of an object."""

    def __init__(self, code: int, status: dict[str, Any]) -> None:
        self.code = code
        self.reason = str(status.get("reason") or "")
        self.status = status
        text = str(status.get("message") or f"the server answered {code}")
        super().__init__(f"Error from server ({self.reason}): {text}" if self.reason else f"Error from server: {text}")
