"""How far ahead of a client we send, when its protocol says nothing of what was taken.

Between us and a local program that reads slowly there is room for many MiB: the kernel's buffers at every hop, and the
relay. Everything else that we have to say to the same client, also the acceptance of a new connection, would wait behind
them. So a ping follows the data every now and then, and what the client has not confirmed by its answer is bounded: little
when answers are slow, and doubled while they are prompt, since a distant client needs more on its way.
"""

from __future__ import annotations

from collections import deque
from typing import Final

AHEAD_BYTES_MIN: Final = 32 * 1024
AHEAD_BYTES_MAX: Final = 8 * 1024 * 1024
"""Enough for 80 MB/s over a hundred milliseconds."""
AHEAD_BYTES_FIRST: Final = 512 * 1024
PROMPT_S: Final = 0.15
"""Answers within that time let us send further ahead."""
SLOW_S: Final = 0.4
"""Answers after that time mean that the client takes less than it is sent."""
MARKS_MAX: Final = 64
"""Pings waited for. The oldest is forgotten first: a younger answer says the same and more."""


class Pace:
    """Bytes sent and confirmed. Times are the caller's clock's, in seconds."""

    def __init__(self) -> None:
        self.ahead_max = AHEAD_BYTES_FIRST
        self._sent = self._confirmed = self._marked = 0
        self._marks: deque[tuple[int, int, float]] = deque(maxlen=MARKS_MAX)
        """(ping id, bytes sent before it, when), oldest first."""

    @property
    def may_send(self) -> bool:
        """Whether the client is not too far behind."""
        return self._sent - self._confirmed < self.ahead_max

    @property
    def wants_ping(self) -> bool:
        """Whether enough was sent since the last one."""
        return self._sent - self._marked >= self.ahead_max // 4

    def send(self, size: int) -> None:
        """So much was sent."""
        self._sent += size

    def mark(self, ping_id: int, now: float) -> None:
        """A ping was sent after everything so far."""
        self._marked = self._sent
        self._marks.append((ping_id, self._sent, now))

    def confirm(self, ping_id: int, now: float) -> None:
        """A ping was answered, and so everything before it has been read; answers may overtake one another."""
        if all(mark[0] != ping_id for mark in self._marks):
            return
        while True:
            marked_id, sent, at = self._marks.popleft()
            if marked_id == ping_id:
                break
        self._confirmed = sent
        took_s = now - at
        if took_s < PROMPT_S:
            self.ahead_max = min(AHEAD_BYTES_MAX, self.ahead_max * 2)
        elif took_s > SLOW_S:
            self.ahead_max = max(AHEAD_BYTES_MIN, self.ahead_max // 2)
