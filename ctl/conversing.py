"""A conversation with a program in a pod: its standard streams, its terminal and how it ended (`v5.channel.k8s.io`)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import EXIT_OK, CommandError
from .http import Api
from .http1 import ProtocolError
from .links import Link, Loop

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255
"""Says that the channel in the next byte gets nothing more (v5)."""
CHUNK_BYTES = 32_768


@dataclass(frozen=True)
class Ends:
    """What the program's streams are connected to here: descriptors, None for none."""

    stdin: int | None
    stdout: int
    stderr: int | None
    tty: bool = False


def query_of(ends: Ends, container: str, command: list[str]) -> list[tuple[str, str]]:
    """The options of the request, as PodExecOptions and PodAttachOptions have them."""
    query = [("command", word) for word in command] + [("container", container), ("stdout", "true")]
    wanted = {"stdin": ends.stdin is not None, "stderr": ends.stderr is not None, "tty": ends.tty}
    return query + [(name, "true") for name, is_wanted in wanted.items() if is_wanted]


def converse(api: Api, path: str, query: list[tuple[str, str]], ends: Ends) -> Mapping[str, Any]:
    """Talk until the program has ended, and return its Status. Raises CommandError."""
    link = api.websocket(path, query, PROTOCOLS)
    try:
        with _raw(ends.stdin) if ends.tty else contextlib.nullcontext():
            return _Conversation(link, ends).run()
    except BrokenPipeError:
        raise
    except (OSError, ProtocolError) as error:
        raise api.broken(error) from error
    finally:
        link.close()


def exit_code(status: Mapping[str, Any], *, quiet: bool = False) -> int:
    """What the command ends with: the program's own exit code. Raises CommandError when there was none."""
    if status.get("status") == "Success":
        return EXIT_OK
    causes = (status.get("details") or {}).get("causes") or ()
    code = next((str(c.get("message")) for c in causes if c.get("reason") == "ExitCode"), "")
    if status.get("reason") == "NonZeroExitCode" and code.isdecimal():
        if not quiet:
            print(f"command terminated with exit code {code}", file=sys.stderr)
        return int(code)
    raise CommandError(str(status.get("message") or "the command ended, and the server does not say how"))


class _Conversation:
    """One program and one link."""

    def __init__(self, link: Link, ends: Ends) -> None:
        self._link, self._ends = link, ends
        self._loop = Loop(link, self._received)
        self._status: dict[str, Any] | None = None

    def run(self) -> Mapping[str, Any]:
        if self._ends.stdin is not None:
            self._loop.feed(self._ends.stdin, self._typed)
        with _window_changes() if self._ends.tty else contextlib.nullcontext(None) as changes:
            if changes is not None:
                self._loop.feed(changes, lambda: self._resized(changes))
                self._send_size()
            self._loop.run()
        if self._status is None:
            raise ProtocolError("the stream ended before the command did")
        return self._status

    def _typed(self) -> None:
        assert self._ends.stdin is not None
        data = os.read(self._ends.stdin, CHUNK_BYTES)
        if data:
            self._link.send(bytes((STDIN,)) + data)
            return
        self._loop.forget(self._ends.stdin)
        if self._link.protocol == PROTOCOLS[0]:
            self._link.send(bytes((CLOSE, STDIN)))

    def _resized(self, changes: int) -> None:
        os.read(changes, CHUNK_BYTES)
        self._send_size()

    def _send_size(self) -> None:
        assert self._ends.stdin is not None
        size = os.get_terminal_size(self._ends.stdin)
        self._link.send(bytes((RESIZE,)) + json.dumps({"Width": size.columns, "Height": size.lines}).encode())

    def _received(self, message: bytes) -> None:
        channel, data = message[:1], message[1:]
        if channel == bytes((STDOUT,)):
            _write(self._ends.stdout, data)
        elif channel == bytes((STDERR,)) and self._ends.stderr is not None:
            _write(self._ends.stderr, data)
        elif channel == bytes((ERROR,)) and data:
            try:
                status = json.loads(data)
            except ValueError as error:
                raise ProtocolError("the end of the command is not told in JSON") from error
            if not isinstance(status, dict):
                raise ProtocolError("the end of the command is not told as a Status")
            self._status = status
            self._loop.over = True


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


@contextlib.contextmanager
def _raw(terminal: int | None) -> Iterator[None]:
    """Every key goes to the other side, Ctrl-C too; afterwards the terminal is as before."""
    import termios
    import tty

    assert terminal is not None
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _window_changes() -> Iterator[int]:
    """A descriptor that can be read when the window has another size."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def changed(_number: int, _frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writable, b"x")

    before: Callable[..., object] | int | None = signal.signal(signal.SIGWINCH, changed)
    try:
        yield readable
    finally:
        signal.signal(signal.SIGWINCH, before if before is not None else signal.SIG_DFL)
        os.close(readable)
        os.close(writable)
