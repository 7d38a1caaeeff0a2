"""Folders that pods write to or take from the node: emptyDir, hostPath, and memory to keep secrets in."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from stark.crds.quantity import byte_count
from stark.crds.volumes import EmptyDirVolumeSource, HostPathVolumeSource

from ..supervisor.kernel import MS_NODEV, MS_NOSUID, call, mount
from .payload import VolumeError
from .writer import Owner

MNT_DETACH = 2
EMPTY_DIR_MODE = 0o777
SHARED_MODE = 0o2775
"""Of a folder whose files go to the group of their folder."""
HOST_FOLDER_MODE, HOST_FILE_MODE = 0o755, 0o644
"""Of what hostPath makes. Kubernetes' figures."""
SUB_PATH_MODE = 0o750

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "Directory": (stat.S_ISDIR, "directory"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


def hold_in_memory(folder: Path, size_bytes: int | None = None) -> None:
    """Let a folder lie in memory. Raises OSError."""
    if os.path.ismount(folder):
        return
    options = "mode=0755" + (f",size={size_bytes}" if size_bytes is not None else "")
    mount("tmpfs", str(folder), "tmpfs", MS_NOSUID | MS_NODEV, options)


def release_memory(folder: Path) -> None:
    """Give the memory of the volumes in a folder back."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if not entry.is_symlink() and os.path.ismount(entry):
            call("umount2", os.fsencode(entry), MNT_DETACH)


def make_empty_dir(folder: Path, source: EmptyDirVolumeSource, owner: Owner) -> None:
    """An emptyDir that is there once; what is in it stays. Raises VolumeError, OSError."""
    in_memory = source.medium == "Memory"
    if in_memory and os.geteuid() != 0:
        raise VolumeError("medium Memory takes an agent that is root")
    is_new = not folder.is_dir() or (in_memory and not os.path.ismount(folder))
    folder.mkdir(exist_ok=True)
    if in_memory:
        hold_in_memory(folder, byte_count(source.size_limit) or None if source.size_limit else None)
    if is_new:
        owner.give(folder)
        folder.chmod(SHARED_MODE if owner.shared else EMPTY_DIR_MODE)


def check_host_path(source: HostPathVolumeSource) -> None:
    """See that what is wanted is there, or make it. Raises VolumeError, OSError."""
    path, kind = Path(source.path), source.type or ""
    if kind in ("", "DirectoryOrCreate") and not path.exists():  # without a type containerd and Docker make it
        path.mkdir(mode=HOST_FOLDER_MODE, parents=True, exist_ok=True)
    if kind == "FileOrCreate" and not path.exists():
        path.touch(mode=HOST_FILE_MODE)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise VolumeError(f"hostPath type check failed: {path}: {error.strerror}") from error
    if kind and not _CHECKS[kind][0](mode):
        raise VolumeError(f"hostPath type check failed: {path} is not a {_CHECKS[kind][1]}")


def make_sub_path(folder: Path, path: str, owner: Owner) -> None:
    """Make what is missing of a path in a folder that others write to, without following their links. Raises OSError."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in [part for part in path.split("/") if part not in ("", ".")]:
            below = _enter(fd, name, owner)
            if below is None:
                return
            os.close(fd)
            fd = below
    finally:
        os.close(fd)


def _enter(fd: int, name: str, owner: Owner) -> int | None:
    """The folder of that name, made if it is missing; None where there is anything else."""
    try:
        kind = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        os.mkdir(name, SUB_PATH_MODE, dir_fd=fd)
        if owner.user is not None or owner.group is not None:
            user, group = (-1 if one is None else one for one in (owner.user, owner.group))
            os.chown(name, user, group, dir_fd=fd, follow_symlinks=False)
    else:
        if not stat.S_ISDIR(kind):
            return None  # a file, or a link that whoever mounts it follows as far as the volume goes
    return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
