"""What the supervisor is told for a container of a class: decided from what the machine can do, without touching it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stark.crds.isolation import STRICT, TRUSTED

from .capabilities import NUMBERS
from .classes import Unoffered
from .means import Means

TEMPORARY = ("/tmp", "/var/tmp")
"""Where every pod has its own folder for temporary files."""
COMMON = ("/dev/shm", "/dev/mqueue")
"""Where all processes of a user find what they have in common in memory."""
SHARED = ["net", "ipc", "uts"]
"""Namespaces that the containers of a pod have in common, as in Kubernetes."""
CONFIGURATION = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
)
"""What of /etc runtimes read, and nobody minds being read."""


@dataclass(frozen=True, slots=True)
class Home:
    """What of the host's files a container must reach, at the paths they have there."""

    own: Sequence[Path]
    """Folders of its own, to be written."""
    temporary: Path
    """The pod's folder for temporary files."""
    shown: Sequence[Path]
    """What it reads: bundle, interpreter."""
    hostname: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a container's securityContext asks for."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    read_only_root: bool = False
    drop_capabilities: tuple[int, ...] = ()
    may_gain: bool = False
    """allowPrivilegeEscalation, where the class can grant it."""
    filtered: bool = False
    """Its system calls pass a filter."""
    groups: tuple[int, ...] = ()
    """Groups of the node, where the class can grant them."""
    mounts: list[dict[str, Any]] = field(default_factory=list)


def confine(kind: str, means: Means, user: int | None, home: Home, wishes: Wishes) -> dict[str, Any]:
    """The part of a run's specification that confines it: uid, gid, mounts, sandbox. Raises Unoffered."""
    if kind == TRUSTED:
        return _trusted(means, user, wishes)
    if means.landlock:
        return _landlocked(kind, means, home, wishes)
    own = [_mount(path, read_only=wishes.read_only_root) for path in home.own]
    shown = [_mount(path, read_only=True) for path in (*means.shown, *home.shown)]
    private = _mount(home.temporary, read_only=wishes.read_only_root)
    temporary = [{**private, "target": target} for target in TEMPORARY]
    sandbox: dict[str, Any] = {
        "class": kind,
        "namespaces": [*means.base, "mnt", "ipc"],
        "shared": [] if means.base else ["ipc"],
        "hide": list(means.hidden),
        "proc": "own" if "pid" in means.base else "hidden",
        "drop_capabilities": sorted(NUMBERS.values()),
        # Where it is our own user, all that is ours it could change: programs, control groups, what others left.
        "read_only": wishes.read_only_root or not means.separate_users,
        "scoped": kind != STRICT and not means.separate_users,
        "filter": wishes.filtered,
        **_ids(wishes),
    }
    if kind == STRICT:
        spaces = [*means.base, *(name for name in ("pid", "mnt", *SHARED) if name not in means.base)]
        shown = [_mount(path, read_only=True) for path in home.shown]
        sandbox |= {
            "namespaces": spaces,
            "shared": [*(name for name in means.base if name == "user"), *SHARED],
            "root": "minimal",
            "proc": "own",
            "hostname": home.hostname,
        }
        shown += [_mount(Path(path), read_only=True) for path in CONFIGURATION if path in means.configuration]
    return {
        "uid": user,
        "gid": user,
        "sandbox": sandbox,
        "mounts": [*temporary, *shown, *own, *wishes.mounts],
    }


def _landlocked(kind: str, means: Means, home: Home, wishes: Wishes) -> dict[str, Any]:
    """Without a view of its own: the same paths, and those it must not reach are closed to it."""
    if wishes.run_as_user is not None or wishes.run_as_group is not None:
        raise Unoffered("runAsUser and runAsGroup take namespaces, which this agent cannot make")
    own = [{"path": str(path), "read_only": wishes.read_only_root} for path in (*home.own, home.temporary)]
    sandbox = {
        "class": kind,
        "landlock": True,
        "hide": sorted({*means.hidden, *TEMPORARY, *COMMON}),
        "show": [*own, *({"path": str(path), "read_only": True} for path in (*means.shown, *home.shown))],
        "read_only": True,
        # What Landlock does not govern: sockets by path, and what is the user's rather than a file.
        "filter": True,
        "alone": True,
    }
    return {"uid": None, "gid": None, "sandbox": sandbox, "mounts": wishes.mounts}


def _trusted(means: Means, user: int | None, wishes: Wishes) -> dict[str, Any]:
    if wishes.read_only_root and not means.views:
        raise Unoffered("readOnlyRootFilesystem takes namespaces, which this agent cannot make")
    viewed = bool(wishes.mounts) or wishes.read_only_root
    namespaces = [*(name for name in means.base if name == "user"), "mnt"] if viewed else []
    sandbox: dict[str, Any] = {
        "class": TRUSTED,
        "namespaces": namespaces,
        "drop_capabilities": list(wishes.drop_capabilities),
        "read_only": wishes.read_only_root,
        "filter": wishes.filtered,
        "no_new_privs": not wishes.may_gain,
    }
    group = user if wishes.run_as_group is None else wishes.run_as_group
    if wishes.groups and group is None:
        group = os.getegid()
    return {"uid": user, "gid": group, "groups": list(wishes.groups), "sandbox": sandbox, "mounts": wishes.mounts}


def _ids(wishes: Wishes) -> dict[str, int]:
    ids = {"run_as_user": wishes.run_as_user, "run_as_group": wishes.run_as_group}
    return {name: number for name, number in ids.items() if number is not None}


def _mount(path: Path, *, read_only: bool = False) -> dict[str, Any]:
    return {"source": str(path), "target": str(path), "read_only": read_only}
