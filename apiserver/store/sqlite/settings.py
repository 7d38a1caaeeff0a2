"""Every bound and interval of the SQLite store, each with the reason for its number."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol import WATCH_PROGRESS_INTERVAL_S

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class SqliteSettings:
    """How one data directory is used. The defaults fit a control plane on one machine with some 100,000 objects."""

    page_bytes: int = 16 * KIB
    """Size of a database page, fixed when the file is created. Objects of a few KiB then need no overflow pages, and a
    commit of one small object still writes only two or three pages."""

    cache_bytes: int = 16 * MIB
    """Page cache of the writer, and of each reader. The file's hot part also lives in the kernel's cache."""

    readers: int = 2
    """Threads that read, each with its own connection. A read seldom waits for the disk, so few are enough."""

    checkpoint_bytes: int = 4 * MIB
    """Size of the write-ahead log at which it is copied into the database. Small: the copy is made by the writer, and a
    commit that waits behind it waits some 20 ms instead of 250."""

    quota_bytes: int = 8 * GIB
    """Largest size of the database; 0 for none. As with etcd, a store beyond this is a leak, not a cluster, and an
    error now is kinder than a full disk later."""

    reserve_bytes: int = 16 * MIB
    """Disk space held back in a ballast file, and allowance above the quota, so that deletes and compaction still work
    when the disk is full. Enough for thousands of deletes, which then free space inside the database."""

    group_requests_max: int = 512
    """Requests that share one durable commit. More would not be faster, only later for the first of them."""

    group_bytes_max: int = 8 * MIB
    """Bytes that share one durable commit, so that large values do not make everyone wait for one huge commit."""

    heads_bytes_max: int = 16 * MIB
    """Memory of the writer for the newest state of recently written keys, which saves a read on every update."""

    watch_backlog_events: int = 10_000
    """Events a watch may leave unread before it is told WatcherTooSlow and has to list again."""

    watch_backlog_bytes: int = 64 * MIB
    """The same bound in bytes, because values may be large and an unread event keeps its value in memory."""

    recent_events: int = 10_000
    """Newest events kept in memory: a watch that resumes within them reads nothing from disk."""

    recent_bytes: int = 32 * MIB
    """The same bound in bytes."""

    progress_interval_s: float = WATCH_PROGRESS_INTERVAL_S
    """Longest silence of a watch before it gets a bookmark."""

    compact_every_s: float = 30.0
    """How often history outside the window is given up; 0 never. Often, so that each round is short."""

    history_age_s: float = 300.0
    """History younger than this is kept: a watch may be gone for so long and resume without listing again. Kubernetes
    compacts at the same age."""

    history_revisions: int = 1_000_000
    """History beyond this many revisions is given up even when it is younger, so that a burst cannot fill the disk."""

    sweep_rows: int = 500
    """Rows visited by one step of a compaction: a few milliseconds, and writes come between the steps."""

    sweep_pause_s: float = 0.05
    """Time between two steps while there are writes to do: compaction then takes at most a tenth of the writer."""
