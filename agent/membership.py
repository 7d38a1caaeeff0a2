"""Whether this agent is its node: the incarnation it has claimed, until somebody says that it is over.

While it is not, nothing is reported and no heartbeat is sent; the pods that run go on. See docs/decisions/0014.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import time
from pathlib import Path

from prometheus_client import Counter, Gauge

from stark.client.api import Client
from stark.client.errors import Superseded
from stark.crds.incarnations import HEADER, Holder, Incarnation

log = logging.getLogger(__name__)

INSTALLATION_FILE = "installation"
HEARD_FILE = "heard"
ID_BYTES = 8

INCARNATION = Gauge("stark_agent_incarnation", "Number of the node's life for which this agent speaks; 0: none")
FENCED = Counter("stark_agent_fenced", "Times this agent was told that its node had been given up or taken over")


class Membership:
    """Holds what the agent may say it is. `current` and `over` are opposites, for whoever waits for one of them."""

    def __init__(self, client: Client, holder: Holder) -> None:
        self._client = client
        self.holder = holder
        self.current, self.over = asyncio.Event(), asyncio.Event()
        self.over.set()
        self.has_held = False
        """Whether this process has ever been the node."""

    def claimed(self, incarnation: Incarnation) -> None:
        """The node is ours: speak for it from now on."""
        self._client.present(HEADER, incarnation.header)
        INCARNATION.set(incarnation.number)
        self.has_held = True
        self.over.clear()
        self.current.set()
        log.info("node claimed", extra={"incarnation": incarnation.number, "holder": str(self.holder)})

    def fence(self, why: str) -> None:
        """Somebody has told us that it is over. Telling it twice is as good as once."""
        if self.over.is_set():
            return
        FENCED.inc()
        INCARNATION.set(0)
        self.current.clear()
        self.over.set()
        log.warning("this agent's life as the node is over", extra={"detail": why})

    def refused(self, error: Superseded) -> None:
        """A write was refused because of it."""
        self.fence(error.message)


def holder_of(data_dir: Path, machine_id: str) -> Holder:
    """Who we are: the installation is the data directory on this machine, and so is not copied with the directory alone.

    Raises OSError: whoever cannot read or keep who they are would be somebody else after each restart.
    """
    path = data_dir / INSTALLATION_FILE
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        secret = ""
    if not secret:
        secret = secrets.token_hex(ID_BYTES)
        _write(path, secret, lasting=True)
    installation = hashlib.sha256(f"{machine_id}/{secret}".encode()).hexdigest()[: 2 * ID_BYTES]
    return Holder(installation, secrets.token_hex(ID_BYTES // 2))


class Contact:
    """When the API server last took a heartbeat, by a clock that nobody sets and that counts while the machine sleeps.

    Kept on disk when somebody asks for it: an agent that is restarted while it is cut off does not begin to count anew.
    """

    def __init__(self, data_dir: Path, boot_id: str) -> None:
        self._path, self._boot = data_dir / HEARD_FILE, boot_id
        self._at = self._read()

    def heard(self, *, keep: bool) -> None:
        """Just now."""
        self._at = _now_s()
        if keep:
            try:
                _write(self._path, f"{self._boot} {self._at}")
            except OSError as error:
                log.warning("the time of the last heartbeat was not kept", extra={"error": str(error)})

    @property
    def silent_s(self) -> float:
        """Seconds since then; since our own start when there was none in this boot."""
        return _now_s() - self._at

    def _read(self) -> float:
        now = _now_s()
        try:
            boot, at = self._path.read_text().split()
            return min(float(at), now) if boot == self._boot else now
        except (OSError, ValueError):
            return now


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _write(path: Path, text: str, *, lasting: bool = False) -> None:
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        if lasting:  # an empty file after a power cut would be another installation
            file.flush()
            os.fsync(file.fileno())
    part.rename(path)
