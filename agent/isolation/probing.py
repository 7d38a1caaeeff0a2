"""Find out, once, when the agent starts, which classes of isolation this machine can give: each is tried out."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stark.crds.isolation import PROCESS, STRICT

from ..records import USER_BASE, USERS_MAX
from ..supervisor.mounts import SYSTEM
from .means import Means
from .plans import CONFIGURATION, Home, Wishes, confine

TRIAL_TIMEOUT_S = 20.0
TRIAL_USER = USER_BASE + USERS_MAX  # of no pod
TRIAL_TARGET = "/stark-trial/volume"
HOMES = ("/home", "/root")
"""Folders of people, in which pods have no business."""
DOORS = ("/run", "/var/run", "/var/snap/lxd", "/var/lib/lxd", "/var/lib/incus")
"""Folders of sockets at which whoever has our user or our groups is let in: the session's bus, a container engine."""
PRIVATE_PROC_SINCE = (5, 8)
"""Linux; before, the option that hides strangers' processes is the whole machine's."""
MINIMAL = tuple(f"/{name}" for name in SYSTEM)
_AGENT_DIR = Path(__file__).resolve().parent.parent
_BOOT = "import sys;sys.path.insert(0,sys.argv[1]);from supervisor.trial import main;main(*sys.argv[2:])"


def has_users() -> bool:
    """Whether each pod can have a user of its own: we are root of the machine, or of a namespace with so many users."""
    if os.geteuid() != 0:
        return False
    try:
        maps = [Path(f"/proc/self/{kind}_map").read_text() for kind in ("uid", "gid")]
    except OSError:
        return True  # a kernel without such namespaces
    return all(maps_users(text) for text in maps)


def maps_users(text: str) -> bool:
    """Whether the map of a user namespace has all ids of pods (user_namespaces(7): first inside, first outside, length)."""
    for line in text.splitlines():
        inside, _, length = (int(word) for word in line.split())
        if inside <= USER_BASE and inside + length > TRIAL_USER:
            return True
    return False


async def find_means(data_dir: Path, hide: Sequence[Path], *, separate_users: bool) -> Means:
    """What can be given here. `hide` is what else of ours pods must not see; without `separate_users` a root's pods
    would be root.
    """
    root = os.geteuid() == 0
    if root and not separate_users:
        why = "pods have no users of their own here"
        alone = Means(refused={PROCESS: why, STRICT: why})
        tried = await _try(data_dir / "trial", {"view": _with_volume(alone, data_dir / "trial")})
        return replace(alone, views=not tried["view"])
    means = Means(
        base=() if root else ("user", "pid"),
        separate_users=root,
        hidden=hidden_paths(data_dir, [*hide, *(() if root else map(Path, DOORS))]),
        shown=() if root else tuple(_resolver()),
        configuration=frozenset(filter(os.path.exists, CONFIGURATION)),
    )
    folder = data_dir / "trial"
    home = Home(own=[folder], temporary=folder, shown=[], hostname="trial")
    user = TRIAL_USER if root else None
    plans = {kind: confine(kind, means, user, home, Wishes(filtered=kind == STRICT)) for kind in (PROCESS, STRICT)}
    tried = await _try(folder, {**plans, "view": _with_volume(means, folder)})
    refused = {kind: why for kind, why in tried.items() if why}
    views = not refused.pop("view", "")
    if not root and PROCESS in refused:
        means, refused = await _without_namespaces(replace(means, base=()), folder, home, refused)
    if root and _kernel() < PRIVATE_PROC_SINCE:
        refused |= {PROCESS: f"Linux {platform.release()} cannot hide other users' processes from pods"}
    return replace(means, refused=refused, views=views)


async def _without_namespaces(
    means: Means, folder: Path, home: Home, refused: dict[str, str]
) -> tuple[Means, dict[str, str]]:
    """What Landlock can do where the kernel lets us make no namespaces: the class `process`, without volumes."""
    locked = replace(means, landlock=True)
    tried = await _try(folder, {PROCESS: confine(PROCESS, locked, None, home, Wishes())})
    strict = {STRICT: refused.get(STRICT, refused[PROCESS])}
    if tried[PROCESS]:
        return means, {PROCESS: f"{refused[PROCESS]}; {tried[PROCESS]}", **strict}
    return locked, strict


def _with_volume(means: Means, folder: Path) -> dict[str, Any]:
    volume = {"source": str(folder), "target": TRIAL_TARGET, "read_only": True}
    home = Home(own=[], temporary=folder, shown=[], hostname="trial")
    return confine("trusted", means, None, home, Wishes(mounts=[volume]))


async def _try(folder: Path, plans: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Why not, by name; empty for what works."""
    os.makedirs(folder, mode=0o711, exist_ok=True)
    common = {"argv": ["/bin/true"], "env": {}, "cwd": "/"}
    specs = [json.dumps({**common, **plan}) for plan in plans.values()]
    python = getattr(sys, "_base_executable", None) or sys.executable  # as supervisors have it
    process = await asyncio.create_subprocess_exec(
        python, "-I", "-S", "-c", _BOOT, str(_AGENT_DIR), str(folder), *specs,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), TRIAL_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        output = b""
    lines = output.splitlines()
    answers = [json.loads(line)["why"] for line in lines] + ["the trial was not finished"] * (len(plans) - len(lines))
    return dict(zip(plans, answers, strict=True))


def _resolver() -> list[Path]:
    """The folder of what names are looked up by, if it is among the doors: the file itself is replaced now and then."""
    folder = Path("/etc/resolv.conf").resolve().parent
    return [folder] if is_within(folder, DOORS) and str(folder) not in DOORS else []


def _kernel() -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", platform.release())[:2])


def hidden_paths(data_dir: Path, more: Iterable[Path], homes: Iterable[str] = HOMES) -> tuple[str, ...]:
    """What pods must not see: people's folders, our own data, and what else is ours. None lies within another.

    Where a pod's user could not reach the data directory, the folder that keeps them out is what is hidden: what the pod
    may see of it is shown in its place.
    """
    data_dir = data_dir.resolve()
    closed = [folder for folder in reversed(data_dir.parents) if not folder.stat().st_mode & 0o001]
    wanted = {*(path.resolve() for path in more), *(Path(home).resolve() for home in homes), (closed or [data_dir])[0]}
    outermost = [path for path in wanted if path.exists() and wanted.isdisjoint(path.parents)]
    return tuple(sorted(map(str, outermost)))


def shown_for(kind: str, needs: Iterable[Path], hidden: Sequence[str]) -> list[Path]:
    """What of the files a runtime needs pods of the class do not see: a program with all that was installed with it."""
    shown: set[Path] = set()
    for path in needs:
        if not is_within(path, hidden) and (kind != STRICT or is_within(path, MINIMAL)):
            continue
        real = path.resolve()
        prefix = real.parent.parent
        is_program = real.parent.name == "bin" and str(prefix) not in hidden
        if is_program:
            shown.add(prefix)
        if not is_program or not path.is_relative_to(prefix):
            shown.add(path)  # by the name it is called by, which may be a link
    return sorted(shown)


def is_within(path: Path, folders: Iterable[str]) -> bool:
    """Whether it lies in one of the folders, wherever links lead."""
    real = path.resolve()
    return any(real.is_relative_to(folder) for folder in folders)
