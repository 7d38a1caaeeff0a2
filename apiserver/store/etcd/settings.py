"""How an etcd cluster is reached and used, each number with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..protocol import WATCH_PROGRESS_INTERVAL_S

MIB = 1 << 20


@dataclass(frozen=True)
class EtcdSettings:
    """One cluster, and one user of it."""

    urls: tuple[str, ...]
    """Its members: `http://host:port` or `https://host:port`, port 2379 when none is given. The first that answers is
    used for everything until it fails, then the next. A user and a password may stand in the URL."""

    cafile: Path | None = None
    """PEM certificates that sign the members' certificates; without it the system's are trusted."""

    certfile: Path | None = None
    """Our client certificate in PEM, for an etcd that asks for one."""

    keyfile: Path | None = None
    """Its private key."""

    username: str = ""
    """Whom to authenticate as, if etcd has authentication enabled. The store watches its whole key space: the user's
    role needs read and write permission from the first key on without an end (`etcdctl role grant-permission ROLE
    readwrite '' --prefix`)."""

    password: str = field(default="", repr=False)
    """The user's password."""

    start_timeout_s: float = 10.0
    """How long a start waits for a member that answers. A cluster that starts at the same time has elected by then."""

    request_timeout_s: float = 6.0
    """How long one call may take with all its attempts. Longer than an election (etcd: 1 to 2 s), shorter than the
    patience of people."""

    attempt_timeout_s: float = 2.0
    """How long one member of several may take before the next is asked. With one member an attempt has all the time
    there is, because asking again would ask the same."""

    retry_delay_min_s: float = 0.05
    """Pause after every member has failed once; it doubles, with jitter."""

    retry_delay_max_s: float = 1.0
    """Longest such pause, so that work goes on soon after etcd is back."""

    stall_s: float = 3.0
    """How long the watch may lack a revision that another answer has shown before it is opened anew elsewhere: a
    member can be cut off from the others and keep its connections."""

    keepalive_interval_s: float = 10.0
    """Pings on an open connection. etcd refuses clients that ping more often than every 5 s."""

    keepalive_timeout_s: float = 5.0
    """How long a ping may be unanswered before the connection is given up."""

    page_bytes: int = 4 * MIB
    """What one page of a long range aims at: pages grow and shrink in keys towards it. etcd bounds pages only in keys."""

    progress_interval_s: float = WATCH_PROGRESS_INTERVAL_S
    """Longest silence of a watch before it gets a bookmark."""

    watch_backlog_events: int = 10_000
    """Events a watch may leave unread before it is told WatcherTooSlow and has to list again."""

    watch_backlog_bytes: int = 64 * MIB
    """The same bound in bytes, because values may be large and an unread event keeps its value in memory."""

    recent_events: int = 10_000
    """Newest events kept in memory: a watch that resumes within them asks etcd for nothing."""

    recent_bytes: int = 32 * MIB
    """The same bound in bytes."""

    compact_every_s: float = 60.0
    """How often history outside the window is given up; 0 never. Several API servers may all do it."""

    history_age_s: float = 300.0
    """History younger than this is kept: a watch may be gone for so long and resume without listing again. Kubernetes
    compacts at the same age."""

    history_revisions: int = 1_000_000
    """History beyond this many revisions is given up even when it is younger, so that a burst cannot reach the quota."""
