"""Both ends of a command's standard streams: pipes, or one terminal."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import termios

from ..descriptors import Descriptor


class Stdio:
    """Our ends, and until they are handed over the other ones."""

    def __init__(self) -> None:
        self.stdin: Descriptor | None = None
        self.outputs: dict[str, Descriptor] = {}
        self.unread: Descriptor | None = None
        """Output that nobody asked for, and that must be read all the same, or the command would stop."""
        self.terminal: Descriptor | None = None
        self.theirs: dict[str, int] = {}

    @classmethod
    def pipes(cls, *, stdin: bool, stdout: bool, stderr: bool) -> Stdio:
        """A pipe for every stream that is wanted. Raises OSError when there are too many."""
        made = cls()
        try:
            if stdin:
                made.theirs["stdin"], ours = os.pipe()
                made.stdin = Descriptor(ours)
            for name in [name for name, wanted in (("stdout", stdout), ("stderr", stderr)) if wanted]:
                ours, made.theirs[name] = os.pipe()
                made.outputs[name] = Descriptor(ours)
        except OSError:
            made.close()
            raise
        return made

    @classmethod
    def pty(cls, *, stdin: bool, stdout: bool) -> Stdio:
        """A terminal; the streams that are wanted are ours to use, and the command has all three. Raises OSError."""
        made = cls()
        master, made.theirs["tty"] = os.openpty()
        made.terminal = Descriptor(master)
        try:
            if stdin:
                made.stdin = Descriptor(os.dup(master))
            out = Descriptor(os.dup(master))
            if stdout:
                made.outputs["stdout"] = out
            else:
                made.unread = out
        except OSError:
            made.close()
            raise
        return made

    def handed_over(self) -> None:
        """The command has its ends; while we held them we would not see it close them."""
        for fd in self.theirs.values():
            os.close(fd)
        self.theirs.clear()

    def resize(self, width: int, height: int) -> None:
        """Set the terminal's size, in characters; its program gets SIGWINCH. Without a terminal nothing happens."""
        if self.terminal is None:
            return
        try:
            fcntl.ioctl(self.terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EBADF):
                raise

    def end_input(self) -> None:
        """The command reads the end of its input. A terminal has none but what is typed."""
        if self.terminal is None:
            self.drop_input()

    def drop_input(self) -> None:
        """What is still to be read is nobody's."""
        if self.stdin is not None:
            self.stdin.close()
            self.stdin = None

    def finish(self) -> None:
        """What has been written by now is the last that will be read."""
        for end in (*self.outputs.values(), self.unread):
            if end is not None:
                end.finish()

    def close(self) -> None:
        """Close everything."""
        self.handed_over()
        for end in (self.stdin, self.terminal, self.unread, *self.outputs.values()):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
