"""Take the pods off a node: evict them as their budgets allow, again and again, and wait until they are gone."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stark.crds.draining import DrainPlan, DrainRules, budget_complaint, eviction_of, plan_drain, pod_key

from .errors import CommandError, ServerError
from .nodes import Object, dry_run_mark, pods_on
from .options import Session

RETRY_S = 5.0
"""Between two attempts at a pod that its budget holds. kubectl's figure."""
LOOK_S = 0.5
"""How often it is looked at which pods have gone."""


@dataclass(frozen=True, slots=True)
class Drain:
    """How it is done."""

    rules: DrainRules
    grace_s: int | None = None
    timeout_s: float = 0.0
    """0: as long as it takes."""
    pod_selector: str = ""
    by_deletion: bool = False
    """Delete instead of evicting: no budget is asked."""
    dry_run: str = "none"


@dataclass(slots=True)
class _Under:
    """One drain on its way."""

    left: dict[str, Object]
    """Pods that are still there, by uid."""
    asked: set[str] = field(default_factory=set)
    """Those that are going."""
    again_at: dict[str, float] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)


def drain(session: Session, name: str, how: Drain) -> None:
    """Take the pods off one node. Raises CommandError, and has told what is left then."""
    plan = planned(session, name, how)
    if plan.refusals:
        raise CommandError(f"cannot drain node {name}: {_told(plan.refusals)}")
    for what, pods in (
        ("ignoring DaemonSet-managed Pods", plan.ignored),
        ("deleting Pods that declare no controller", plan.unmanaged),
    ):
        if pods:
            print(f"Warning: {what}: {', '.join(map(pod_key, pods))}", file=sys.stderr)
    verb = "deleting" if how.by_deletion else "evicting"
    for pod in plan.go:
        print(f"{verb} pod {pod_key(pod)}{dry_run_mark(how.dry_run)}")
    sys.stdout.flush()
    if how.dry_run == "none":
        _carry_out(session, name, how, [dict(pod) for pod in plan.go])


def planned(session: Session, name: str, how: Drain) -> DrainPlan:
    """What becomes of the node's pods."""
    pods = pods_on(session, name, how.pod_selector)
    now = datetime.now(UTC)
    deleted = {
        pod["metadata"]["uid"]: (now - datetime.fromisoformat(stamp)).total_seconds()
        for pod in pods
        if (stamp := pod["metadata"].get("deletionTimestamp"))
    }
    return plan_drain(pods, how.rules, deleted)


def _told(refusals: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{why}: {', '.join(pods)}" for why, pods in refusals.items())


def _carry_out(session: Session, name: str, how: Drain, pods: Sequence[Object]) -> None:
    state = _Under({pod["metadata"]["uid"]: pod for pod in pods})
    deadline = time.monotonic() + how.timeout_s if how.timeout_s else None
    while state.left:
        now = time.monotonic()
        for uid, pod in list(state.left.items()):
            if uid not in state.asked and now >= state.again_at.get(uid, 0.0):
                _ask(session, how, state, uid, pod)
        _look(session, name, how, state)
        if state.left and deadline is not None and time.monotonic() >= deadline:
            raise CommandError(_unfinished(name, how, state))
        if state.left:
            time.sleep(LOOK_S)


def _ask(session: Session, how: Drain, state: _Under, uid: str, pod: Object) -> None:
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
    body = eviction_of(pod, how.grace_s)
    try:
        if how.by_deletion:
            session.api.request(
                "DELETE", path, body={"apiVersion": "v1", "kind": "DeleteOptions", **body["deleteOptions"]}
            )
        else:
            session.api.request("POST", f"{path}/eviction", body=body)
    except ServerError as error:
        if error.code in (404, 409):
            state.asked.add(uid)  # gone, or a namesake has its place: the next look tells
        elif error.code == 429:
            state.again_at[uid] = time.monotonic() + RETRY_S
            why = budget_complaint(error.status) or str(error.status.get("message") or error)
            if state.told.get(uid) != why:
                print(f"pod {pod_key(pod)} stays for now (tried again every {RETRY_S:g} s): {why}", file=sys.stderr)
            state.told[uid] = why
        else:
            raise CommandError(f"pod {pod_key(pod)} could not be evicted: {error}") from error
        return
    state.asked.add(uid)
    state.told.pop(uid, None)


def _look(session: Session, name: str, how: Drain, state: _Under) -> None:
    present = {pod["metadata"]["uid"] for pod in pods_on(session, name, how.pod_selector)}
    for uid in [uid for uid in state.left if uid not in present]:
        pod = state.left.pop(uid)
        print(f"pod/{pod['metadata']['name']} {'deleted' if how.by_deletion else 'evicted'}")
        sys.stdout.flush()


def _unfinished(name: str, how: Drain, state: _Under) -> str:
    told = []
    for uid, pod in state.left.items():
        told.append(f"{pod_key(pod)} ({state.told.get(uid) or 'has not stopped yet'})")
    return f"node {name} is not drained after {how.timeout_s:g} s; still there: {', '.join(told)}"


def duration_s(text: str) -> float:
    """`30`, `30s`, `5m`, `1h30m`. Raises ValueError."""
    units: dict[str, float] = {"h": 3600.0, "m": 60.0, "s": 1.0}
    total, number = 0.0, ""
    for letter in text:
        if letter in units and number:
            total, number = total + float(number) * units[letter], ""
        else:
            number += letter
    return total + (float(number) if number else 0.0)
