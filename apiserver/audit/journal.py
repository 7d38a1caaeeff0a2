"""The audit log's files: lines are appended in a chain, a full file is sealed, and what a crash left half written is
repaired.

Used by one thread at a time. Nothing that was given to `write` is ever lost by a failure of the disk: until a sync has
succeeded the lines are kept in memory, and are written again from the last place that is known to be on disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from stark.crds.audit.chain import API_VERSION, ORIGIN, chained
from stark.crds.audit.files import file_name, numbers_in
from stark.crds.audit.head import HEAD_NAME, SLOT_BYTES, SLOTS, Head, Statement, read_head

from ..auth.files import PRIVATE_FILE_MODE, private_directory, sync_directory
from .errors import JournalHeld
from .recovery import Found, look
from .reserve import Reserve
from .settings import AuditSettings
from .signing import Signer

log = structlog.get_logger(__name__)

SIGN_INTERVAL_S: Final = 1.0
"""A signature costs about as much as writing a record, so that not every record gets one. The ones between hang on the
chain."""
UNSYNCED_BYTES_MAX: Final = 8 * 1024 * 1024
"""Lines that are kept until they are on disk, past which they are synced whoever waits or not."""
DAY_S: Final = 86_400
SYNC_FLAG: Final = getattr(os, "RWF_DSYNC", 0)
"""Of a write that is on disk when it returns (Linux 4.7); 0 where there is none."""


class Journal:
    """One log, open for writing."""

    def __init__(self, directory: Path, settings: AuditSettings, signer: Signer) -> None:
        self._directory, self._settings, self._signer = directory, settings, signer
        self._log = ""
        self._oldest = 1
        self.number = 0
        self.link = ORIGIN
        """Of the last line written, or kept to be written."""
        self._synced_link = ORIGIN
        """Of the last line that is on disk: what the head vouches for, and nothing later."""
        self._file = self._head_file = -1
        self._slot = 0
        self._synced_at = 0
        """Bytes of the file that are on disk."""
        self._unsynced: list[bytes] = []
        self._unsynced_bytes = 0
        self._written = 0
        """How many of those have been handed to the kernel."""
        self._is_doubtful = False
        """A write or sync has failed: what is in the file behind `_synced_at` is anybody's guess."""
        self._signed: Statement | None = None
        self._signed_at = 0.0
        self._reserve = Reserve(directory / "reserve", settings.reserve_bytes)

    # Opening and closing.

    def open(self, details: Mapping[str, Any]) -> None:
        """Take up the log where it ended; `details` of this start are recorded. Raises OSError, JournalHeld."""
        private_directory(self._directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._head_file = os.open(self._directory / HEAD_NAME, flags, PRIVATE_FILE_MODE)
        try:
            fcntl.flock(self._head_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._head_file)
            self._head_file = -1
            raise JournalHeld(
                f"the audit log in {self._directory} is written by another process: stop that one first"
            ) from None
        self._reserve.hold()
        self._take_up(self._look())
        self.keep([_own("Start", **details)])
        self.sync()
        self.settle()

    def _look(self) -> Found:
        numbers, is_first = numbers_in(self._directory), self._signer.is_new
        return look(self._directory, read_head(self._directory), numbers, is_first=is_first)

    def _take_up(self, found: Found) -> None:
        self._log, self._oldest = found.log or str(uuid.uuid4()), found.oldest
        self.link = self._synced_link = found.link
        if found.broken:
            log.error("the audit log was touched: see `starkctl audit verify`", found=found.broken)
        if found.number == 0 or found.broken or found.is_sealed:
            self._begin_file(found.newest + 1, found.broken)
            return
        self.number = found.number
        self._file = os.open(self._path(found.number), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._synced_at = found.end
        if found.torn:
            os.ftruncate(self._file, found.end)
            log.warning("an incomplete line at the end of the audit log was taken away", bytes=len(found.torn))
        if not found.end:
            self._write_beginning("")
        if found.torn:
            self.keep([_repair(file_name(found.number), found.torn)])

    def close(self) -> None:
        """Record the end, and let go. Raises OSError when it could not be recorded."""
        if self._head_file < 0:
            return
        try:
            if self._file >= 0:
                self.keep([_own("Stop")])
                self._signed_at = 0.0
                self.sync()
                self._write_head()
        finally:
            for handle in (self._file, self._head_file):
                if handle >= 0:
                    os.close(handle)
            self._file = self._head_file = -1

    # Writing.

    @property
    def is_low(self) -> bool:
        """The disk is full and the reserve is in use: only what frees space should go on."""
        return not self._reserve.held

    @property
    def is_unsigned(self) -> bool:
        """Something was written since the last signature or sync."""
        return bool(self._unsynced) or self._signed is None or self._signed.link != self.link

    def keep(self, bodies: Sequence[bytes]) -> None:
        """Make lines of JSON objects, for the next `write` or `sync`."""
        for body in bodies:
            line, self.link = chained(body, self.link)
            self._unsynced.append(line)
            self._unsynced_bytes += len(line)

    def write(self, bodies: Sequence[bytes] = ()) -> None:
        """Append JSON objects. Raises OSError; they are kept then, and written by the next call."""
        self.keep(bodies)
        self._flush()
        if self._unsynced_bytes > UNSYNCED_BYTES_MAX:
            self.sync()
            self.settle()

    def sync(self) -> None:
        """Return when everything is on disk. Raises OSError."""
        if not self._unsynced:
            return
        if self._written and not self._is_doubtful:
            self._flush()
            self._is_doubtful = True
            os.fdatasync(self._file)
        else:
            # One call that writes and syncs: a thread that comes back from one waits for the interpreter, 5 ms when the
            # event loop is busy.
            self._flush(SYNC_FLAG)
            if not SYNC_FLAG:
                self._is_doubtful = True
                os.fdatasync(self._file)
        self._is_doubtful = False
        self._synced_at += self._unsynced_bytes
        self._synced_link = self.link
        self._unsynced.clear()
        self._written = self._unsynced_bytes = 0

    def settle(self) -> None:
        """What may come once those who wait for a sync have been told: head, next file, reserve. Raises OSError."""
        if self._unsynced and self._file >= 0:
            return  # It could not be synced, and nothing may be said of it.
        touched = self._touched()
        if touched:
            log.error("the audit log was touched: see `starkctl audit verify`", found=touched)
            os.close(self._file)
            self._begin_file(self.number + 1, touched)
            self.sync()
        self._write_head()
        if self._synced_at >= self._settings.file_bytes_max:
            self._turn_over()
        if not self._reserve.held:
            self._reserve.try_again()

    def _touched(self) -> str:
        """Whether somebody put another file in the place of ours, or cut it: what we wrote behind that nobody would see."""
        if self._file < 0 or self._unsynced:
            return ""
        try:
            there = self._path(self.number).stat()
        except FileNotFoundError:
            return f"{file_name(self.number)} was deleted while it was written"
        ours = os.fstat(self._file)
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            return f"{file_name(self.number)} was replaced while it was written"
        if there.st_size != self._synced_at:
            return f"{file_name(self.number)} had {self._synced_at} bytes and has {there.st_size}"
        return ""

    def _flush(self, flags: int = 0) -> None:
        if self._is_doubtful:
            os.ftruncate(self._file, self._synced_at)
            self._written = 0
            self._is_doubtful = False
        if self._written == len(self._unsynced):
            return
        self._is_doubtful = True
        todo = memoryview(b"".join(self._unsynced[self._written :]))
        while todo:
            todo = todo[self._write_some(todo, flags) :]
        self._is_doubtful = False
        self._written = len(self._unsynced)

    def _write_some(self, todo: memoryview, flags: int) -> int:
        try:
            # The file is open for appending, so that the offset means nothing.
            return os.pwritev(self._file, [todo], 0, flags)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._reserve.held:
                raise
            log.error("no space left for the audit log: its reserve is used, changes are refused")
            self._reserve.release()
            return os.pwritev(self._file, [todo], 0, flags)

    def _write_head(self) -> None:
        now = time.monotonic()
        signed = self._signed
        if (
            signed is None
            or signed.oldest != self._oldest
            or (signed.link != self._synced_link and now - self._signed_at >= SIGN_INTERVAL_S)
        ):
            self._signed_at = now
            signed = self._signed = self._sign()
        head = Head(self.number, self._synced_at, self._synced_link, signed)
        # In turn, so that a slot torn by a crash leaves the other. Not synced: a head that is behind is no lie.
        os.pwrite(self._head_file, head.slot(), self._slot * SLOT_BYTES)
        self._slot = (self._slot + 1) % SLOTS

    def _sign(self) -> Statement:
        return self._signer.sign(Statement(self._log, self._oldest, self._synced_link, b""))

    # Files.

    def _path(self, number: int) -> Path:
        return self._directory / file_name(number)

    def _turn_over(self) -> None:
        """Seal the file, begin the next, delete those that are not to be kept."""
        if self._file >= 0:  # or this is another attempt
            self.keep([_own("Seal", file=self.number, signed=self._sign().to_wire())])
            self.sync()
            os.close(self._file)
            self._file = -1
        self._begin_file(self.number + 1, "")
        self.sync()
        self._write_head()
        self._forget_old()

    def _begin_file(self, number: int, broken: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path(number), flags, PRIVATE_FILE_MODE)
        sync_directory(self._directory)
        self.number, self._synced_at = number, 0
        self._write_beginning(broken)

    def _write_beginning(self, broken: str) -> None:
        after = {"seq": self.link.seq, "hash": self.link.digest.hex()}
        told = {"broken": broken} if broken else {}
        self.keep([_own("File", file=self.number, log=self._log, after=after, **told)])

    def _forget_old(self) -> None:
        settings = self._settings
        oldest = self._oldest
        if settings.files_max:
            oldest = max(oldest, self.number - settings.files_max)
        if settings.age_max_days:
            too_old = time.time() - settings.age_max_days * DAY_S
            while oldest < self.number and self._sealed_at(oldest) < too_old:
                oldest += 1
        if oldest == self._oldest:
            return
        self._oldest = oldest
        # First it is signed that they are no longer kept, or a crash between would look like a theft.
        self._write_head()
        os.fdatasync(self._head_file)
        for number in numbers_in(self._directory):
            if number < oldest:
                self._path(number).unlink(missing_ok=True)
        log.info("old audit files deleted", oldest_kept=file_name(oldest))

    def _sealed_at(self, number: int) -> float:
        try:
            return self._path(number).stat().st_mtime
        except FileNotFoundError:
            return time.time()  # Not ours to declare old: whoever verifies the log will miss it.


@lru_cache(maxsize=64)
def _second(whole: int) -> str:
    """Most events of a second share it, and calendars are slow."""
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 with microseconds, as metav1.MicroTime writes it."""
    whole, micros = divmod(int(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


def _own(kind: str, **fields: Any) -> bytes:
    """One of the log's own records."""
    return orjson.dumps({"kind": kind, "apiVersion": API_VERSION, "time": timestamp(time.time()), **fields})


TORN_TEXT_MAX: Final = 2_048
"""Characters of what is taken away that are kept for whoever wants to know."""


def _repair(file: str, torn: bytes) -> bytes:
    text = torn[:TORN_TEXT_MAX].decode("utf-8", "replace").rstrip("\0")
    return _own("Repair", file=file, bytes=len(torn), sha256=sha256(torn).hexdigest(), text=text)


def refusals(count: int, reason: str, began: float, ended: float) -> bytes:
    """The record of requests that were refused because nothing could be recorded."""
    return _own("Refusals", count=count, reason=reason, first=timestamp(began), last=timestamp(ended))
