"""`/api/namespaces`: namespaces with their quotas, as the originals show them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import ApiError, Cause
from ..request import Answer, Request
from .envelope import success
from .facade import Route, bad_fields, read_fields
from .inner import Inner, Object
from .listing import annotations_of, creator_of, found_by_id, labels_of, matching, newest_first, paging_of
from .shapes import amounts_shown, texts_of

NAMESPACES: Final = "/api/v1/namespaces"
QUOTA_NAME: Final = "namespace-quota"
"""The ResourceQuota that belongs to this API; others of the namespace are left alone, and hold as well."""
FILTERS: Final = ("phase", "search", "labelSelector")
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
NEW: Final[Mapping[str, type]] = {"name": str, "labels": dict, "annotations": dict, "resourceQuota": dict}
HARD: Final[Mapping[str, str]] = {
    "pods": "pods",
    "cpu": "requests.cpu",
    "memory": "requests.memory",
    "storage": "requests.ephemeral-storage",
}
"""The originals' names of what a quota limits, and Kubernetes'."""
UNITS: Final[Mapping[str, str]] = {"pods": "", "cpu": "m", "memory": "Mi", "storage": "Mi"}


class NamespaceDesk:
    """The handlers."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", "/api/namespaces", self.list),
            Route("POST", "/api/namespaces", self.create),
            Route("GET", "/api/namespaces/*", self.get),
            Route("PUT", "/api/namespaces/*", self.change),
            Route("DELETE", "/api/namespaces/*", self.delete),
            Route("GET", "/api/namespaces/*/quota", self.quota),
        )

    async def list(self, request: Request, found: Sequence[str]) -> Answer:
        """The namespaces that who asks may see, the newest first."""
        query = request.query
        paging = paging_of(query, FILTERS)
        phase, fits = query.first("phase"), matching(query.first("search"), lambda item: str(item["metadata"]["name"]))
        selector = {"labelSelector": query.first("labelSelector")}
        spaces = newest_first(
            [
                item
                async for item in self._inner.every(request, NAMESPACES, selector)
                if phase in ("", _phase(item)) and fits(item)
            ]
        )
        shown = [await self._shown(request, item) for item in paging.of(spaces)]
        return success(paging.told("namespaces", spaces, shown))

    async def get(self, request: Request, found: Sequence[str]) -> Answer:
        """One namespace, by its uid or its name."""
        return success({"namespace": await self._shown(request, await self._find(request, found[0]))})

    async def quota(self, request: Request, found: Sequence[str]) -> Answer:
        """What may be used in it, and what is."""
        space = await self._shown(request, await self._find(request, found[0]))
        hard = (space["resourceQuota"] or {}).get("hard") or {}
        return success({"namespace": space["name"], "quota": {"hard": hard, "used": space["resourceUsage"]}})

    async def create(self, request: Request, found: Sequence[str]) -> Answer:
        """A namespace, with a quota if one is given."""
        fields = await read_fields(request, NEW, ("name",))
        name = fields["name"]
        if not NAME.fullmatch(name):
            raise bad_fields(
                [Cause("name", "must be at most 63 small letters, digits and '-', beginning with a letter")]
            )
        hard = _hard(fields)
        meta = {"name": name, "labels": texts_of(fields, "labels"), "annotations": texts_of(fields, "annotations")}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
        space = await self._inner.send(request, "POST", NAMESPACES, body)
        if hard:
            try:
                await self._put_quota(request, name, hard)
            except ApiError:
                await self._inner.send(request, "DELETE", f"{NAMESPACES}/{name}")
                raise
        return success({"namespace": await self._shown(request, space)}, 201)

    async def change(self, request: Request, found: Sequence[str]) -> Answer:
        """Labels, annotations, and the quota: of each that is given all of it, and nothing of the others."""
        fields = await read_fields(request, {name: kind for name, kind in NEW.items() if name != "name"})
        hard = _hard(fields)
        space = await self._find(request, found[0])
        name, old = space["metadata"]["name"], space["metadata"]
        patch: Object = {"resourceVersion": old["resourceVersion"]}
        for part in ("labels", "annotations"):
            if part in fields:
                gone = {key: None for key in old.get(part) or {} if not _is_ours(key)}
                patch[part] = {**gone, **texts_of(fields, part)}
        if len(patch) > 1:
            space = await self._inner.merge(request, f"{NAMESPACES}/{name}", {"metadata": patch})
        if "resourceQuota" in fields:
            await self._put_quota(request, name, hard)
        return success({"namespace": await self._shown(request, space)})

    async def delete(self, request: Request, found: Sequence[str]) -> Answer:
        """Empty the namespace, then take it away."""
        space = await self._find(request, found[0])
        await self._inner.send(request, "DELETE", f"{NAMESPACES}/{space['metadata']['name']}")
        return success({"deleted": True, "namespaceId": space["metadata"]["uid"], "phase": "terminating"})

    async def _find(self, request: Request, word: str) -> Object:
        return await found_by_id(self._inner, request, NAMESPACES, word, "namespace", by_name=True)

    async def _put_quota(self, request: Request, name: str, hard: Mapping[str, str]) -> None:
        path = f"{NAMESPACES}/{name}/resourcequotas"
        known = await self._inner.find(request, f"{path}/{QUOTA_NAME}")
        if known is not None:
            gone = dict.fromkeys(known["spec"].get("hard") or {})
            await self._inner.merge(request, f"{path}/{QUOTA_NAME}", {"spec": {"hard": {**gone, **hard}}})
            return
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": QUOTA_NAME}, "spec": {"hard": hard}}
        await self._inner.send(request, "POST", path, body)

    async def _shown(self, request: Request, space: Object) -> dict[str, Any]:
        """A namespace as the originals show it."""
        meta = space["metadata"]
        quota = await self._inner.find(request, f"{NAMESPACES}/{meta['name']}/resourcequotas/{QUOTA_NAME}")
        hard = (quota or {}).get("spec", {}).get("hard") or {}
        used = ((quota or {}).get("status") or {}).get("used") or {}
        return {
            "id": meta["uid"],
            "name": meta["name"],
            "phase": _phase(space),
            "labels": labels_of(space),
            "annotations": annotations_of(space),
            "resourceQuota": {"hard": _amounts(hard)} if hard else None,
            "resourceUsage": _amounts(used),
            "createdBy": creator_of(space),
            "createdAt": meta["creationTimestamp"],
        }


def _phase(space: Object) -> str:
    return str((space.get("status") or {}).get("phase") or "Active").lower()


def _is_ours(key: str) -> bool:
    """A label or annotation that the server writes itself: nobody means to take it off."""
    return key.partition("/")[0] in ("kubernetes.io", "stark.dev")


def _amounts(quantities: Mapping[str, str]) -> dict[str, int]:
    kept = {"storage": "ephemeral-storage"}
    plain = {kept.get(name, name): quantities[full] for name, full in HARD.items() if full in quantities}
    return amounts_shown(plain)


def _hard(fields: Mapping[str, Any]) -> dict[str, str]:
    """What the quota of a request limits, in Kubernetes' words. Raises BadRequest."""
    quota = fields.get("resourceQuota") or {}
    causes = [Cause(f"resourceQuota.{name}", "is not known; there is hard") for name in quota if name != "hard"]
    hard = quota.get("hard") or {}
    if not isinstance(hard, dict):
        raise bad_fields([Cause("resourceQuota.hard", "must be an object")])
    causes += [
        Cause(f"resourceQuota.hard.{name}", f"must be a whole number, and one of {', '.join(HARD)}")
        for name, value in hard.items()
        if name not in HARD or type(value) is not int or value < 0
    ]
    if causes:
        raise bad_fields(causes)
    return {HARD[name]: f"{value}{UNITS[name]}" for name, value in hard.items()}
