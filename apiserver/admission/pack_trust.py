"""Packs that nobody trusted has signed do not get into namespaces where PackTrustPolicies ask for signatures.

Judged for pods and for the templates of workloads, so that a person hears it at once and not from a controller's event.
An image that an update leaves as it was is not judged again: a policy that comes later stops no scaling of what is there,
but it stops new pods. The agent judges once more before it runs anything, because packs and policies change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.images import ImageError, PackRef, pack_object_name, parse_image
from stark.crds.signing import ENFORCE, distrusts, is_about

from .attributes import Attributes, Lookup
from .complaints import refused
from .podspecs import FoundSpec, containers, find_spec, written_spec

GROUP, POLICIES = "stark.dev", "packtrustpolicies"
AUDIT_KEY = "pack-trust.stark.dev/distrusted"


async def trusted_packs(attributes: Attributes, lookup: Lookup) -> None:
    """Refuse packs that a policy of the namespace does not trust, and warn of those it only warns of."""
    found = written_spec(attributes)
    if found is None or not attributes.namespace:
        return
    policies = await lookup.list(GROUP, POLICIES)
    if not policies:
        return
    wanted = _packs(found) - _packs(find_spec(attributes.resource, attributes.old))
    if not wanted:
        return
    namespace = await lookup.get("", "namespaces", "", attributes.namespace) or {}
    labels = (namespace.get("metadata") or {}).get("labels") or {}
    for ref in sorted(wanted, key=str):
        await _judge(attributes, lookup, policies, labels, ref)


def _packs(found: FoundSpec | None) -> set[PackRef]:
    packs = set()
    for _, container in containers(found) if found is not None else ():
        try:
            ref = parse_image(container.get("image") or "")
        except ImageError:
            continue  # complained about where images are pinned
        if ref is not None and ref.version is not None:
            packs.add(ref)
    return packs


async def _judge(
    attributes: Attributes,
    lookup: Lookup,
    policies: list[Mapping[str, Any]],
    labels: Mapping[str, str],
    ref: PackRef,
) -> None:
    about = [policy for policy in policies if is_about(policy["spec"], labels, ref.name)]
    if not about:
        return
    assert ref.version is not None, ref
    pack = await lookup.get(GROUP, "packs", "", pack_object_name(ref.name, ref.version))
    told = f'pack "{ref.name}" version {ref.version}'
    if pack is None:
        complaints = [
            (policy["metadata"]["name"], policy["spec"].get("action"), "it is not registered, so nobody has signed it")
            for policy in about
        ]
    else:
        complaints = [(one.policy, one.action, one.message) for one in distrusts(about, labels, pack["spec"])]
    for name, action, message in complaints:
        text = f'{told} is not trusted in namespace "{attributes.namespace}" by PackTrustPolicy "{name}": {message}'
        attributes.audit[AUDIT_KEY] = text
        if action == ENFORCE:
            raise refused(attributes, text)
        attributes.warnings.append(text)
