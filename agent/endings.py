"""What a container says of its own end: a file that it finds at `terminationMessagePath`, or the end of its log.

The file lies in the pod's folder, one for each run, and only the file itself is shown to the container, so that nothing
else can be put in its place. It is read when the run is over, also by the agent that comes after this one.
"""

from __future__ import annotations

import os
from pathlib import Path

from stark.crds.pods import Container

from .records import PodRecords
from .trees import BLOCK_BYTES

FOLDER = "endings"
MESSAGE_MAX = 4096  # bytes of a message, the last ones; Kubernetes' figure, as the next two
FALLBACK_LINES_MAX = 80
FALLBACK_BYTES_MAX = 2048
FALLBACK = "FallbackToLogsOnError"


class Endings:
    """The messages of this node's containers."""

    def __init__(self, records: PodRecords) -> None:
        self._records = records

    def make(self, uid: str, container: str, attempt: int) -> Path:
        """An empty file for a run; those of the runs before the last are removed. Raises OSError."""
        folder = self._records.folder(uid) / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in range(attempt - 2, -1, -1):
            if not self._remove(folder / f"{container}.{old}"):
                break  # and so are those before it
        path = folder / f"{container}.{attempt}"
        path.write_bytes(b"")
        path.chmod(0o666)  # whoever the program is; the folder keeps everybody else out
        return path

    def said(self, uid: str, container: str, attempt: int) -> str:
        """What the run wrote there."""
        try:
            with (self._records.folder(uid) / FOLDER / f"{container}.{attempt}").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - MESSAGE_MAX))
                return file.read(MESSAGE_MAX).decode(errors="replace")
        except OSError:
            return ""

    def usage_bytes(self, uid: str, container: str) -> int:
        """What the container's messages take on the disk: nothing keeps a program from writing more than is read."""
        files = (self._records.folder(uid) / FOLDER).glob(f"{container}.*")
        return sum(file.stat().st_blocks * BLOCK_BYTES for file in files)

    def shorten(self, uid: str) -> None:
        """Keep of a pod's messages what is read of them."""
        for file in (self._records.folder(uid) / FOLDER).glob("*"):
            if file.stat().st_size > MESSAGE_MAX:
                container, _, attempt = file.name.rpartition(".")
                file.write_text(self.said(uid, container, int(attempt)))

    @staticmethod
    def _remove(path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True


def last_words(container: Container | None, tail: str) -> str:
    """What stands for the message of a run that failed and said nothing: the end of its log, if the container wants that."""
    if container is None or container.termination_message_policy != FALLBACK:
        return ""
    lines = tail.splitlines()[-FALLBACK_LINES_MAX:]
    return "\n".join(lines).encode()[-FALLBACK_BYTES_MAX:].decode(errors="ignore")
