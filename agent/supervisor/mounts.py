"""Give a container its own view of the files: volumes where they belong, and what is none of its business out of sight.

Called in the container's process, in a mount namespace of its own that nobody shares, before it gives up its rights. The
view is put together in a folder of the pod and then made the root. Nothing is ever created on the host: where a
target is missing there, the deepest folder that exists is replaced by one in memory, with the same entries and the missing
one. Whatever else is mounted or unmounted on the host later still shows.

Folders in which pods can write are walked without following symbolic links: we are root, and a link is their word.
"""

from __future__ import annotations

import os
import stat
from errno import ENOSYS

from .kernel import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    mount,
    mount_attributes,
    open_beneath,
    pivot_root,
)

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from typing import Any

STAGING = "root"  # folder of the pod's folder that views are put together in; it stays empty on disk
SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""What of the host's root a minimal one has: programs and libraries."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
STREAMS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
TERMINAL_OPTIONS = "newinstance,ptmxmode=0666,mode=620,max=256"
"""A pod that takes all terminals there are would leave none for whoever wants to log in."""
SHM_OPTIONS = "mode=1777,size=64m"  # as container runtimes have it


class _View:
    """The tree that will be the root, while it grows."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._sealed: list[str] = []

    def at(self, path: str, make: str = "") -> int:
        """A descriptor of a path of the view; `make` is `dir` or `file` if it may be missing. The caller closes it."""
        names = [name for name in path.split("/") if name]
        fd = os.open(self._base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for number, name in enumerate(names, 1):
            last = number == len(names)
            below = self._step(fd, name, make if last else make and "dir", is_folder=not last)
            os.close(fd)
            fd = below
        return fd

    def _step(self, fd: int, name: str, make: str, *, is_folder: bool) -> int:
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_DIRECTORY if is_folder else 0)
        try:
            return os.open(name, flags, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
        if make == "dir":
            os.mkdir(name, 0o755, dir_fd=fd)
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=fd))
        return os.open(name, flags, dir_fd=fd)

    def mount(self, source: str, path: str, kind: str | None, flags: int, options: str | None = None) -> None:
        """Mount on a path of the view that exists."""
        fd = self.at(path)
        mount(source, f"/proc/self/fd/{fd}", kind, flags, options)
        os.close(fd)

    def restrict(self, path: str, attributes: int, *, recursive: bool = True) -> None:
        """Add attributes to what is mounted at a path; kernels before 5.12 can do it for the topmost mount only."""
        fd = self.at(path)
        try:
            mount_attributes(fd, attributes, recursive=recursive)
        except OSError as error:
            if error.errno != ENOSYS:
                raise
            flags = os.fstatvfs(fd).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC) | attributes
            mount(None, f"/proc/self/fd/{fd}", None, MS_BIND | MS_REMOUNT | flags)
        os.close(fd)

    def memory(self, path: str, like: os.stat_result | None = None) -> None:
        """An empty folder in memory over a path, in which nobody may write once the view is sealed."""
        options = "mode=755"
        if like is not None and os.geteuid() == 0 and like.st_uid == 0 == like.st_gid:
            options = f"mode={stat.S_IMODE(like.st_mode):o}"
        self.mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options)
        self._sealed.append(path)

    def replace(self, path: str) -> None:
        """A folder in memory with the entries of the host's folder of that path."""
        entries = [(entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False)) for entry in os.scandir(path)]
        self.memory(path, os.stat(path))
        folder = "" if path == "/" else path
        for name, is_link, is_folder in entries:
            if is_link:
                fd = self.at(path)
                os.symlink(os.readlink(f"{folder}/{name}"), name, dir_fd=fd)
                os.close(fd)
            else:
                os.close(self.at(f"{folder}/{name}", "dir" if is_folder else "file"))
                self.mount(f"{folder}/{name}", f"{folder}/{name}", None, MS_BIND | MS_REC)

    def seal(self) -> None:
        """Let nobody write in what is ours."""
        for path in self._sealed:
            self.restrict(path, MOUNT_ATTR_RDONLY, recursive=False)


def build(sandbox: dict[str, Any], mounts: list[dict[str, Any]]) -> None:
    """Make the view and live in it. Raises OSError with what was refused.

    `sandbox`: `root` (`minimal`, or the host's), `hide` (paths of which nothing shall show but what is mounted there),
    `read_only` (all but what is mounted), `proc` (`own` for a PID namespace of our own, `hidden` for one that shows
    strangers' processes to nobody). Of each mount: `source`, `target`, `read_only`, and `within`, a folder that no
    symbolic link of `source`, then relative to it, may lead out of.
    """
    is_minimal = sandbox.get("root") == "minimal"
    plan = _in_order(mounts, follow=not is_minimal)
    covered = [each["target"] for each in plan]
    hidden = [path for path in sandbox.get("hide", ()) if os.path.exists(path) and not _innermost(covered, path)]
    mount(None, "/", None, MS_REC | MS_SLAVE)
    view = _View(os.path.abspath(STAGING))
    _lay_ground(view, plan, hidden, is_minimal=is_minimal)
    if sandbox.get("read_only") and not is_minimal:
        view.restrict("/", MOUNT_ATTR_RDONLY)
    is_separate = "ipc" in sandbox.get("namespaces", ())
    if not is_minimal and (is_separate or sandbox.get("read_only")):
        _part(view, is_separate=is_separate)
    for each in plan:
        _bind(view, each, [one for one in plan if one["outer"] == each["named"] and one is not each])
    if sandbox.get("proc"):
        options = "hidepid=2" if sandbox["proc"] == "hidden" else None
        view.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    view.seal()
    pivot_root(os.path.abspath(STAGING))


def _part(view: _View, *, is_separate: bool) -> None:
    """Shared memory, queues and terminals of its own, where the host has any: what is left in the host's outlives a pod,
    and what is taken is nobody else's any more.
    """
    if os.path.isdir("/dev/shm"):
        view.mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, SHM_OPTIONS)
    if is_separate and os.path.ismount("/dev/mqueue"):
        view.mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if is_separate and os.path.ismount("/dev/pts"):  # where /dev/ptmx looks, too
        view.mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, TERMINAL_OPTIONS)


def _in_order(mounts: list[dict[str, Any]], *, follow: bool) -> list[dict[str, Any]]:
    """Outer before inner, with each target where the host's symbolic links lead; not those within other mounts."""
    plan: list[dict[str, Any]] = []
    for each in sorted(mounts, key=lambda one: os.path.normpath(one["target"]).count("/")):
        target = os.path.normpath(each["target"])
        outer = _innermost([one["named"] for one in plan], target)
        if outer:
            lies = next(one["target"] for one in plan if one["named"] == outer) + target[len(outer) :]
        else:
            lies = os.path.realpath(target) if follow else target
        plan.append({**each, "named": target, "target": lies, "outer": outer})
    return plan


def _innermost(folders: list[str], path: str) -> str:
    """The deepest of the folders that `path` is in or is; empty when none."""
    return max([one for one in folders if path == one or path.startswith(one + "/")], key=len, default="")


def _lay_ground(view: _View, plan: list[dict[str, Any]], hidden: list[str], *, is_minimal: bool) -> None:
    """The host's tree or a small one, and in memory what targets need that it does not have."""
    if is_minimal:
        view.memory("/")
        _add_system(view)
    else:
        missing = {_existing(each["target"]) for each in plan if not each["outer"]}
        missing = {path for path in missing if path and not _innermost(hidden, path)}
        if "/" in missing:
            view.replace("/")
        else:
            view.mount("/", "/", None, MS_BIND | MS_REC)
        for path in sorted(missing - {"/"}):
            view.replace(path)
        for path in hidden:
            if os.path.isdir(path):
                view.memory(path)
            else:
                view.mount("/dev/null", path, None, MS_BIND)
    for each in plan:
        if not each["outer"]:
            os.close(view.at(each["target"], _kind_of(each)))


def _existing(target: str) -> str:
    """The deepest folder of the host on the way to a target that is missing; empty when it is there."""
    if os.path.lexists(target):
        return ""
    while not os.path.lexists(target):
        target = os.path.dirname(target)
    return target


def _add_system(view: _View) -> None:
    """Programs, libraries, devices: what every program needs, and nothing that could be written to."""
    for name in SYSTEM:
        path = f"/{name}"
        if os.path.islink(path):
            root = view.at("/")
            os.symlink(os.readlink(path), name, dir_fd=root)
            os.close(root)
        elif os.path.isdir(path):
            os.close(view.at(path, "dir"))
            view.mount(path, path, None, MS_BIND | MS_REC)
            view.restrict(path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
    os.close(view.at("/proc", "dir"))
    os.close(view.at("/dev", "dir"))
    view.memory("/dev")
    for name in DEVICES:
        os.close(view.at(f"/dev/{name}", "file"))
        view.mount(f"/dev/{name}", f"/dev/{name}", None, MS_BIND)
    devices = view.at("/dev")
    for name, target in STREAMS.items():
        os.symlink(target, name, dir_fd=devices)
    os.close(devices)
    os.close(view.at("/dev/pts", "dir"))
    view.mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, TERMINAL_OPTIONS)
    os.close(view.at("/dev/shm", "dir"))
    view.mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, SHM_OPTIONS)


def _source(each: dict[str, Any]) -> int:
    """A descriptor of what is to be shown."""
    if "within" not in each:
        return os.open(each["source"], os.O_PATH | os.O_CLOEXEC)
    folder = os.open(each["within"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_beneath(folder, each["source"])
    finally:
        os.close(folder)


def _kind_of(each: dict[str, Any]) -> str:
    fd = _source(each)
    is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
    os.close(fd)
    return "dir" if is_folder else "file"


def _bind(view: _View, each: dict[str, Any], inner: list[dict[str, Any]]) -> None:
    os.close(view.at(each["target"], _kind_of(each)))
    source = _source(each)
    view.mount(f"/proc/self/fd/{source}", each["target"], None, MS_BIND | MS_REC)
    os.close(source)
    for one in inner:  # while something can be made there
        os.close(view.at(one["target"], _kind_of(one)))
    attributes = MOUNT_ATTR_NOSUID
    if not each.get("devices"):
        attributes |= MOUNT_ATTR_NODEV
    if each.get("read_only"):
        attributes |= MOUNT_ATTR_RDONLY
    if each.get("no_exec"):
        attributes |= MOUNT_ATTR_NOEXEC
    view.restrict(each["target"], attributes)
