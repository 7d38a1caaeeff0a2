"""`serviceaccounts/<name>/token`: a TokenRequest is answered with a new token, for some audiences and some time.

Bound to a Pod, Secret or Node it ends with that object. A token is not stored anywhere: who asked for it has it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from ...admission.complaints import bad_value
from ...errors import ApiError, BadRequest, Cause, Conflict, NotFound, invalid
from ..nodes import Lookup
from .claims import Claims, Named
from .keys import TokenKeys

GROUP: Final = "authentication.k8s.io"
KIND: Final = "TokenRequest"
DEFAULT_EXPIRATION_S: Final = 3_600
EXPIRATION_MIN_S: Final = 600
EXPIRATION_MAX_S: Final = 1 << 32
POD_EXPIRATION_S: Final = 3_607
"""What is asked for a pod's own token. The odd number tells it from others: such a token is extended (see below)."""
EXTENDED_EXPIRATION_S: Final = 365 * 24 * 3_600
"""For which a pod's own token really holds: a client that never reads its file again goes on, and its use is noted."""
AUDIENCES_MAX: Final = 64
"""Of one token; it must fit a header."""
BOUND_PLURALS: Final = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}

Object = dict[str, Any]
Mapped = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Issuing:
    """How tokens are issued."""

    issuer: str
    audiences: tuple[str, ...]
    """The API server's own names: what a token is for that names no audience."""
    expiration_max_s: int = 0
    """Longest that is given; 0 for any."""
    extends: bool = True
    """Whether a pod's own token outlives what was asked for."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a token ends with."""

    pod: Named | None = None
    node: Named | None = None
    secret: Named | None = None


class TokenRequests:
    """Answers TokenRequests."""

    def __init__(
        self, keys: TokenKeys, issuing: Issuing, lookup: Lookup, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys, self._issuing, self._lookup, self._clock = keys, issuing, lookup, clock

    async def issue(self, namespace: str, name: str, body: Object, warnings: list[str]) -> Object:
        """The request with its token. Raises NotFound, Invalid, BadRequest, Conflict."""
        account = await self._get("serviceaccounts", namespace, name)
        request = completed(body, namespace, name, self._issuing, warnings)
        spec = request["spec"]
        bound = await self._bound(spec.get("boundObjectRef"), namespace, name)
        now = int(self._clock())
        claims = Claims(
            namespace,
            Named(name, account["metadata"]["uid"]),
            tuple(spec["audiences"]),
            str(uuid.uuid4()),
            now,
            now,
            now + spec["expirationSeconds"],
            pod=bound.pod,
            node=bound.node,
            secret=bound.secret,
        )
        if self._is_extended(spec, bound):
            claims = replace(claims, warn_after=claims.expires_at or 0, expires_at=now + EXTENDED_EXPIRATION_S)
        ends = datetime.fromtimestamp(now + spec["expirationSeconds"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        token = self._keys.sign(claims.to_wire(self._issuing.issuer))
        return {**request, "status": {"token": token, "expirationTimestamp": ends}}

    def _is_extended(self, spec: Mapped, bound: Bound) -> bool:
        return (
            self._issuing.extends
            and bound.pod is not None
            and spec["expirationSeconds"] == POD_EXPIRATION_S
            and set(spec["audiences"]) <= set(self._issuing.audiences)
        )

    async def _bound(self, reference: Mapped | None, namespace: str, account: str) -> Bound:
        if not reference:
            return Bound()
        group, _, version = str(reference.get("apiVersion") or "").rpartition("/")
        kind, name = str(reference.get("kind") or ""), str(reference.get("name") or "")
        plural = BOUND_PLURALS.get(kind) if group == "" else None
        if plural is None:
            raise BadRequest(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        found = await self._get(plural, "" if kind == "Node" else namespace, name)
        uid, wanted = found["metadata"]["uid"], reference.get("uid") or ""
        if kind == "Pod" and found["spec"].get("serviceAccountName") != account:
            message = (
                f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
            )
            raise BadRequest(message)
        if wanted and wanted != uid:
            raise other_object(kind, name, wanted)
        named = Named(name, uid)
        if kind == "Pod":
            return Bound(pod=named, node=await self._node_of(found))
        return Bound(secret=named) if kind == "Secret" else Bound(node=named)

    async def _node_of(self, pod: Mapped) -> Named | None:
        """The pod's node, by name alone when it has no Node object yet."""
        name = pod["spec"].get("nodeName")
        if not name:
            return None
        node = await self._lookup.get("", "nodes", "", name)
        return Named(name, node["metadata"]["uid"] if node is not None else "")

    async def _get(self, plural: str, namespace: str, name: str) -> Mapped:
        found = await self._lookup.get("", plural, namespace, name) if name else None
        if found is None:
            raise NotFound(f'{plural} "{name}" not found', kind=plural, name=name)
        return found


def other_object(kind: str, name: str, wanted: str) -> ApiError:
    """The object of that name is not the one that was meant."""
    message = (
        f'Operation cannot be fulfilled on {kind} "{name}": the UID in the bound object reference ({wanted}) does not '
        "match the UID in record. The object might have been deleted and then recreated"
    )
    return Conflict(message, kind=kind, name=name)


def completed(body: Mapped, namespace: str, name: str, issuing: Issuing, warnings: list[str]) -> Object:
    """The request with everything that may be left out. Raises Invalid with all that is wrong."""
    metadata, spec = dict(body.get("metadata") or {}), body.get("spec")
    spec = {} if spec is None else spec
    causes = [*_place(metadata, namespace, name), *spec_complaints(spec)]
    if causes:
        raise invalid(KIND, name, causes, group=GROUP)
    seconds = DEFAULT_EXPIRATION_S if spec.get("expirationSeconds") is None else spec["expirationSeconds"]
    longest = issuing.expiration_max_s
    if 0 < longest < seconds:
        warnings.append(f"requested expiration of {seconds} seconds shortened to {longest} seconds")
        seconds = longest
    audiences = list(spec.get("audiences") or issuing.audiences)
    complete = {"audiences": audiences, "expirationSeconds": seconds}
    reference = {key: value for key, value in (spec.get("boundObjectRef") or {}).items() if value}
    complete["boundObjectRef"] = reference or None
    placed = {**metadata, "name": name, "namespace": namespace}
    return {"kind": KIND, "apiVersion": f"{GROUP}/v1", "metadata": placed, "spec": complete}


def _place(metadata: Mapped, namespace: str, name: str) -> Iterator[Cause]:
    for field, expected in (("name", name), ("namespace", namespace)):
        given = metadata.get(field)
        if given and given != expected:
            yield bad_value(f"metadata.{field}", given, f"must match the service account {field} if specified")


def spec_complaints(spec: Any) -> Iterator[Cause]:
    """What is wrong with a TokenRequest's spec."""
    if not isinstance(spec, dict):
        yield bad_value("spec", spec, "must be an object")
        return
    seconds = spec.get("expirationSeconds")
    if seconds is not None:
        yield from _duration(seconds)
    audiences = spec.get("audiences") or []
    if not isinstance(audiences, list) or not all(isinstance(item, str) and item for item in audiences):
        yield bad_value("spec.audiences", audiences, "must be a list of names")
    elif len(audiences) > AUDIENCES_MAX:
        yield bad_value("spec.audiences", len(audiences), f"must be no more than {AUDIENCES_MAX}")
    reference = spec.get("boundObjectRef")
    if reference is not None and not isinstance(reference, dict):
        yield bad_value("spec.boundObjectRef", reference, "must be an object")


def _duration(seconds: Any) -> Iterator[Cause]:
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        yield bad_value("spec.expirationSeconds", seconds, "must be a whole number")
    elif seconds < EXPIRATION_MIN_S:
        yield bad_value("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    elif seconds > EXPIRATION_MAX_S:
        yield bad_value("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
