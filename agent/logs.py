"""Reading what containers wrote: the files that the supervisors keep, with kubectl's options, and following them.

A log is a directory `<namespace>_<pod>_<uid>/<container>` with `<attempt>.log`, and `.log.1` (newest) to `.log.4` for
what was rotated away. Lines are `<RFC3339Nano> <stream> <F|P> <text>`; `P` pieces are joined again here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .growth import Growth

READ_SIZE = 256 * 1024
ATTEMPTS_KEPT = 2  # the current run and the previous one, which is what kubectl can ask for
_NAME = re.compile(r"^(\d+)\.log(?:\.(\d+))?$")


class NoLog(LookupError):
    """There is no such log on this node."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """kubectl's options. Times are POSIX seconds."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: float | None = None
    limit_bytes: int | None = None


class LogShelf:
    """All logs of this node."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)

    def folder(self, namespace: str, pod: str, uid: str, container: str) -> Path:
        """Where one container's logs are."""
        return self._directory / f"{namespace}_{pod}_{uid}" / container

    def latest_uid(self, namespace: str, pod: str) -> str | None:
        """The uid of the newest pod of that name that left logs here."""
        folders = list(self._directory.glob(f"{namespace}_{pod}_*"))
        if not folders:
            return None
        return max(folders, key=lambda folder: folder.stat().st_mtime).name.rpartition("_")[2]

    def attempts(self, folder: Path) -> list[int]:
        """Numbers of the runs that left logs, ascending."""
        try:
            names = [_NAME.match(entry.name) for entry in folder.iterdir()]
        except FileNotFoundError:
            return []
        return sorted({int(match.group(1)) for match in names if match})

    def forget_old_attempts(self, folder: Path) -> None:
        """Remove logs of runs before the previous one."""
        for attempt in self.attempts(folder)[:-ATTEMPTS_KEPT]:
            for file in folder.glob(f"{attempt}.log*"):
                file.unlink(missing_ok=True)

    def expire(self, keep: frozenset[str], retention_s: float, now: float) -> list[str]:
        """Remove logs of pods not in `keep` (uids) untouched for longer than the retention; returns the folders' names."""
        gone = []
        for folder in self._directory.iterdir():
            if folder.name.rpartition("_")[2] in keep:
                continue
            newest = max((file.stat().st_mtime for file in folder.rglob("*")), default=folder.stat().st_mtime)
            if now - newest > retention_s:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder.name)
        return gone


def files_of(folder: Path, attempt: int) -> list[Path]:
    """The files of one run, oldest first."""
    found = []
    for entry in folder.iterdir():
        match = _NAME.match(entry.name)
        if match and int(match.group(1)) == attempt:
            found.append((-int(match.group(2) or 0), entry))
    return [path for _, path in sorted(found)]


def tail_text(folder: Path, attempt: int, limit: int = 4096) -> str:
    """The last bytes of a run's output, without stamps: what explains a failure."""
    try:
        with (folder / f"{attempt}.log").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            lines = file.read().splitlines()
    except OSError:
        return ""
    texts = [line.split(b" ", 3)[3] for line in lines if line.count(b" ") >= 3]
    return b"\n".join(texts).decode(errors="replace")


def stamp_seconds(stamp: bytes) -> float:
    """POSIX seconds of an RFC 3339 stamp with nanoseconds."""
    whole, _, rest = stamp.decode().rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{rest or 0}")


class _Joiner:
    """Turns stored lines into what a reader sees: stamped or not, pieces joined, older ones left out."""

    def __init__(self, options: LogOptions) -> None:
        self._timestamps = options.timestamps
        self._since = options.since
        self._inside: set[bytes] = set()

    def feed(self, line: bytes) -> tuple[bytes, bool]:
        """The text for one stored line, and whether it completes a line of the program."""
        stamp, _, rest = line.partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        whole = tag != b"P"
        if self._since is not None:
            try:
                if stamp_seconds(stamp) < self._since:
                    return b"", whole
            except ValueError:  # a line that a full disk cut short
                return b"", whole
            self._since = None  # stamps only grow: no need to parse another
        head = stamp + b" " if self._timestamps and stream not in self._inside else b""
        self._inside.discard(stream) if whole else self._inside.add(stream)
        return head + text + (b"\n" if whole else b""), whole


def read_run(sources: Sequence[Path | bytes], options: LogOptions) -> Iterator[bytes]:
    """What is in the files (or pieces of them) now, oldest first, with every option but `follow`."""
    joiner = _Joiner(options)
    lines = _all_lines(sources) if options.tail_lines is None else _last_lines(sources, options.tail_lines)
    for line in lines:
        yield joiner.feed(line)[0]


def _all_lines(sources: Sequence[Path | bytes]) -> Iterator[bytes]:
    for source in sources:
        if isinstance(source, bytes):
            yield from (line for line in source.split(b"\n") if line)
            continue
        with contextlib.suppress(FileNotFoundError):  # the oldest file was rotated away meanwhile
            with source.open("rb") as file:
                yield from (line[:-1] for line in file if line.endswith(b"\n"))


def _last_lines(sources: Sequence[Path | bytes], count: int) -> Iterator[bytes]:
    """The lines that make up the last `count` lines of the program. Sources are read newest first: one is often enough."""
    wanted: deque[bytes] = deque()
    for source in reversed(sources):
        for line in reversed(list(_all_lines([source]))):
            if not _is_piece(line):
                if count == 0:
                    return iter(wanted)
                count -= 1
            wanted.appendleft(line)
    return iter(wanted)


def _is_piece(line: bytes) -> bool:
    words = line.split(b" ", 3)
    return len(words) > 2 and words[2] == b"P"


class _Follower:
    """Reads a run's files as they grow and are rotated, whole lines only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._rest = b""

    def close(self) -> None:
        self._file.close()

    def existing(self) -> list[Path | bytes]:
        """What was written before, oldest first; `more` goes on exactly where this ends, even if it rotates meanwhile."""
        data = self._file.read()
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        inode = os.fstat(self._file.fileno()).st_ino
        older: list[Path | bytes] = []
        for path in files_of(self._path.parent, int(self._path.name.split(".", 1)[0])):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == inode:
                    break
                older.append(path)
        return [*older, data[:end]]

    def more(self) -> list[bytes]:
        """Lines written since the last call; moves on to the next file when this one was rotated away and is read."""
        data = self._file.read(READ_SIZE)
        if not data and self._rotated():
            self._advance()
            data = self._file.read(READ_SIZE)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def _rotated(self) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:  # between the rename and the new file
            return False

    def _advance(self) -> None:
        """Open the file after ours. Several rotations may have passed since the last look."""
        inode = os.fstat(self._file.fileno()).st_ino
        files = files_of(self._path.parent, int(self._path.name.split(".", 1)[0]))
        inodes = [file.stat().st_ino for file in files]
        following = files[inodes.index(inode) + 1] if inode in inodes else files[0]
        self._file.close()
        self._file = following.open("rb")


async def stream(folder: Path, attempt: int, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log of one run as kubectl sees it; with `follow` until `ended()` and everything has been read.

    Raises NoLog when the run left none.
    """
    path = folder / f"{attempt}.log"
    if not path.exists():
        raise NoLog(f"no log of run {attempt} in {folder.name}")
    allowance = options.limit_bytes if options.limit_bytes is not None else float("inf")
    async for text in _texts(path, attempt, options, ended):
        if len(text) >= allowance:
            yield text[: int(allowance)]
            return
        allowance -= len(text)
        if text:
            yield text


async def _texts(path: Path, attempt: int, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    if options.follow:
        async for text in _followed(path, options, ended):
            yield text
        return
    for batch in _batches(read_run(files_of(path.parent, attempt), options)):
        yield batch
        await asyncio.sleep(0)


async def _followed(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    with Growth(path.parent) as growth, contextlib.closing(_Follower(path)) as follower:
        for batch in _batches(read_run(follower.existing(), options)):
            yield batch
            await asyncio.sleep(0)
        joiner = _Joiner(options)
        while True:
            over = ended()
            lines = follower.more()
            if lines:
                yield b"".join(joiner.feed(line)[0] for line in lines)
            elif over:
                return
            else:
                await growth.wait()


def _batches(texts: Iterator[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for text in texts:
        parts.append(text)
        size += len(text)
        if size >= READ_SIZE:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def since_from(seconds: int | None, at: str | None, now: float | None = None) -> float | None:
    """POSIX seconds from `sinceSeconds` or `sinceTime` (RFC 3339). Raises ValueError."""
    if seconds is not None:
        return (time.time() if now is None else now) - seconds
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() if at else None
