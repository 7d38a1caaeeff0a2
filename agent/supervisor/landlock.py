"""Keep a process from files and from others by Landlock: where it can have no view of its own, and shares its user with us.

Landlock knows only what is allowed. So everything is allowed that lies beside the paths to what is hidden, as it is at
this moment; what is made there later is not. Nobody outside can be signalled, traced, or looked into through /proc.
"""

from __future__ import annotations

import os
import stat

from .kernel import call

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from typing import Any

_CREATE, _ADD, _RESTRICT = 444, 445, 446
ABI_MIN = 6
"""Linux 6.12: since then it also covers signals, without which an agent of the same user could be killed."""
ALL_ACCESS = (1 << 16) - 1
FILE_ACCESS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # execute, write, read, truncate, ioctl of devices
READING = 1 << 0 | 1 << 2 | 1 << 3  # execute, read files and folders
ABSTRACT_SOCKETS, SIGNALS = 1 << 0, 1 << 1
SCOPES = ABSTRACT_SOCKETS | SIGNALS
PATH_BENEATH = 1
WRITABLE = "/dev/"  # however little of the rest is; in a root that is read-only it is no part of it


def restrict(sandbox: dict[str, Any]) -> None:
    """Allow what is not in `hide`, with `read_only` to be read, and what is in `show` (path, read_only). Raises OSError when
    that cannot be done.
    """
    abi = call("syscall", _CREATE, None, 0, 1, says="Landlock")
    if abi < ABI_MIN:
        raise OSError(f"Landlock of this kernel has version {abi}, and {ABI_MIN} is needed")
    head = b"".join([number.to_bytes(8, "little") for number in (ALL_ACCESS, 0, SCOPES)])
    rules = call("syscall", _CREATE, head, len(head), 0, says="Landlock")
    hidden = sandbox.get("hide", [])
    for path in _beside("/", hidden):
        is_closed = sandbox.get("read_only") and not f"{path}/".startswith(WRITABLE)
        _allow(rules, path, READING if is_closed else ALL_ACCESS)
    for each in sandbox.get("show", ()):
        _allow(rules, each["path"], READING if each["read_only"] else ALL_ACCESS)
    call("syscall", _RESTRICT, rules, 0, says="Landlock")
    os.close(rules)


def scope_sockets() -> None:
    """Let nobody be spoken to at an abstract Unix socket of others, where the kernel can see to that."""
    try:
        if call("syscall", _CREATE, None, 0, 1, says="Landlock") < ABI_MIN:
            return
    except OSError:
        return  # a kernel without Landlock
    head = b"".join([number.to_bytes(8, "little") for number in (0, 0, ABSTRACT_SOCKETS)])
    rules = call("syscall", _CREATE, head, len(head), 0, says="Landlock")
    call("syscall", _RESTRICT, rules, 0, says="Landlock")
    os.close(rules)


def _beside(folder: str, hidden: list[str]) -> list[str]:
    """The topmost paths in a folder that neither are hidden nor have anything hidden in them."""
    found = []
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if path in hidden or os.path.islink(path):
            continue
        if any(each.startswith(path + "/") for each in hidden):
            try:
                found += _beside(path, hidden)
            except PermissionError:
                continue  # nobody of this user could look into it
        else:
            found.append(path)
    return found


def _allow(rules: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it has just gone, or is out of reach anyway
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        access &= FILE_ACCESS
    rule = access.to_bytes(8, "little") + fd.to_bytes(4, "little")
    call("syscall", _ADD, rules, PATH_BENEATH, rule, 0, says="Landlock")
    os.close(fd)
