"""SPDY/3.1, the protocol in which kubectl carries port-forward, without input and output.

`frames` turns bytes into frames and back, `headers` compresses their header blocks, `connection` holds the state of the
server's side of one connection. Rules: SPDY Protocol Draft 3.1 (chromium.org); habits of the peer that everybody has,
moby/spdystream: it never updates windows and never looks at ours, its streams are odd, and it pings when idle.
"""

from .connection import Connection, DataReceived, Event, GoneAway, Opened, Ponged, Reset, Roomier
from .frames import FrameError, GoAwayStatus, ResetStatus

__all__ = [
    "Connection",
    "DataReceived",
    "Event",
    "FrameError",
    "GoAwayStatus",
    "GoneAway",
    "Opened",
    "Ponged",
    "Reset",
    "ResetStatus",
    "Roomier",
]
