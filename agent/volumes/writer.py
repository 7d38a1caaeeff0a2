"""Write the files of a volume all at once: who reads sees all the old ones or all the new ones.

As Kubernetes lays them out, because programs watch for it: the files lie in a folder `..<time>.<random>`, `..data` is a
symbolic link to it, and what a user sees are links into `..data`, which is replaced by renaming.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from .payload import File, Payload

DATA, NEW_DATA = "..data", "..data_tmp"
FOLDER_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose the files are; None for our own. `shared` gives what can be written to the group as well (fsGroup)."""

    user: int | None = None
    group: int | None = None
    shared: bool = False

    def give(self, path: Path) -> None:
        """Make it theirs; a symbolic link itself, not what it points to."""
        if self.user is not None or self.group is not None:
            os.chown(path, -1 if self.user is None else self.user, -1 if self.group is None else self.group,
                     follow_symlinks=False)  # fmt: skip


def write(folder: Path, payload: Payload, owner: Owner) -> bool:
    """Let the volume hold exactly these files; False when it does already. Raises OSError."""
    current = _current(folder)
    wanted = {path: File(file.data, _mode(file.mode, owner)) for path, file in payload.items()}
    if current is not None and _read(current) == wanted:
        _clean(folder, current.name)
        return False
    fresh = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{secrets.randbelow(10**9)}"
    try:
        _make_folder(fresh, owner)
        for path, file in wanted.items():
            _write_file(fresh, path, file, owner)
        _point(folder / NEW_DATA, fresh.name)
        os.rename(folder / NEW_DATA, folder / DATA)
    except OSError:  # a full disk, above all: what is tried again and again must not fill it further
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    for name in sorted({path.split("/")[0] for path in wanted}):
        if not (folder / name).is_symlink():
            _point(folder / name, f"{DATA}/{name}")
            owner.give(folder / name)
    _clean(folder, fresh.name)
    return True


def is_written(folder: Path) -> bool:
    """Whether the volume has been filled before."""
    return _current(folder) is not None


def read_file(folder: Path, path: str) -> bytes | None:
    """A file of the volume as it is now."""
    try:
        return (folder / DATA / path).read_bytes()
    except OSError:
        return None


def _current(folder: Path) -> Path | None:
    try:
        current = folder / os.readlink(folder / DATA)
    except OSError:
        return None
    return current if current.is_dir() else None


def _read(folder: Path) -> Payload:
    found: Payload = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            found[str(path.relative_to(folder))] = File(path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


def _mode(mode: int, owner: Owner) -> int:
    return mode | 0o440 if owner.shared else mode


def _make_folder(path: Path, owner: Owner) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(FOLDER_MODE)
    owner.give(path)


def _write_file(folder: Path, path: str, file: File, owner: Owner) -> None:
    target = folder
    for part in path.split("/")[:-1]:
        target = target / part
        _make_folder(target, owner)
    # Ours alone until it is theirs: a mode counts from the first byte on.
    descriptor = os.open(folder / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(file.data)
    owner.give(folder / path)
    (folder / path).chmod(file.mode)


def _point(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _clean(folder: Path, current: str) -> None:
    """Remove what an earlier state, or somebody who was killed while writing, has left."""
    for entry in list(folder.iterdir()):
        if entry.name in (current, DATA):
            continue
        if entry.is_symlink():
            if not entry.exists():
                entry.unlink()
        elif entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
