"""The channel protocol: several streams in one WebSocket, a byte before each message says which.

Kubernetes' remotecommand protocols (apimachinery/pkg/util/remotecommand, KEP-4006). In all of them channel 0 is standard
input, 1 and 2 are output, 3 tells the end, 4 the terminal's size. From v4 on the end is a Status in JSON; v5 can also
close standard input. The `base64` variants are text, for clients without binary messages; their channel is a digit.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255
"""Not a stream: the byte after it names the channel that the sender will not write to any more (v5)."""
DIMENSION_MAX = 0xFFFF  # what a terminal can be set to


@dataclass(frozen=True, slots=True)
class Protocol:
    """One of the subprotocols."""

    name: str
    is_text: bool = False
    has_status: bool = True
    """The end is told as a Status in JSON; otherwise as a message, and only when something went wrong."""
    has_close: bool = False

    def encode(self, channel: int, data: bytes) -> bytes | str:
        """One message; text for a protocol that is text."""
        if self.is_text:
            return f"{channel}{base64.b64encode(data).decode()}"
        return bytes((channel,)) + data

    def decode(self, message: bytes | str) -> tuple[int, bytes]:
        """Channel and data. Raises ValueError for what is not of this protocol."""
        raw = message.encode() if isinstance(message, str) else message
        if not raw:
            raise ValueError("a message without a channel")
        if not self.is_text:
            return raw[0], raw[1:]
        if not 0x30 <= raw[0] <= 0x39:
            raise ValueError("the channel is not a digit")
        try:
            return raw[0] - 0x30, base64.b64decode(raw[1:], validate=True)
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from error

    def closes(self, channel: int, data: bytes) -> int | None:
        """The channel that a message closes, if that is what it does."""
        return data[0] if self.has_close and channel == CLOSE and data else None

    def encode_end(self, status: dict[str, Any]) -> bytes:
        """What channel 3 carries at the end."""
        if self.has_status:
            return json.dumps(status).encode()
        return str(status.get("message", "")).encode() if status["status"] == "Failure" else b""


PROTOCOLS = (
    Protocol("v5.channel.k8s.io", has_close=True),
    Protocol("v4.channel.k8s.io"),
    Protocol("v4.base64.channel.k8s.io", is_text=True),
    Protocol("channel.k8s.io", has_status=False),
    Protocol("base64.channel.k8s.io", is_text=True, has_status=False),
)
UNNAMED = Protocol("", has_status=False)
"""For a client that offers none."""


def choose(offered: Iterable[str]) -> Protocol | None:
    """The client's first choice that we know; None when we know none of what it offers."""
    names = [name for name in offered if name]
    if not names:
        return UNNAMED
    known = {protocol.name: protocol for protocol in PROTOCOLS}
    return next((known[name] for name in names if name in known), None)


def exit_status(code: int) -> dict[str, Any]:
    """The Status of a command that ran."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure_status(message: str) -> dict[str, Any]:
    """The Status of one that did not, as the kubelet words it."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }


def terminal_size(data: bytes) -> tuple[int, int] | None:
    """Columns and rows of a message on channel 4; None for one that says nothing usable."""
    try:
        size = json.loads(data)
        width, height = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return None
    if not (0 < width <= DIMENSION_MAX and 0 < height <= DIMENSION_MAX):
        return None
    return width, height
