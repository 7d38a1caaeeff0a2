"""Every bound and interval between a worker and the process that has the store, each with the reason for its number."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol import WATCH_PROGRESS_INTERVAL_S

MIB = 1 << 20


@dataclass(frozen=True)
class RemoteSettings:
    """How a worker uses the store."""

    start_timeout_s: float = 20.0
    """How long a start waits for the store's process, which may have a long log to read."""

    settle_timeout_s: float = 5.0
    """How long a write whose answer was lost waits for the store's process to be back, so that its outcome can be found
    out. Longer than that process takes to start, shorter than the patience of clients."""

    reconnect_delay_s: float = 0.05
    """Pause between two attempts to reach the store's process. It is on this machine: an attempt costs microseconds."""

    page_keys: int = 500
    """Keys of one page of a long range, so that no frame becomes so large that others wait behind it."""

    progress_interval_s: float = WATCH_PROGRESS_INTERVAL_S
    """Longest silence of a watch before it gets a bookmark."""

    watch_backlog_events: int = 10_000
    """Events a watch may leave unread before it is told WatcherTooSlow and has to list again."""

    watch_backlog_bytes: int = 64 * MIB
    """The same bound in bytes, because values may be large and an unread event keeps its value in memory."""

    recent_events: int = 10_000
    """Newest events kept in memory: a watch that resumes within them asks the store for nothing."""

    recent_bytes: int = 32 * MIB
    """The same bound in bytes."""
