"""Pods that run packs, in wire form: which packs, which versions they ran, and what asking for so much of a machine means.

What starkctl and the API server's facade share of the originals' rules. Free of pydantic.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .annotations import VERSION_HISTORY
from .images import ImageError, parse_image

CPU_MILLICORES, MEMORY_MIB = 100, 128
"""Asked for when nothing is said: the originals' numbers."""
CPU_LIMIT_MILLICORES, MEMORY_LIMIT_MIB = 500, 512
"""The most a pod may use, unless it asks for more than that."""
NAME_LENGTH_MAX = 63
SUFFIX_LENGTH = 5
HISTORY_MAX = 20
"""Versions remembered on a pod; the oldest go first."""
ROLLED_BACK_FROM = ("scheduled", "starting", "running")
"""States in which a pod can be rolled back."""

Object = dict[str, Any]
Mapped = Mapping[str, Any]


class Step(NamedTuple):
    """One change of a pod's version."""

    at: str
    before: str
    after: str
    reason: str = ""


def packs_of(pod_spec: Mapped) -> list[tuple[str, str, str]]:
    """(container, pack, version) of every container that runs a pack; the version may be empty."""
    found = []
    for container in pod_spec.get("containers") or ():
        try:
            reference = parse_image(container.get("image") or "")
        except ImageError:
            continue
        if reference is not None:
            found.append((container["name"], reference.name, reference.version or ""))
    return found


def images_in(pod_spec: Mapped, pack: str, image: str) -> dict[str, list[dict[str, str]]]:
    """A strategic patch of the spec that gives every container of the pack, init containers too, that image."""
    lists = {
        key: [
            {"name": name, "image": image}
            for name, each, _ in packs_of({"containers": pod_spec.get(key)})
            if each == pack
        ]
        for key in ("initContainers", "containers")
    }
    return {key: given for key, given in lists.items() if given}


def version_of(pod_spec: Mapped) -> str:
    """The version of the first pack, else the first image."""
    packs = packs_of(pod_spec)
    if packs:
        return packs[0][2] or "latest"
    return next((str(each.get("image") or "") for each in pod_spec.get("containers") or ()), "")


def version_steps(pod: Mapped) -> list[Step]:
    """The changes of version that are noted on the pod, the oldest first."""
    text = (pod["metadata"].get("annotations") or {}).get(VERSION_HISTORY) or "[]"
    try:
        return [Step(str(s["at"]), str(s["from"]), str(s["to"]), str(s.get("reason", ""))) for s in json.loads(text)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []  # somebody else has written there


def format_steps(steps: Sequence[Step]) -> str:
    """The annotation's value."""
    kept = [
        {"at": s.at, "from": s.before, "to": s.after, **({"reason": s.reason} if s.reason else {})}
        for s in steps[-HISTORY_MAX:]
    ]
    return json.dumps(kept, separators=(",", ":"))


def previous_version(pod: Mapped, current: str) -> str | None:
    """The last version it ran that is not the present one; None when it ran no other."""
    for step in reversed(version_steps(pod)):
        for version in (step.after, step.before):
            if version != current:
                return version
    return None


def rollback_patch(pod: Mapped, pack: str, image: str, step: Step) -> Object:
    """The strategic patch that gives a pod, as it was seen, another version in its place, and notes it."""
    meta = {
        "uid": pod["metadata"]["uid"],
        "resourceVersion": pod["metadata"]["resourceVersion"],
        "annotations": {VERSION_HISTORY: format_steps([*version_steps(pod), step])},
    }
    return {"metadata": meta, "spec": images_in(pod["spec"], pack, image)}


def message_of(pod: Mapped) -> str:
    """Why the pod is as it is, in words: its own message, what holds a container up, or why it has no node."""
    status = pod.get("status") or {}
    if status.get("message") or status.get("reason"):
        return str(status.get("message") or status["reason"])
    undone = (each for each in status.get("initContainerStatuses") or () if not each.get("ready"))
    for container in (*undone, *(status.get("containerStatuses") or ())):
        state = container.get("state") or {}
        held = state.get("waiting") or state.get("terminated") or {}
        if held.get("message") or held.get("reason"):
            return f"{held.get('reason', '')}: {held.get('message', '')}".strip(": ")
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    placed = conditions.get("PodScheduled") or {}
    return str(placed.get("message") or "") if placed.get("status") == "False" else ""


def resources(cpu: int | None, memory: int | None) -> dict[str, dict[str, str]]:
    """What is asked for, in thousandths of a core and MiB, and the most that may be used."""
    millicores, mebibytes = cpu or CPU_MILLICORES, memory or MEMORY_MIB
    return {
        "requests": amounts(millicores, mebibytes),
        "limits": amounts(max(millicores, CPU_LIMIT_MILLICORES), max(mebibytes, MEMORY_LIMIT_MIB)),
    }


def amounts(millicores: int, mebibytes: int) -> dict[str, str]:
    """As quantities."""
    return {"cpu": f"{millicores}m", "memory": f"{mebibytes}Mi"}


def label_of(pack: str) -> str:
    """The pack's name as names of objects are spelled: small letters, digits and hyphens."""
    return (
        re.sub(r"[^a-z0-9]+", "-", pack.lower()).strip("-")[: NAME_LENGTH_MAX - SUFFIX_LENGTH - 1].rstrip("-") or "pack"
    )
