"""Approve or deny agents' certificate requests, one node at a time.

Keys are names of nodes, so that two machines that ask for one name are judged one after the other, and the cache has what
was said about the first before the second is looked at. Whether the Node is there is asked of the API server, and so is
whether a creator has the right at all (SubjectAccessReview), as Kubernetes' approver does. Writes the approval, and the
revocation of what was issued for a name before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from stark.client.errors import AlreadyExists, NotFound
from stark.client.kinds import unstructured
from stark.crds.certificates import (
    GROUP,
    NODE_USER_PREFIX,
    CertificateRevocation,
    CertificateRevocationSpec,
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
)
from stark.crds.conditions import set_condition
from stark.crds.meta import ObjectMeta, ResourceDef
from stark.crds.nodes import Node

from ..kit import DONE, Clock, Context, Controller, Outcome, Source
from .planning import Asked, Verdict, is_settled, judge, read

log = logging.getLogger(__name__)

REVIEWS = unstructured(
    ResourceDef(
        group="authorization.k8s.io",
        version="v1",
        kind="SubjectAccessReview",
        plural="subjectaccessreviews",
        namespaced=False,
    )
)


BY_NODE = "node"
"""Index of the requests by the node they are about."""


class CertificateApprover(Controller):
    """See the module."""

    name = "certificate-approver"
    workers = 16
    """Nodes that are judged at once: almost all of the time goes into waiting for what is written."""

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._clock: Clock = context.clock
        self._requests = context.informers.of(CertificateSigningRequest, indexers={BY_NODE: _node_of})

    def sources(self) -> Sequence[Source[Any]]:
        """Requests, by the nodes they are about."""
        return (Source(self._requests, _node_of),)

    async def reconcile(self, key: str) -> Outcome:
        """Say something about every request for this node that waits, the oldest first."""
        pending = [request for request in self._requests.by_index(BY_NODE, key) if not is_settled(request)]
        for request in sorted(pending, key=lambda each: (str(each.metadata.creation_timestamp), each.metadata.name)):
            await self._settle(request)
        return DONE

    async def _settle(self, request: CertificateSigningRequest) -> None:
        asked = read(request)
        if asked is None or not await self._has_right(asked):
            return
        verdict = await self._judge(asked)
        if verdict is None:
            return
        if verdict.revokes:
            await self._revoke_former(asked)
        await self._write(asked, verdict)

    async def _judge(self, asked: Asked) -> Verdict | None:
        try:
            node = await self._api.get(Node, asked.node)
        except NotFound:
            node = None
        # Addresses are few and far between, so only who asks for one pays for the look at all nodes.
        nodes = (await self._api.list_all(Node)).items if asked.addresses else []
        return judge(asked, node, self._requests.by_index(BY_NODE, asked.node), nodes, self._clock())

    async def _has_right(self, asked: Asked) -> bool:
        spec = asked.request.spec
        body = {
            "metadata": {},
            "spec": {
                "user": spec.username,
                "uid": spec.uid or "",
                "groups": spec.groups,
                "extra": spec.extra,
                "resourceAttributes": {
                    "group": GROUP,
                    "version": "v1",
                    "resource": CertificateSigningRequest.RESOURCE.plural,
                    "subresource": asked.right,
                    "verb": "create",
                },
            },
        }
        answer = await self._api.create(body, kind=REVIEWS)
        return bool((answer.get("status") or {}).get("allowed"))

    async def _revoke_former(self, asked: Asked) -> None:
        """What was issued until now is good no longer: its successor is another machine.

        The moment is the server's, which dates what is issued for this request after it.
        """
        spec = CertificateRevocationSpec(username=NODE_USER_PREFIX + asked.node, reason="Superseded")
        meta = ObjectMeta(name=f"joined-{asked.request.uid}")
        try:
            await self._api.create(CertificateRevocation(metadata=meta, spec=spec))
        except AlreadyExists:
            pass  # made before the approval could be written

    async def _write(self, asked: Asked, verdict: Verdict) -> None:
        request, now = asked.request, self._clock()
        condition = CertificateSigningRequestCondition(
            type=verdict.type, status="True", reason=verdict.reason, message=verdict.message, last_update_time=now
        )
        conditions = set_condition(request.status.conditions, condition, now)
        status = request.status.model_copy(update={"conditions": conditions})
        written = await self._api.update(request.model_copy(update={"status": status}), "approval")
        await self._requests.caught_up(written.metadata.resource_version or 0)
        log.info(
            "certificate request settled",
            extra={"request": request.metadata.name, "node": asked.node, "outcome": verdict.type, "reason": verdict.reason},
        )  # fmt: skip


def _node_of(request: CertificateSigningRequest) -> Iterable[str]:
    asked = read(request)
    return (asked.node,) if asked is not None else ()


def build(context: Context) -> Controller:
    """For the catalog."""
    return CertificateApprover(context)
