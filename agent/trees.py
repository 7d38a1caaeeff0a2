"""Measure and remove trees that pods have written, whatever they have made of them.

A pod may nest folders deeper than a path can say or a recursion go, and put links where folders were while we look: every
step is taken from a descriptor of the folder above and follows no link.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

BLOCK_BYTES = 512  # in which stat(2) counts, whatever the file system's own are
DEPTH_MAX = 256
"""Folders within folders that are measured: each takes a descriptor. No program needs more; who wants to hide does."""
BEYOND_ALL = 1 << 60
"""What a deeper tree counts, in bytes: more than any limit."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def usage_bytes(folder: Path) -> int:
    """What a folder takes on the disk. What goes while it is looked at is not counted."""
    total, names = 0, [str(folder)]
    held: list[tuple[int | None, list[str]]] = [(None, names)]
    try:
        while held:
            above, names = held[-1]
            if not names:
                held.pop()
                if above is not None:
                    os.close(above)
                continue
            if len(held) > DEPTH_MAX:
                return BEYOND_ALL
            try:
                fd = os.open(names.pop(), _FOLDER, dir_fd=above)
            except OSError:
                continue
            found: list[str] = []
            held.append((fd, found))
            total += _look(fd, found)
        return total
    finally:
        for above, _ in held:
            if above is not None:
                os.close(above)


def _look(fd: int, folders: list[str]) -> int:
    """Bytes of what is in a folder itself; the folders in it are added to the list."""
    total = 0
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                total += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
    except OSError:
        pass  # what was in it has gone
    return total


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it. What cannot be removed stays.

    Folders within folders are first brought to the top, so that it is never deeper than two.
    """
    try:
        fd = os.open(folder, _FOLDER)
    except OSError:
        return
    try:
        number, prefix = 0, secrets.token_hex(8)  # no name that somebody has put there before
        while True:
            before = number
            with os.scandir(fd) as entries:
                names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            removed = 0
            for name, is_folder in names:
                if is_folder:
                    number = _flatten(fd, name, prefix, number)
                removed += _remove(name, fd, is_folder)
            if not removed and number == before:
                break
    except OSError:
        pass
    finally:
        os.close(fd)
    _remove(str(folder), None, True)


def _flatten(top: int, name: str, prefix: str, number: int) -> int:
    """Empty a folder in `top`: its files are removed, its folders moved up under numbers from `number` on; the next one."""
    try:
        fd = _open_own(name, top)
    except OSError:
        return number
    try:
        with os.scandir(fd) as entries:
            inner = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for each, is_folder in inner:
            if not is_folder:
                _remove(each, fd, False)
            elif not _remove(each, fd, True):
                os.rename(each, f"{prefix}{number}", src_dir_fd=fd, dst_dir_fd=top)
                number += 1
    except OSError:
        pass
    finally:
        os.close(fd)
    return number


def _open_own(name: str, above: int) -> int:
    """Open a folder, also one that its owner, who is us, has closed to everybody."""
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except PermissionError:
        path = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            os.chmod(f"/proc/self/fd/{path}", 0o700)
        finally:
            os.close(path)
        return os.open(name, _FOLDER, dir_fd=above)


def _remove(name: str, above: int | None, is_folder: bool) -> bool:
    try:
        if is_folder:
            os.rmdir(name, dir_fd=above)
        else:
            os.unlink(name, dir_fd=above)
    except OSError:
        return False
    return True
