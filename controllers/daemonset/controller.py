"""Carry out what `planning` decides for each DaemonSet.

Reads DaemonSets, Nodes, Packs and Pods; creates and deletes Pods; keeps the templates as ControllerRevisions; writes
DaemonSet.status. Pods of nobody are not adopted: they were made for no node in particular.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from stark.client.errors import AlreadyExists, ApiError, Conflict, Fenced, NotFound
from stark.client.indexes import OwnerIndex
from stark.crds.apps import ControllerRevision, DaemonSet
from stark.crds.meta import KubeObject
from stark.crds.nodes import Node
from stark.crds.packs import Pack
from stark.crds.pods import Pod

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source, controller_key, together
from .history import plan_history
from .planning import plan

BY_OWNER = "controller-uid"
TERMINATING = "because it is being terminated"
"""How the server refuses new objects in a namespace that is being deleted."""


class DaemonSets(Controller):
    """See the module."""

    name = "daemonset"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._sets = context.informers.of(DaemonSet)
        self._nodes = context.informers.of(Node)
        self._packs = context.informers.of(Pack)
        self._pods = context.informers.of(Pod, indexers={BY_OWNER: OwnerIndex()})
        self._revisions = context.informers.of(ControllerRevision, indexers={BY_OWNER: OwnerIndex()})
        self._expectations = Expectations(self._pods)

    def sources(self) -> Sequence[Source[Any]]:
        """DaemonSets, their pods and revisions; and every DaemonSet when a node or a pack changes."""
        return (
            Source(self._sets),
            Source(self._pods, controller_key(DaemonSet)),
            Source(self._revisions, controller_key(DaemonSet)),
            Source(self._nodes, self._every),
            Source(self._packs, self._every),
        )

    def _every(self, _: KubeObject) -> Iterable[str]:
        return list(self._sets.keys())

    async def reconcile(self, key: str) -> Outcome:
        """Plan, act, report."""
        daemons = self._sets.get(key)
        if daemons is None:
            self._expectations.forget(key)
            return DONE
        if not self._expectations.met(key):
            return RequeueAfter(self._expectations.remaining_s(key))
        pods = self._pods.by_index(BY_OWNER, daemons.uid)
        await self._keep_history(daemons, pods)
        step = plan(daemons, pods, self._nodes.list(), self._packs.get, self._context.clock())
        acts = [partial(self._delete, daemons, pod) for pod in step.delete]
        acts += [partial(self._create, daemons, pod) for pod in step.create]
        failures = await together(acts)
        if step.status.model_dump() != daemons.status.model_dump():
            await self._api.update(daemons.model_copy(update={"status": step.status}), "status")
        for failure in failures:
            raise failure
        return DONE if step.recheck_after_s is None else RequeueAfter(step.recheck_after_s)

    async def _keep_history(self, daemons: DaemonSet, pods: Sequence[Pod]) -> None:
        """Write down the template before there are pods of it, so that none comes from a template nobody knows."""
        step = plan_history(daemons, self._revisions.by_index(BY_OWNER, daemons.uid), pods)
        try:
            if step.create is not None:
                await self._api.create(step.create)
            if step.renumber is not None:
                await self._api.update(step.renumber)
        except AlreadyExists:
            pass  # made by us a moment ago, and not seen yet
        except ApiError as error:
            if TERMINATING not in error.message:
                raise
        for revision in step.delete:
            with contextlib.suppress(NotFound, Conflict):
                meta = revision.metadata
                await self._api.delete(ControllerRevision, meta.name, meta.namespace, uid=revision.uid)

    async def _create(self, daemons: DaemonSet, pod: Pod) -> None:
        try:
            made = await self._api.create(pod)
        except Fenced:
            raise
        except ApiError as error:
            if TERMINATING in error.message:
                return  # the set goes with its namespace
            self._context.recorder.event(daemons, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._expectations.wrote(daemons.key, made)
        self._context.recorder.event(daemons, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}")

    async def _delete(self, daemons: DaemonSet, pod: Pod) -> None:
        try:
            await self._api.delete(Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.uid)
        except (NotFound, Conflict):
            return
        self._expectations.deleted(daemons.key, pod)
        self._context.recorder.event(daemons, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")


def build(context: Context) -> Controller:
    """For the catalog."""
    return DaemonSets(context)
