"""What is wrong with a cluster, and what to do about it: rules over what the server says. Asks nobody itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from stark.crds.nodestate import node_state, why
from stark.crds.podview import pod_state

Verdict = Literal["ok", "note", "bad"]

SKEW_NOTE_S, SKEW_BAD_S = 5.0, 60.0
"""Between two clocks: tokens and heartbeats bear some seconds; certificates and logins of a minute ago are refused."""
SLOW_ANSWER_S = 1.0
CERTIFICATE_NOTE, CERTIFICATE_BAD = timedelta(days=14), timedelta(days=1)
"""Left of a certificate's life: ours are renewed a month before their end, so less says that something does not work."""
PENDING_LONG = timedelta(minutes=5)
RESTARTS_MANY = 5
NAMED_MAX = 5
"""Objects named in one line; of the others only how many there are."""
ESSENTIAL = ("deployment", "replicaset", "scheduler", "node-lifecycle", "garbage")
"""Controllers without which nothing goes on; others may have been left out on purpose."""
UNPULLED = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
LEASE_PREFIX = "stark-"
RUNTIMES = "stark.dev/runtime-"

Object = dict[str, Any]
Mapped = Mapping[str, Any]


class Finding(NamedTuple):
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    text: str
    advice: str = ""
    """What to do; empty where all is well."""


def of_clock(server: datetime | None, here: datetime, took_s: float) -> Finding:
    """The server's clock, as it stood while our question was under way, against this machine's."""
    if server is None:
        return Finding("clock", "note", "the server does not say what time it is", "is there a proxy before it?")
    # The header has whole seconds, and was written at some moment of the exchange.
    ahead = (server - here).total_seconds()
    off = max(0.0, abs(ahead) - took_s - 1.0)
    told = f"the server's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if off >= SKEW_BAD_S:
        return Finding("clock", "bad", told, "let both follow a time server (`timedatectl`, chrony): logins will fail")
    if off >= SKEW_NOTE_S:
        return Finding("clock", "note", told, "let both follow a time server (`timedatectl`, chrony)")
    return Finding("clock", "ok", "the server's clock and this machine's agree")


def of_answer(took_s: float) -> Finding:
    """How long the server took for an easy question."""
    if took_s >= SLOW_ANSWER_S:
        return Finding(
            "server",
            "note",
            f"took {took_s:.1f} s to answer",
            "look at its load, and at the network between you and it",
        )
    return Finding("server", "ok", f"answers in {took_s * 1000:.0f} ms")


def of_certificate(subject: str, expires: datetime, now: datetime, advice: str) -> Finding:
    """How long a certificate is good."""
    left = expires - now
    if left <= timedelta(0):
        return Finding(subject, "bad", f"the certificate has expired on {expires:%Y-%m-%d}", advice)
    told = f"the certificate is good until {expires:%Y-%m-%d}"
    if left < CERTIFICATE_NOTE:
        return Finding(subject, "bad" if left < CERTIFICATE_BAD else "note", told, advice)
    return Finding(subject, "ok", told)


def of_ready(status: int, text: str) -> Iterator[Finding]:
    """The lines of `/readyz?verbose`."""
    failed = [line[3:] for line in text.splitlines() if line.startswith("[-]")]
    for line in failed:
        name, _, reason = line.partition(" failed: ")
        advice = "look at the disk of the data directory, or at etcd" if name == "store" else "look at the server's log"
        yield Finding("server", "bad", f"is not ready: {name}: {reason or 'failed'}", advice)
    if not failed:
        good = Finding("server", "ok", "is ready: store, caches and bootstrap objects are there")
        yield good if status < 300 else Finding("server", "bad", f"answers {status} to /readyz", "look at its log")


def of_versions(ours: str, servers: str) -> Finding:
    """starkctl and the server."""
    if ours.split("+")[0] == servers.split("+")[0]:
        return Finding("version", "ok", f"starkctl and the server are {ours}")
    return Finding(
        "version", "note", f"starkctl is {ours}, the server {servers}", "install the same version of starkctl"
    )


def of_controllers(leases: Iterable[Mapped], now: datetime) -> Iterator[Finding]:
    """Whether every controller that ever ran has somebody who runs it now."""
    found = {each["metadata"]["name"]: each.get("spec") or {} for each in leases}
    ours = {name.removeprefix(LEASE_PREFIX): spec for name, spec in found.items() if name.startswith(LEASE_PREFIX)}
    missing = [name for name in ESSENTIAL if name not in ours]
    stale = sorted(name for name, spec in ours.items() if _has_ended(spec, now))
    advice = "start `stark-controllers`, or look at its log"
    if missing:
        yield Finding("controllers", "bad", f"never ran: {_named(missing)}", advice)
    if stale:
        yield Finding("controllers", "bad", f"nobody runs any more: {_named(stale)}", advice)
    if not missing and not stale:
        yield Finding("controllers", "ok", f"{len(ours)} run")


def _has_ended(spec: Mapped, now: datetime) -> bool:
    renewed = spec.get("renewTime")
    if not spec.get("holderIdentity") or not renewed:
        return True
    return now - datetime.fromisoformat(renewed) > timedelta(seconds=2 * (spec.get("leaseDurationSeconds") or 15))


def of_nodes(nodes: Sequence[Mapped], version: str) -> Iterator[Finding]:
    """How machines are, and what they can run."""
    if not nodes:
        yield Finding(
            "nodes", "bad", "there is none: no pod can run", "`starkctl token create` prints how a machine joins"
        )
        return
    states = Counter(node_state(node) for node in nodes)
    yield Finding(
        "nodes", "ok", f"{len(nodes)}: " + ", ".join(f"{count} {state}" for state, count in states.most_common())
    )
    for node in nodes:
        yield from _of_node(node, version)


def _of_node(node: Mapped, version: str) -> Iterator[Finding]:
    name, state = node["metadata"]["name"], node_state(node)
    subject = f"node {name}"
    if state in ("offline", "suspect"):
        yield Finding(
            subject, "bad", f"is {state}: {'; '.join(why(node))}", "look at the machine and at its stark-agent"
        )
    elif state == "unhealthy":
        yield Finding(subject, "bad", "; ".join(why(node)), f"`starkctl node status {name}` tells more")
    elif state in ("draining", "maintenance"):
        yield Finding(subject, "note", "; ".join(why(node)), f"`starkctl node maintenance {name} --end` puts it back")
    elif (node.get("spec") or {}).get("unschedulable"):
        yield Finding(subject, "note", "takes no new pods", f"`starkctl uncordon {name}` lets them on again")
    if not any(label.startswith(RUNTIMES) for label in node["metadata"].get("labels") or {}):
        yield Finding(subject, "bad", "has no runtime", "install Node.js or Python on it, then restart its stark-agent")
    agent = (((node.get("status") or {}).get("nodeInfo")) or {}).get("kubeletVersion") or ""
    if agent and version and _own(agent) != _own(version):
        yield Finding(
            subject, "note", f"its agent is {_own(agent)}, the server {_own(version)}", "upgrade the older one"
        )


def _own(version: str) -> str:
    """Stark's own version, which the server tells behind that of the Kubernetes API it speaks: `v1.33.0+stark-0.1.0`."""
    _, mark, own = version.rpartition("+stark-")
    return own if mark else version.removeprefix("v")


def of_pods(pods: Sequence[Mapped], now: datetime) -> Iterator[Finding]:
    """What does not start, and what does not stay up."""
    states = Counter(pod_state(pod) for pod in pods)
    yield Finding("pods", "ok", f"{len(pods)}" + "".join(f", {count} {state}" for state, count in states.most_common()))
    waiting = [_name(pod) for pod in pods if pod_state(pod) == "pending" and _age(pod, now) > PENDING_LONG]
    looping = [_name(pod) for pod in pods if _restarts(pod) >= RESTARTS_MANY and not _is_up(pod)]
    unpulled = [_name(pod) for pod in pods if _waits_for(pod, UNPULLED)]
    yield from _of_some(waiting, "have no node for minutes", "`starkctl explain pod/%s` tells why")
    yield from _of_some(looping, "crash again and again", "`starkctl logs %s --previous` has their last words")
    yield from _of_some(unpulled, "have no pack or image", "`starkctl pod status %s` tells why")


def _of_some(names: Sequence[str], what: str, advice: str) -> Iterator[Finding]:
    if names:
        yield Finding("pods", "bad", f"{what}: {_named(names)}", advice % _plain(names[0]))


def of_audit(told: Mapped) -> Iterator[Finding]:
    """What the server says of its audit log."""
    if told.get("trouble"):
        yield Finding(
            "audit", "bad", f"cannot be written: {told['trouble']}", "free space, or look at the server's disk"
        )
    elif told.get("hampered"):
        yield Finding("audit", "note", "was in trouble a moment ago", "look at the server's disk")
    else:
        yield Finding("audit", "ok", "is written")


def of_disk(path: str, free: int, total: int) -> Finding:
    """Room where the data is."""
    share = free / total if total else 0.0
    told = f"{free / (1 << 30):.1f} GiB of {total / (1 << 30):.0f} are free where {path} lies"
    if share < 0.05:
        return Finding("disk", "bad", told, "make room: a full disk takes no writes but deletions")
    if share < 0.15:
        return Finding("disk", "note", told, "below 10 % an agent evicts pods: make room in time")
    return Finding("disk", "ok", told)


def _waits_for(pod: Mapped, reasons: Sequence[str]) -> bool:
    return any((each.get("state") or {}).get("waiting", {}).get("reason") in reasons for each in _containers(pod))


def _restarts(pod: Mapped) -> int:
    return max((each.get("restartCount") or 0 for each in _containers(pod)), default=0)


def _is_up(pod: Mapped) -> bool:
    return all(each.get("ready") for each in _containers(pod))


def _containers(pod: Mapped) -> Sequence[Mapped]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _age(pod: Mapped, now: datetime) -> timedelta:
    return now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])


def _name(pod: Mapped) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _plain(name: str) -> str:
    """A pod's name as commands take it: with the namespace where it is another than the usual one."""
    namespace, _, pod = name.partition("/")
    return pod if namespace == "default" else f"{pod} -n {namespace}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more
