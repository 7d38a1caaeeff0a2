"""What others do with the same programs, side by side with the agent: PM2 and container engines.

`INSTALL` is how one gets them. A peer that is missing is said to be, and the run fails at its end: a table with a gap
that nobody noticed is worse than none.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil

PM2_VERSION = "7.0.4"
NEEDS = Path(__file__).resolve().parents[2] / ".needs"
INSTALL = {
    "pm2": f"npm install --prefix {NEEDS / 'pm2'} --no-audit --no-fund pm2@{PM2_VERSION}",
    "docker": "apt-get install docker.io busybox-static",
    "podman": "apt-get install podman busybox-static",
}
"""The command that installs each of them."""
MIB = 1 << 20
WAIT_S = 120.0
PAUSE_S = 0.01
TICKS = 40
"""Lines of a ticker that are looked at."""


class Missing(Exception):
    """The peer cannot be run here; the message says why."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int
    crowd: int
    idle_s: float
    log_lines: int
    writer: bytes
    """The program that writes so many lines."""


def found(program: str, name: str, *places: str) -> str:
    """Where a program is. Raises Missing."""
    path = shutil.which(program, path=":".join((*places, "/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin")))
    if path is None:
        raise Missing(f"no {program} here; run: {INSTALL[name]}")
    return path


def waited(what: str, holds: Callable[[], bool]) -> None:
    """Wait until `holds()` is true. Raises TimeoutError."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {WAIT_S} s: {what}")
        time.sleep(PAUSE_S)


def rss_mib(process: psutil.Process) -> float:
    """Resident memory of a process."""
    return float(process.memory_info().rss / MIB)


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Processor time that they have used."""
    return float(sum(sum(process.cpu_times()[:2]) for process in processes))


def cpu_percent(processes: Sequence[psutil.Process], seconds: float) -> float:
    """How much of a core they use while nothing happens."""
    before = cpu_s(processes)
    time.sleep(seconds)
    return (cpu_s(processes) - before) / seconds * 100


def marked(*marks: str) -> Iterator[psutil.Process]:
    """The processes whose command lines have all of these in them."""
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if all(mark in line for mark in marks):
            yield process


def ticker(sleep: str) -> str:
    """A shell's program that says twenty times a second how long the machine has been up; `sleep` is the command for it."""
    return f"while :; do read up rest < /proc/uptime; echo $up; {sleep} 0.05; done\n"


def lateness_s(line: bytes) -> float | None:
    """How long ago a ticker wrote the line, to ten milliseconds; None for words that are not its own."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME) - float(line)
    except ValueError:
        return None


def lateness_ms(lines: Iterator[bytes]) -> float:
    """How long after a ticker wrote its lines they were seen, the median."""
    seen = (late for line in lines if (late := lateness_s(line)) is not None)
    return statistics.median(islice(seen, TICKS)) * 1000
