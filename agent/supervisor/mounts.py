"""Give a pod's processes a view of the files in which clients look for the pod's service account.

The supervisor leaves the host's mount namespace for one of its own, in which the pod's folder lies over the path that
clients know; its children inherit it. Whatever else is mounted or unmounted on the host still shows. This takes root;
without it nothing changes, and the pod is pointed to its files by the environment.
"""

from __future__ import annotations

import _ctypes
import os

FOLDER = "serviceaccount"
MOUNTED_AT = "/var/run/secrets/kubernetes.io/serviceaccount"
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19


def show_account() -> bool:
    """Whether the files in the working directory's folder can now be seen where clients look for them."""
    if os.geteuid() != 0 or not os.path.isdir(FOLDER):
        return False
    try:
        _make_target()
        _call("unshare", CLONE_NEWNS)
        _mount(None, b"/", MS_REC | MS_SLAVE)
        target = MOUNTED_AT.encode()
        _mount(os.path.abspath(FOLDER).encode(), target, MS_BIND)
        _mount(None, target, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        return False
    return True


def _make_target() -> None:
    """The folder to lie over, which every pod's user must be able to reach."""
    mask = os.umask(0o022)
    try:
        os.makedirs(MOUNTED_AT, exist_ok=True)
    finally:
        os.umask(mask)


def _mount(source: bytes | None, target: bytes, flags: int) -> None:
    _call("mount", source, target, None, flags, None)


def _call(function: str, *arguments: int | bytes | None) -> None:
    """A function of the C library (see `process.prctl` for why not ctypes). Raises OSError on refusal."""
    program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is the program itself
    if _ctypes.call_function(_ctypes.dlsym(program, function), arguments) != 0:
        raise OSError(f"{function}{arguments} was refused")
