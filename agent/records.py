"""What the agent keeps on disk about each pod, so that its successor can take over: the pod, its ports, its user.

Layout below the data directory: `pods/<uid>/` holds `pod.json`, `agent.json`, the supervisor's socket and state file,
`work/<container>` (the working directory) and `tmp`. The folders can be entered by the pods' users, the files not read.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stark.crds.meta import Undecodable, decode, to_wire
from stark.crds.pods import Pod

from .trees import remove_tree

UID_PATTERN = re.compile(r"^[A-Za-z0-9-]{1,64}$")
FOLDER_MODE = 0o711
USER_BASE = 1_500_000_000  # first user id for pods: far above people, services and the ranges of /etc/subuid
USERS_MAX = 60_000


class InUse(Exception):
    """Another agent works on this data directory."""


@dataclass(frozen=True, slots=True)
class PodNote:
    """What the agent decided about a pod."""

    ports: dict[str, int] = field(default_factory=dict)
    user: int | None = None
    """The user id its processes have; None for the agent's own."""
    isolation: str = ""
    """The class of isolation it has; empty before its first container is prepared."""


class PodRecords:
    """The pods' folders. Owning it means holding the lock of the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._pods = data_dir / "pods"
        self._pods.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self._lock = os.open(data_dir / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise InUse(f"{data_dir}: another agent is using this data directory") from None

    def close(self) -> None:
        """Let another agent in."""
        os.close(self._lock)

    def folder(self, uid: str) -> Path:
        """The pod's folder, whether it exists or not."""
        assert UID_PATTERN.match(uid), uid
        return self._pods / uid

    def uids(self) -> list[str]:
        """Every pod that has a folder; what else lies there, such as `lost+found`, is not ours."""
        return sorted(entry.name for entry in self._pods.iterdir() if UID_PATTERN.match(entry.name) and entry.is_dir())

    def save_pod(self, pod: Pod) -> None:
        """Keep the pod as the API server last showed it."""
        self._write(pod.uid, "pod.json", json.dumps(to_wire(pod)))

    def save_note(self, uid: str, note: PodNote) -> None:
        """Keep what the agent decided."""
        self._write(uid, "agent.json", json.dumps(asdict(note)))

    def pod(self, uid: str) -> Pod | None:
        """The pod as it was kept; None when that cannot be read."""
        try:
            return decode((self.folder(uid) / "pod.json").read_bytes(), Pod)
        except (OSError, Undecodable):
            return None

    def note(self, uid: str) -> PodNote:
        """What was decided; nothing when that cannot be read."""
        try:
            kept = json.loads((self.folder(uid) / "agent.json").read_bytes())
            return PodNote(dict(kept["ports"]), kept["user"], kept.get("isolation", ""))
        except (OSError, ValueError, KeyError, TypeError):
            return PodNote()

    def work_folder(self, uid: str, container: str, user: int | None) -> Path:
        """A fresh, empty working directory for one run of a container, and the pod's folder for temporary files."""
        work, temporary = self.folder(uid) / "work" / container, self.folder(uid) / "tmp"
        remove_tree(work)
        for folder in (self.folder(uid), self.folder(uid) / "work"):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            folder.chmod(FOLDER_MODE)
        for folder in (work, temporary):
            folder.mkdir(mode=0o700, exist_ok=True)
            if user is not None:
                os.chown(folder, user, user)
        return work

    def temporary_folder(self, uid: str) -> Path:
        """The pod's TMPDIR."""
        return self.folder(uid) / "tmp"

    def remove(self, uid: str) -> None:
        """Forget the pod."""
        remove_tree(self.folder(uid))

    def free_user(self) -> int:
        """A user id that no pod of this node has."""
        taken = {self.note(uid).user for uid in self.uids()}
        return next(user for user in range(USER_BASE, USER_BASE + USERS_MAX) if user not in taken)

    def _write(self, uid: str, name: str, text: str) -> None:
        folder = self.folder(uid)
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        part = folder / f"{name}.part"
        part.unlink(missing_ok=True)
        # Private from the first byte: what a pod's own fields say may be nobody else's business.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        part.rename(folder / name)
