"""The rules of the levels: those of Kubernetes' Pod Security Standards whose fields a pod here can have.

Each is a function from a pod to what is wrong, in Kubernetes' words, or an empty text. Isolation class `trusted` is none of
Kubernetes': it gives a pod what privileged containers have, and counts as that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stark.crds.annotations import ISOLATION
from stark.crds.isolation import TRUSTED

from ..podspecs import FoundSpec, containers
from ..validate_security import isolation_of
from .levels import Policy

DEFAULT_CAPABILITIES: Final = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
"""What container engines give without being asked."""
RESTRICTED_VOLUMES: Final = frozenset(
    {
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
        "image",
    }
)  # fmt: skip
CONFINING: Final = ("RuntimeDefault", "Localhost")

Mapped = Mapping[str, Any]


def violations(policy: Policy, found: FoundSpec) -> str:
    """Everything that the policy forbids, in one line; empty when there is nothing."""
    if policy.level == "privileged":
        return ""
    texts = []
    for check in CHECKS:
        if policy.level not in check.levels or policy.minor < check.since:
            continue
        if details := check.judge(found):
            texts.append(f"{check.reason} ({details})")
    return ", ".join(texts)


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: at which levels, and since which minor version of Kubernetes."""

    reason: str
    judge: Callable[[FoundSpec], str]
    levels: tuple[str, ...]
    since: int = 0


def _contexts(found: FoundSpec) -> list[tuple[str, Mapped]]:
    return [(each.get("name", ""), each.get("securityContext") or {}) for _, each in containers(found)]


def _pod(found: FoundSpec) -> Mapped:
    return found.spec.get("securityContext") or {}


def _who(names: Sequence[str], noun: str = "container") -> str:
    """`container "a"`, `containers "a", "b"`."""
    return f"{noun}{'s' if len(names) > 1 else ''} {_quoted(names)}"


def _quoted(names: Iterable[Any]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _escalation(found: FoundSpec) -> str:
    bad = [name for name, context in _contexts(found) if context.get("allowPrivilegeEscalation") is not False]
    return f"{_who(bad)} must set securityContext.allowPrivilegeEscalation=false" if bad else ""


def _added(found: FoundSpec, allowed: frozenset[str]) -> str:
    bad, extra = [], set()
    for name, context in _contexts(found):
        added = set((context.get("capabilities") or {}).get("add") or ()) - allowed
        if added:
            bad.append(name)
            extra |= added
    if not bad:
        return ""
    return f"{_who(bad)} must not include {_quoted(sorted(extra))} in securityContext.capabilities.add"


def _capabilities_baseline(found: FoundSpec) -> str:
    return _added(found, DEFAULT_CAPABILITIES)


def _capabilities_restricted(found: FoundSpec) -> str:
    kept = [
        name
        for name, context in _contexts(found)
        if "ALL" not in ((context.get("capabilities") or {}).get("drop") or ())
    ]
    texts = [f'{_who(kept)} must set securityContext.capabilities.drop=["ALL"]'] if kept else []
    return "; ".join([*texts, *filter(None, [_added(found, frozenset({"NET_BIND_SERVICE"}))])])


def _host_paths(found: FoundSpec) -> str:
    bad = [each.get("name") for each in found.spec.get("volumes") or () if each.get("hostPath") is not None]
    return _who(bad, "volume") if bad else ""


def _host_ports(found: FoundSpec) -> str:
    bad, ports = [], []
    for _, container in containers(found):
        used = [str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")]
        if used:
            bad.append(container.get("name", ""))
            ports += used
    if not bad:
        return ""
    unique = list(dict.fromkeys(ports))
    verb = "use" if len(bad) > 1 else "uses"
    return f"{_who(bad)} {verb} hostPort{'s' if len(unique) > 1 else ''} {', '.join(unique)}"


def _isolation(found: FoundSpec) -> str:
    return f'pod must not set annotation {ISOLATION}="{TRUSTED}"' if isolation_of(found) == TRUSTED else ""


def _privileged(found: FoundSpec) -> str:
    bad = [name for name, context in _contexts(found) if context.get("privileged")]
    return f"{_who(bad)} must not set securityContext.privileged=true" if bad else ""


def _volume_types(found: FoundSpec) -> str:
    bad, kinds = [], set()
    for volume in found.spec.get("volumes") or ():
        others = {key for key, value in volume.items() if key != "name" and value is not None} - RESTRICTED_VOLUMES
        if others:
            bad.append(volume.get("name"))
            kinds |= others
    if not bad:
        return ""
    verb = "use" if len(bad) > 1 else "uses"
    return (
        f"{_who(bad, 'volume')} {verb} restricted volume type{'s' if len(kinds) > 1 else ''} {_quoted(sorted(kinds))}"
    )


def _setters(found: FoundSpec, is_bad: Callable[[Mapped], bool]) -> str:
    """`pod and container "a"`: who sets something that must not be; empty when nobody does."""
    bad = [name for name, context in _contexts(found) if is_bad(context)]
    parts = [*(["pod"] if is_bad(_pod(found)) else []), *([_who(bad)] if bad else [])]
    return " and ".join(parts)


def _non_root(found: FoundSpec) -> str:
    who = _setters(found, lambda context: context.get("runAsNonRoot") is False)
    pod_says = _pod(found).get("runAsNonRoot")
    explicit = [name for name, context in _contexts(found) if context.get("runAsNonRoot") is False]
    silent = [name for name, context in _contexts(found) if context.get("runAsNonRoot") is None]
    # What the pod says counts only where a container says nothing.
    if who and (explicit or (pod_says is False and silent)):
        return f"{who} must not set securityContext.runAsNonRoot=false"
    if silent and pod_says is None:
        return f"pod or {_who(silent)} must set securityContext.runAsNonRoot=true"
    return ""


def _user(found: FoundSpec) -> str:
    who = _setters(found, lambda context: context.get("runAsUser") == 0)
    return f"{who} must not set runAsUser=0" if who else ""


def _profile(context: Mapped) -> Any:
    return (context.get("seccompProfile") or {}).get("type")


def _unconfined(found: FoundSpec) -> str:
    who = _setters(found, lambda context: _profile(context) not in (None, *CONFINING))
    return f'{who} must not set securityContext.seccompProfile.type to "Unconfined"' if who else ""


def _confined(found: FoundSpec) -> str:
    if bad := _unconfined(found):
        return bad
    silent = [name for name, context in _contexts(found) if _profile(context) is None]
    if not silent or _profile(_pod(found)) in CONFINING:
        return ""
    return (
        f"pod or {_who(silent)} must set securityContext.seccompProfile.type to {' or '.join(map(_quote, CONFINING))}"
    )


def _quote(text: str) -> str:
    return f'"{text}"'


def _checks() -> Iterator[Check]:
    both, low, high = ("baseline", "restricted"), ("baseline",), ("restricted",)
    yield Check("allowPrivilegeEscalation != false", _escalation, high, 8)
    yield Check("non-default capabilities", _capabilities_baseline, low)
    yield Check("unrestricted capabilities", _capabilities_restricted, high, 22)
    yield Check("hostPath volumes", _host_paths, low)
    yield Check("hostPort", _host_ports, both)
    yield Check("isolation class", _isolation, both)
    yield Check("privileged", _privileged, both)
    yield Check("restricted volume types", _volume_types, high)
    yield Check("runAsNonRoot != true", _non_root, high)
    yield Check("runAsUser=0", _user, high, 23)
    yield Check("seccompProfile", _unconfined, low, 19)
    yield Check("seccompProfile", _confined, high, 19)


CHECKS: Final = tuple(_checks())
"""In Kubernetes' order, which is that of their names. Where the higher level says more, its rule is in the lower's place."""
