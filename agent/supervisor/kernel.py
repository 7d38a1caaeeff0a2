"""Calls to the kernel that Python has no function for, by way of the C half of ctypes: its Python half costs a megabyte.

Everything here raises OSError when the kernel refuses. Numbers of system calls are those of the machine we run on;
calls made since Linux 5.1 have the same number everywhere.
"""

from __future__ import annotations

import _ctypes
import os
from errno import ENOSYS, EPERM

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_SLAVE = 1 << 12, 1 << 14, 1 << 19
MNT_DETACH = 2
CLONE_PARENT = 0x8000
NAMESPACES = {
    "mnt": 0x0002_0000,
    "uts": 0x0400_0000,
    "ipc": 0x0800_0000,
    "user": 0x1000_0000,
    "pid": 0x2000_0000,
    "net": 0x4000_0000,
}
"""Flags of the kinds of namespaces, by the names they have in /proc/<pid>/ns."""
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 24, 36, 38
KEYCTL_JOIN_SESSION_KEYRING = 1
AT_RECURSIVE, AT_EMPTY_PATH = 0x8000, 0x1000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH = 0x02, 0x08

_OPENAT2, _MOUNT_SETATTR = 437, 442
_BY_MACHINE = {
    "x86_64": (56, 155, 250),
    "aarch64": (220, 41, 219),
    "riscv64": (220, 41, 219),
    "armv7l": (120, 218, 311),
}
"""clone, pivot_root and keyctl, which the C library has no plain function for."""


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Text(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Address(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Function(_ctypes.CFuncPtr):
    """Keeps the lock of the interpreter (we may be a clone that Python knows nothing of), and the error number."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


def call(name: str, *arguments: int | bytes | None, says: str = "") -> int:
    """A function of the C library that says -1 when it fails; `says` is its name in the error, if another."""
    program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is the program itself
    function = _Function(_ctypes.dlsym(program, name))
    given: list[Any] = [_Long(one) if isinstance(one, int) else one for one in arguments]
    result = int(function(*given))
    # A function that returns int leaves the upper half of the register to chance.
    if result & 0xFFFF_FFFF == 0xFFFF_FFFF:
        number = _ctypes.get_errno()
        raise OSError(number, f"{says or name}: {os.strerror(number)}")
    return result


def address_of(data: bytes) -> int:
    """Where the bytes are, for a structure that points to them; they must be kept alive."""
    return int(_Address.from_buffer(_Text(data)).value)


def prctl(option: int, value: int = 0) -> None:
    """prctl(2) with one argument."""
    call("prctl", option, value, 0, 0, 0)


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones."""
    call("unshare", flags)


def setns(fd: int, flags: int) -> None:
    """Join the namespace behind the descriptor."""
    call("setns", fd, flags)


def clone_beside() -> int:
    """fork(2), but the new process is a child of our own parent, as the first in a new PID namespace must be for it."""
    return call("syscall", _number(0), CLONE_PARENT, 0, 0, 0, 0, says="clone")


def leave_session_keys() -> None:
    """Hold an empty session keyring (keyrings(7)), for ourselves and our children, where there are keyrings."""
    try:
        call("syscall", _number(2), KEYCTL_JOIN_SESSION_KEYRING, None, says="keyctl")
    except OSError as error:
        if error.errno not in (None, ENOSYS, EPERM):  # None: a machine that we know no numbers of
            raise


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    try:
        call("mount", texts[0], texts[1], texts[2], flags, texts[3])
    except OSError as error:
        raise OSError(error.errno, f"mount {source or kind} on {target}: {os.strerror(error.errno or 0)}") from None


def mount_attributes(fd: int, attributes: int, *, recursive: bool) -> None:
    """Add attributes to the mount a descriptor is the root of, and with `recursive` to those below it."""
    packed = attributes.to_bytes(8, "little") + bytes(24)
    how = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    call("syscall", _MOUNT_SETATTR, fd, b"", how, packed, len(packed), says="mount_setattr")


def open_beneath(folder: int, path: str) -> int:
    """A descriptor (O_PATH) of what `path` means within `folder`: no symbolic link leads out of it."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    how = b"".join([word.to_bytes(8, "little") for word in (os.O_PATH | os.O_CLOEXEC, 0, resolve)])
    return call("syscall", _OPENAT2, folder, os.fsencode(path) or b".", how, len(how), says="openat2")


def pivot_root(folder: str) -> None:
    """Make a folder that is a mount point the root, and let go of the old one."""
    os.chdir(folder)
    call("syscall", _number(1), b".", b".", says="pivot_root")
    call("umount2", b".", MNT_DETACH)
    os.chdir("/")


def _number(which: int) -> int:
    machine = os.uname().machine
    if machine not in _BY_MACHINE:
        raise OSError(f"no isolation on {machine}: its system calls are not known")
    return _BY_MACHINE[machine][which]
