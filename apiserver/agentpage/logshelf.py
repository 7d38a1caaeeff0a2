"""What browsers' pods said, on the server's disk, since nobody can ask a browser: `<pod uid>/<container>/<attempt>.log`.

A line is `<number> <RFC 3339 time> <text>`. The numbers are the agent's, and make a repeated push harmless: what is there
already is left out. A file that grows too long becomes `.log.1` in place of the one before; the end of a run is `.end`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE_BYTES_MAX: Final = 1024 * 1024
"""Of one file; there are two for each run, so the last one to two MiB of a run can be read."""
ATTEMPTS_KEPT: Final = 2
"""The run that goes on and the one before, which is all that kubectl can ask for."""
SHELF_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of all logs together; past that the pods that have been silent longest lose theirs."""
RETENTION_S: Final = 24 * 3600.0
"""How long a deleted pod's logs stay."""
TAIL_BYTES: Final = 64 * 1024
"""Where the last line is looked for: longer than any line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log."""

    number: int
    at: str
    text: str


class LogShelf:
    """All of them. Blocking: use it from threads. Several processes may."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def append(self, uid: str, container: str, attempt: int, lines: Sequence[Line], *, ended: bool) -> int:
        """Write what is not there yet; the number of the last line there is. Raises OSError."""
        folder = self._directory / uid / container
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{attempt}.log"
        with _locked(folder):
            last = _last_number(path)
            fresh = [line for line in lines if line.number > last]
            if fresh:
                if path.exists() and path.stat().st_size > FILE_BYTES_MAX:
                    path.replace(path.with_suffix(".log.1"))
                with path.open("a", encoding="utf-8") as file:
                    file.write("".join(f"{line.number} {line.at} {line.text}\n" for line in fresh))
                last = fresh[-1].number
            if ended:
                path.with_suffix(".end").touch()
            for old in sorted(self.attempts(uid, container))[:-ATTEMPTS_KEPT]:
                for leftover in folder.glob(f"{old}.*"):
                    leftover.unlink(missing_ok=True)
        return last

    def attempts(self, uid: str, container: str) -> list[int]:
        """The runs there are logs of."""
        names = {path.name.partition(".")[0] for path in (self._directory / uid / container).glob("*.*")}
        return sorted(int(name) for name in names if name.isdecimal())

    def read(self, uid: str, container: str, attempt: int, after: int = 0) -> tuple[list[Line], bool]:
        """The lines after a number, and whether the run is over and nothing follows."""
        path = self._directory / uid / container / f"{attempt}.log"
        ended = path.with_suffix(".end").exists()  # looked at first: what is written before it is read after
        found: list[Line] = []
        for part in (path.with_suffix(".log.1"), path):
            try:
                text = part.read_text("utf-8")
            except FileNotFoundError:
                continue
            found.extend(line for line in _parsed(text) if line.number > after)
        found.sort(key=lambda line: line.number)  # a rotation between the two reads
        return list({line.number: line for line in found}.values()), ended

    def size(self, uid: str, container: str, attempt: int) -> tuple[int, int, bool]:
        """What changes when something was written."""
        path = self._directory / uid / container / f"{attempt}.log"
        try:
            status = path.stat()
        except FileNotFoundError:
            return 0, 0, path.with_suffix(".end").exists()
        return status.st_ino, status.st_size, path.with_suffix(".end").exists()

    def sweep(self, alive: Set[str], now: float | None = None) -> list[str]:
        """Remove the logs of pods that are long gone, and the oldest when there is too much; the uids."""
        now = time.time() if now is None else now
        pods = [(*_weight(folder), folder) for folder in self._directory.glob("*") if folder.is_dir()]
        total, gone = sum(size for _, size, _ in pods), []
        for changed, size, folder in sorted(pods, key=lambda pod: (pod[2].name in alive, pod[0])):
            is_over = folder.name not in alive and now - changed > RETENTION_S
            if is_over or total > SHELF_BYTES_MAX:
                shutil.rmtree(folder, ignore_errors=True)
                total -= size
                gone.append(folder.name)
        return gone


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _weight(folder: Path) -> tuple[float, int]:
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return max((file.st_mtime for file in files), default=0.0), sum(file.st_size for file in files)


def _last_number(path: Path) -> int:
    for part in (path, path.with_suffix(".log.1")):
        try:
            with part.open("rb") as file:
                file.seek(max(0, part.stat().st_size - TAIL_BYTES))
                lines = _parsed(file.read().decode("utf-8", "replace"))
        except FileNotFoundError:
            continue
        if lines:
            return lines[-1].number
    return 0


def _parsed(text: str) -> list[Line]:
    found = []
    for raw in text.split("\n")[:-1]:
        number, _, rest = raw.partition(" ")
        at, _, said = rest.partition(" ")
        if number.isdecimal() and at:
            found.append(Line(int(number), at, said))
    return found
