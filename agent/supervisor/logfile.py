"""A container's log as kubelet keeps it: `<RFC3339Nano> <stream> <F|P> <text>` lines in rotated files.

`F` ends a line, `P` marks a piece of a line longer than `LINE_MAX`. The newest file has the plain name; older ones are
`.1` (newest) to `.<files-1>`. A full disk loses lines, never the program that wrote them: the count of lost bytes is
kept and reported when writing works again.
"""

import os
import time

LINE_MAX = 16 * 1024  # bytes of one log line; longer ones are split, as the CRI does
_O_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class LogFile:
    """Appends the output of one attempt of one container; keeps at most `files` files of about `limit` bytes."""

    def __init__(self, path: str, limit: int, files: int) -> None:
        self._path = path
        self._limit = limit
        self._files = max(1, files)
        self._partial = {"stdout": b"", "stderr": b""}
        self._lost = 0
        self._torn = False
        self._second = -1
        self._prefix = ""
        self._fd = os.open(path, _O_FLAGS, 0o640)
        self._size = os.fstat(self._fd).st_size

    def feed(self, stream: str, data: bytes) -> None:
        """Take what the container wrote on `stream`; whole lines are written at once, the rest waits."""
        stamp = self._stamp()
        *lines, rest = (self._partial[stream] + data).split(b"\n")
        out = [self._pieces(stamp, stream, line) for line in lines]
        while len(rest) >= LINE_MAX:
            out.append(self._entry(stamp, stream, b"P", rest[:LINE_MAX]))
            rest = rest[LINE_MAX:]
        self._partial[stream] = rest
        for entry in out:
            self._write(entry)

    def close(self) -> None:
        """Write what never got its newline, and close."""
        for stream, rest in self._partial.items():
            if rest:
                self._write(self._pieces(self._stamp(), stream, rest))
        self._partial = {"stdout": b"", "stderr": b""}
        os.close(self._fd)

    def _pieces(self, stamp: bytes, stream: str, line: bytes) -> bytes:
        out = b""
        while len(line) > LINE_MAX:
            out += self._entry(stamp, stream, b"P", line[:LINE_MAX])
            line = line[LINE_MAX:]
        return out + self._entry(stamp, stream, b"F", line)

    def _entry(self, stamp: bytes, stream: str, tag: bytes, text: bytes) -> bytes:
        return b"%b %b %b %b\n" % (stamp, stream.encode(), tag, text)

    def _stamp(self) -> bytes:
        second, nanos = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{nanos:09d}Z".encode()

    def _write(self, entry: bytes) -> None:
        if self._size and self._size + len(entry) > self._limit:
            self._rotate()
        try:
            if self._torn:
                self._append(b"\n")
                self._torn = False
            if self._lost:
                note = f"[{self._lost} bytes of output were lost: the log could not be written]".encode()
                self._append(self._entry(self._stamp(), "stderr", b"F", note))
                self._lost = 0
            self._append(entry)
        except OSError:
            self._lost += len(entry)

    def _append(self, data: bytes) -> None:
        """Write it whole. A disk that is nearly full takes a part and no error: then the line is ended later."""
        written = os.write(self._fd, data)
        self._size += written
        if written < len(data):
            self._torn = True
            raise OSError

    def _rotate(self) -> None:
        try:
            moved = not os.path.exists(self._path)  # by an earlier try, which could make no new file
            for number in range(0 if moved else self._files - 1, 0, -1):
                older = f"{self._path}.{number - 1}" if number > 1 else self._path
                if os.path.exists(older):
                    os.rename(older, f"{self._path}.{number}")
            fd = os.open(self._path, _O_FLAGS | (os.O_TRUNC if self._files == 1 else 0), 0o640)
        except OSError:
            return  # the old file goes on growing; the next write tries again
        os.close(self._fd)
        self._fd, self._size = fd, 0
