"""What is wrong with how a pod wants to be isolated, and with its securityContext: Kubernetes' rules, and what packs cannot
be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.annotations import ISOLATION
from stark.crds.images import is_pack
from stark.crds.isolation import CLASSES, STRICT, TRUSTED, isolation_wanted

from ..errors import Cause
from .complaints import bad_value, not_allowed, not_supported, required
from .podspecs import FoundSpec, containers

ID_MAX = 2**31 - 1
IDS = ("runAsUser", "runAsGroup")
NETWORK_HANDLERS = ("httpGet", "tcpSocket", "grpc")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
SYS_ADMIN = "CAP_SYS_ADMIN"
"""As Kubernetes spells it in this one rule."""

Mapped = Mapping[str, Any]


def isolation_of(found: FoundSpec) -> str | None:
    """The class that the pod or template asks for."""
    return isolation_wanted(found.metadata.get("annotations") or {})


def security_causes(found: FoundSpec) -> Iterator[Cause]:
    """Every complaint about isolation and securityContext, in a pod or in a template."""
    wanted = isolation_of(found)
    if wanted is not None and wanted not in CLASSES:
        yield not_supported(f"{found.path.removesuffix('spec')}metadata.annotations[{ISOLATION}]", wanted, CLASSES)
    pods = found.spec.get("securityContext") or {}
    yield from _shared_causes(f"{found.path}.securityContext", pods)
    yield from _group_causes(f"{found.path}.securityContext", pods)
    all_packs = True
    for path, container in containers(found):
        context = container.get("securityContext") or {}
        where = f"{path}.securityContext"
        yield from _shared_causes(where, context)
        yield from _escalation_causes(where, context)
        if is_pack(container.get("image") or ""):
            yield from _pack_causes(where, context, wanted)
        else:
            all_packs = False
        if wanted == STRICT:
            yield from _network_causes(path, container)
    if all_packs:
        if pods.get("supplementalGroups") and wanted != TRUSTED:
            yield not_allowed(f"{found.path}.securityContext.supplementalGroups", _needed())
        yield from _profile_causes(f"{found.path}.securityContext", pods, wanted)


def _needed() -> str:
    return f"a pack gets it in isolation class {TRUSTED} only (annotation {ISOLATION})"


def _group_causes(path: str, context: Mapped) -> Iterator[Cause]:
    given = [("fsGroup", context.get("fsGroup"))]
    given += [
        (f"supplementalGroups[{number}]", one) for number, one in enumerate(context.get("supplementalGroups") or ())
    ]
    for field, number in given:
        if number is not None and not 0 <= number <= ID_MAX:
            yield bad_value(f"{path}.{field}", number, f"must be between 0 and {ID_MAX}, inclusive")


def _shared_causes(path: str, context: Mapped) -> Iterator[Cause]:
    for field in IDS:
        number = context.get(field)
        if number is not None and not 0 <= number <= ID_MAX:
            yield bad_value(f"{path}.{field}", number, f"must be between 0 and {ID_MAX}, inclusive")
    profile = context.get("seccompProfile")
    if profile is None:
        return
    name, is_local = profile.get("localhostProfile"), profile.get("type") == "Localhost"
    where = f"{path}.seccompProfile.localhostProfile"
    if is_local and not name:
        yield required(where, "must be set when seccomp type is Localhost")
    if not is_local and name is not None:
        yield bad_value(where, name, "can only be set when seccomp type is Localhost")
    if is_local and name and (name.startswith("/") or ".." in name.split("/")):
        yield bad_value(where, name, "must be a relative path, and must not contain '..'")


def _escalation_causes(path: str, context: Mapped) -> Iterator[Cause]:
    if context.get("allowPrivilegeEscalation") is not False:
        return
    where = f"{path}.allowPrivilegeEscalation"
    if context.get("privileged"):
        yield bad_value(path, dict(context), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
    if SYS_ADMIN in ((context.get("capabilities") or {}).get("add") or ()):
        yield bad_value(
            where, False, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        )


def _pack_causes(path: str, context: Mapped, wanted: str | None) -> Iterator[Cause]:
    needed = _needed()
    if context.get("privileged") and wanted != TRUSTED:
        yield not_allowed(f"{path}.privileged", needed)
    if (context.get("capabilities") or {}).get("add") and wanted != TRUSTED:
        yield not_allowed(f"{path}.capabilities.add", needed)
    yield from _profile_causes(path, context, wanted)


def _profile_causes(path: str, context: Mapped, wanted: str | None) -> Iterator[Cause]:
    kind = (context.get("seccompProfile") or {}).get("type")
    if kind == "Localhost":
        yield not_supported(f"{path}.seccompProfile.type", kind, ("RuntimeDefault", "Unconfined"))
    if kind == "Unconfined" and wanted == STRICT:
        yield not_allowed(f"{path}.seccompProfile.type", f"isolation class {STRICT} always has a profile")


def _network_causes(path: str, container: Mapped) -> Iterator[Cause]:
    """A strict pod has no network: what would need one could never work."""
    message = f"isolation class {STRICT} has no network but loopback"
    if container.get("ports"):
        yield not_allowed(f"{path}.ports", message)
    for probe in PROBES:
        for handler in NETWORK_HANDLERS:
            if (container.get(probe) or {}).get(handler) is not None:
                yield not_allowed(f"{path}.{probe}.{handler}", message)
