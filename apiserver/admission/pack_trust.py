"""Packs that nobody trusted has signed do not get into namespaces where PackTrustPolicies ask for signatures.

Judged for pods and for the templates of workloads, so that a person hears it at once and not from a controller's event.
An image that an update leaves as it was is not judged again: a policy that comes later stops no scaling of what is there,
but it stops new pods. The agent judges once more before it runs anything, because packs and policies change.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

from stark.crds.images import ImageError, PackRef, pack_object_name, parse_image
from stark.crds.signing import ENFORCE, Distrust, distrusts, is_about

from .attributes import Attributes, Lookup
from .complaints import refused
from .podspecs import FoundSpec, containers, find_spec, written_spec
from .webhooks.configurations import Followed

GROUP = "stark.dev"
AUDIT_KEY = "pack-trust.stark.dev/distrusted"


class TrustPolicies(Followed, Protocol):
    """All PackTrustPolicies, as the caches have them."""

    async def current(self) -> None:
        """Wait until the caches have what was written before, or for a while."""
        ...


class PackTrust:
    """The plugin. While there is no policy a write costs the question whether there is one."""

    def __init__(self, source: TrustPolicies) -> None:
        self._source = source
        self.none = source.is_empty
        """Whether there is surely no policy."""
        self._mark: Hashable = None
        self._policies: Sequence[Mapping[str, Any]] = ()

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Refuse packs that a policy of the namespace does not trust, and warn of those it only warns of."""
        if self._source.is_empty():
            return
        found = written_spec(attributes)
        if found is None or not attributes.namespace:
            return
        wanted = sorted(_packs(found) - _packs(find_spec(attributes.resource, attributes.old)), key=str)
        complaints = await self._complaints(attributes, lookup, wanted)
        if any(one.action == ENFORCE for one in complaints):
            # A pack may have been signed a moment ago: a no must not come from what the cache has not heard yet.
            await self._source.current()
            complaints = await self._complaints(attributes, lookup, wanted)
        for one in complaints:
            attributes.audit[AUDIT_KEY] = one.message
            if one.action == ENFORCE:
                raise refused(attributes, one.message)
            attributes.warnings.append(one.message)

    async def _complaints(self, attributes: Attributes, lookup: Lookup, wanted: Sequence[PackRef]) -> list[Distrust]:
        if not wanted:
            return []
        policies = await self._current()
        namespace = await lookup.get("", "namespaces", "", attributes.namespace) or {}
        labels = (namespace.get("metadata") or {}).get("labels") or {}
        found = []
        for ref in wanted:
            about = [policy for policy in policies if is_about(policy["spec"], labels, ref.name)]
            for one in await _judged(lookup, about, labels, ref) if about else ():
                where = f'in namespace "{attributes.namespace}" by PackTrustPolicy "{one.policy}"'
                text = f'pack "{ref.name}" version {ref.version} is not trusted {where}: {one.message}'
                found.append(Distrust(one.policy, one.action, text))
        return found

    async def _current(self) -> Sequence[Mapping[str, Any]]:
        """The policies, decoded once until one changes. Raises ServiceUnavailable while nothing can be said."""
        mark = self._source.mark()
        if mark is None or mark != self._mark:
            self._policies = await self._source.objects()
            self._mark = mark
        return self._policies


async def _judged(
    lookup: Lookup, about: Sequence[Mapping[str, Any]], labels: Mapping[str, str], ref: PackRef
) -> Sequence[Distrust]:
    assert ref.version is not None, ref
    pack = await lookup.get(GROUP, "packs", "", pack_object_name(ref.name, ref.version))
    if pack is not None:
        return distrusts(about, labels, pack["spec"])
    nobody = "it is not registered, so nobody has signed it"
    return [Distrust(policy["metadata"]["name"], policy["spec"].get("action") or ENFORCE, nobody) for policy in about]


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
