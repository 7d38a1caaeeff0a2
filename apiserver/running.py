"""A server from its start to its end: what it opens, when it says `ready`, what ends it, and what a failure means."""

from __future__ import annotations

import asyncio
import errno
import gc
import math
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from .app import Running, serving
from .audit.errors import AuditError
from .auth.given_certificates import BadCertificate
from .auth.pki import PkiError
from .encryption.configuration import BadConfiguration
from .encryption.store import EncryptingStore
from .settings import Settings
from .store.protocol import StoreError
from .store.sqlite import DataDirLocked
from .stores import UnknownStore, open_store
from .workers.place import ALONE, Place

EXIT_OK: Final = 0
EXIT_ERROR: Final = 1
YOUNG_OBJECTS_MAX: Final = 20_000
"""New objects between two looks of the garbage collector. A request makes some hundred, which nearly all end with it anyway;
at Python's own 700 the collector looks at the same waiting requests again and again."""
ONE_SIGNAL_S: Final = 1.0
"""Signals that come closer together count as one."""


class CannotServe(Exception):
    """Why, and the next step, in one sentence."""


def in_a_loop(work: Coroutine[Any, Any, None]) -> int:
    """Do it in an event loop of its own; the program's exit code, after a word on what went wrong."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except CannotServe as error:
        sys.stderr.write(f"stark-apiserver: {error}\n")
        return EXIT_ERROR
    return EXIT_OK


async def serve_alone(settings: Settings) -> None:
    """Serve until a signal, and print when that can be. Raises CannotServe."""
    stop = stop_signals()
    broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    own(settings.data_dir)
    with explained(settings):
        store = await open_store(settings, fatal=broken.set_result)
    await serve(settings, store, ALONE, stop, broken, say_ready)


async def serve(
    settings: Settings,
    store: EncryptingStore,
    place: Place,
    stop: asyncio.Event,
    broken: asyncio.Future[BaseException],
    on_ready: Callable[[str], None],
) -> None:
    """Serve the store, and close it. `on_ready` is told the URL. Raises CannotServe."""
    try:
        with explained(settings):
            async with serving(settings, store, place=place) as running:
                await _announce(running, stop, on_ready)
                stopping = asyncio.ensure_future(stop.wait())
                await asyncio.wait((stopping, running.background, broken), return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                if broken.done():
                    raise disk_failed(settings, broken.result())
                if running.background.done():
                    running.background.result()
    finally:
        await store.close()


def disk_failed(settings: Settings, error: BaseException) -> CannotServe:
    """What is said of a disk that failed under the store."""
    return CannotServe(f"the disk of {settings.data_dir} failed: {error}; check it, then start again")


@contextmanager
def explained(settings: Settings) -> Iterator[None]:
    """Whatever keeps a server from serving, as CannotServe."""
    try:
        yield
    except DataDirLocked as error:
        raise CannotServe(f"{error}: stop that process or choose another --data-dir") from error
    except (UnknownStore, BadConfiguration, BadCertificate, StoreError, PkiError, AuditError) as error:
        raise CannotServe(str(error)) from error
    except OSError as error:
        raise CannotServe(listen_trouble(settings, error)) from error


def say_ready(url: str) -> None:
    """The one line on standard output."""
    sys.stdout.write(f"ready {url}\n")
    sys.stdout.flush()


async def _announce(running: Running, stop: asyncio.Event, on_ready: Callable[[str], None]) -> None:
    """Say `ready` as soon as it is true, unless we are told to stop first."""
    becoming = asyncio.ensure_future(running.ready())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((becoming, stopping), return_when=asyncio.FIRST_COMPLETED)
    if becoming.done():
        settle_down()
        on_ready(running.url)
    becoming.cancel()
    stopping.cancel()


def settle_down() -> None:
    """Everything loaded so far stays: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX)


def stop_signals(*, hurries: bool = True) -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process at once, where it `hurries`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    told_at = -math.inf

    def on_signal() -> None:
        nonlocal told_at
        # A parent that dies with several threads lets the kernel send its last signal more than once.
        if hurries and stop.is_set() and loop.time() - told_at > ONE_SIGNAL_S:
            os._exit(EXIT_ERROR)
        if not stop.is_set():
            told_at = loop.time()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


def own(data_dir: Path) -> None:
    """The data directory must be there and writable before anything else is tried. Raises CannotServe."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotServe(
            f"{data_dir} cannot be used as a data directory ({error.strerror}): choose another --data-dir"
        ) from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise CannotServe(f"{data_dir} is not writable: make it so, or choose another --data-dir")


def listen_trouble(settings: Settings, error: OSError) -> str:
    """What to do about an address that cannot be had."""
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program: stop it, or choose another address with --listen"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES):
        return f"{where} cannot be listened on ({error.strerror}): choose another address with --listen"
    return f"{error.strerror or error}: check {settings.data_dir} and {where}"
