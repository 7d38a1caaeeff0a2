"""Put a process into namespaces and take its rights away, in two steps around its last fork.

`separate` makes or joins the namespaces; `confine` does what can only be done inside them, and nothing of which can be
undone by the program. What is wanted was decided by the agent (`agent/isolation.py`); here it is only carried out.
"""

from __future__ import annotations

import _socket
import os

from .kernel import NAMESPACES, PR_CAPBSET_DROP, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, prctl, setns, unshare
from .landlock import restrict, scope_sockets
from .mounts import build
from .seccomp import install

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from typing import Any

CAPABILITIES_MAX = 64  # numbers of capabilities are below; dropping one that does not exist says EINVAL
SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x41
LOOPBACK = b"lo".ljust(16, b"\0") + IFF_UP_RUNNING.to_bytes(2, "little") + bytes(22)


def wanted(spec: dict[str, Any]) -> list[str]:
    """The kinds of namespaces a container lives in; a view of files of its own takes one of mounts."""
    names: list[str] = list(spec.get("sandbox", {}).get("namespaces", ()))
    if spec.get("mounts") and "mnt" not in names:
        names.append("mnt")
    return names


def separate(spec: dict[str, Any], joined: dict[str, int]) -> bool:
    """Join the namespaces in `joined`, make the others; whether the process must fork to be in its PID namespace."""
    names = wanted(spec)
    # The user namespace comes first: the rights to make and join the others come from it.
    if "user" in joined:
        setns(joined["user"], NAMESPACES["user"])
    elif "user" in names:
        _separate_user(os.geteuid(), os.getegid(), spec)
    for name, fd in joined.items():
        if name != "user":
            setns(fd, NAMESPACES[name])
    flags = 0
    for name in names:
        if name not in joined and name != "user":
            flags |= NAMESPACES[name]
    if flags:
        unshare(flags)
    return "pid" in names


def furnish(spec: dict[str, Any], joined: dict[str, int]) -> None:
    """Fill the namespaces that were made for this process: files, host name, loopback."""
    sandbox = spec.get("sandbox", {})
    new = [name for name in wanted(spec) if name not in joined]
    if "uts" in new:
        _socket.sethostname(sandbox["hostname"])
    if "net" in new:
        _raise_loopback()
    if "mnt" in new:
        build(sandbox, spec.get("mounts", []))


def become_user(spec: dict[str, Any]) -> None:
    """Take the container's identity, and let it see itself as the user it wants to be."""
    bound_rights(spec)  # while we may
    sandbox = spec.get("sandbox", {})
    if sandbox.get("no_new_privs", True):
        prctl(PR_SET_NO_NEW_PRIVS, 1)
    gid, uid = spec.get("gid"), spec.get("uid")
    if gid is not None:
        os.setgroups(spec.get("groups") or [])
        os.setgid(gid)
    if uid is not None:
        os.setuid(uid)
    if "user" in sandbox.get("namespaces", ()) or not ("run_as_user" in sandbox or "run_as_group" in sandbox):
        return
    prctl(PR_SET_DUMPABLE, 1)  # a change of identity has given our own /proc/self to root
    _separate_user(os.geteuid(), os.getegid(), spec)
    bound_rights(spec)  # a new namespace has all of them again


def bound_rights(spec: dict[str, Any]) -> None:
    """Let no program come to have the rights that are to be dropped."""
    for number in spec.get("sandbox", {}).get("drop_capabilities", ()):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:
            continue  # not a capability of this kernel, or we have no say, and then no rights either


def confine(spec: dict[str, Any]) -> None:
    """Take away the rights that a program could still get."""
    sandbox = spec.get("sandbox", {})
    if sandbox.get("landlock"):
        restrict(sandbox)
    if sandbox.get("scoped"):
        scope_sockets()


def filter_calls(spec: dict[str, Any]) -> None:
    """The last: what comes after must need nothing that is refused."""
    sandbox = spec.get("sandbox", {})
    if sandbox.get("filter"):
        install(alone=bool(sandbox.get("alone")))


def _separate_user(uid: int, gid: int, spec: dict[str, Any]) -> None:
    """A user namespace in which we are whom the container wants to be, and outside of it who we are."""
    sandbox = spec.get("sandbox", {})
    unshare(NAMESPACES["user"])
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{sandbox.get('run_as_user', uid)} {uid} 1"),
        ("gid_map", f"{sandbox.get('run_as_group', gid)} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, text.encode())
        os.close(fd)


def _raise_loopback() -> None:
    import fcntl  # already loaded, by the child

    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    fcntl.ioctl(sock.fileno(), SIOCSIFFLAGS, LOOPBACK)
    sock.close()
