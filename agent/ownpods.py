"""Which pods are the node's: followed while we are the node, given up when we no longer are.

The API server's list decides. What it does not have runs here for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import Protocol

from stark.client.api import Client
from stark.client.backoff import Backoff
from stark.client.errors import ApiError, Gone
from stark.client.kinds import kind_of, unstructured
from stark.client.watching import BOOKMARK, DELETED
from stark.crds.annotations import AnnotationError, stop_when_disconnected_s
from stark.crds.meta import Undecodable, decode
from stark.crds.podfacts import is_finished
from stark.crds.pods import Pod
from stark.crds.podview import NODE_DISCONNECTED

from .machine import Condemned, PodGone, PodSeen, Stimulus
from .membership import Contact, Membership

log = logging.getLogger(__name__)

CONTACT_PERIOD_S = 1.0
"""How often it is looked at whether the control plane has been away for too long for some pod."""


class Household(Protocol):
    """What of the agent is needed: its machine, and the pods in it."""

    stepped: asyncio.Event
    """Set after each stimulus that the machine has heard."""

    @property
    def unheard(self) -> int: ...

    @property
    def pods(self) -> Mapping[str, Pod]: ...

    def post(self, stimulus: Stimulus) -> None: ...

    def runs(self, uid: str) -> bool: ...


class OwnPods:
    """See the module."""

    def __init__(
        self, client: Client, node: str, membership: Membership, contact: Contact, household: Household
    ) -> None:
        self._client, self._selector = client, f"spec.nodeName={node}"
        self._membership, self._contact, self._house = membership, contact, household
        self._known: set[str] = set()
        """Uids the machine has been told of and not told that they are gone."""

    def adopted(self, uid: str) -> None:
        """A pod was found on this machine's disk."""
        self._known.add(uid)

    # -- following ------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """See to the pods of the node for as long as we are the node, again and again."""
        while True:
            await self._membership.current.wait()
            async with asyncio.TaskGroup() as group:
                following = group.create_task(self._follow())
                await self._membership.over.wait()
                following.cancel()

    async def _follow(self) -> None:
        backoff = Backoff(max_s=5.0)
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list()
                version = await self._watch(version)
                backoff.reset()
            except Gone:
                version = ""
            except ApiError as error:
                log.warning("pods cannot be followed", extra={"error": error.message})
                await asyncio.sleep(backoff.next_s())

    async def _list(self) -> str:
        readable, unreadable, version = await self._present()
        for pod in readable.values():
            self._see(pod)
        for uid in self._known - readable.keys() - unreadable:
            self._lose(uid, None)
        return version

    async def _present(self) -> tuple[dict[str, Pod], set[str], str]:
        """The pods that the API server has for us, the uids of those that we cannot understand, and its version.

        Those may come of a server that is newer than we are. What runs of them runs on, and the others do not suffer.
        """
        page = await self._client.list_all(unstructured(kind_of(Pod).resource), field_selector=self._selector)
        readable: dict[str, Pod] = {}
        unreadable: set[str] = set()
        for item in page.items:
            try:
                pod = decode(item, Pod)
                readable[pod.uid] = pod
            except Undecodable as error:
                unreadable.add(item["metadata"]["uid"])
                log.error("a pod cannot be understood", extra={"error": str(error)})
        return readable, unreadable, page.resource_version

    async def _watch(self, version: str) -> str:
        events = self._client.watch(Pod, resource_version=version, field_selector=self._selector)
        async with aclosing(events) as stream:  # type: ignore[type-var]  # it is an async generator
            async for event in stream:
                version = event.resource_version
                if event.type == BOOKMARK:
                    continue
                try:
                    pod = event.object
                except Undecodable as error:
                    log.error("a pod cannot be understood", extra={"error": str(error)})
                    continue
                if event.type == DELETED:
                    self._lose(pod.uid, pod.metadata.deletion_grace_period_seconds)
                else:
                    self._see(pod)
        return version

    def _see(self, pod: Pod) -> None:
        self._known.add(pod.uid)
        self._house.post(PodSeen(pod))

    def _lose(self, uid: str, grace_s: float | None) -> None:
        self._known.discard(uid)
        self._house.post(PodGone(uid, grace_s))

    # -- giving up ------------------------------------------------------------------------------------------------

    async def surrender(self, *, everything: bool) -> None:
        """Stop the pods that the API server no longer has for us, or all, and return when their processes have ended.

        Raises ApiError when it cannot be asked.
        """
        here = self._known | self._house.pods.keys()
        kept = frozenset[str]() if everything else await self._sort_out(here)
        going = here - kept
        if everything:
            for uid in going:
                self._lose(uid, None)
        if going:
            log.warning("pods that are no longer ours are stopped", extra={"pods": sorted(going)})
        # The machine takes its stimuli in order: when none waits, it has heard of all of them.
        while self._house.unheard or any(self._house.runs(uid) for uid in going):
            self._house.stepped.clear()
            await self._house.stepped.wait()

    async def _sort_out(self, here: set[str]) -> frozenset[str]:
        """The pods that are to run on. The machine is told of the others: they are gone, or on their way out."""
        present, unreadable, _ = await self._present()
        for uid in here & present.keys():
            self._see(present[uid])
        for uid in here - present.keys() - unreadable:
            self._lose(uid, None)
        return frozenset(unreadable).union(
            uid for uid, pod in present.items() if pod.metadata.deletion_timestamp is None and not is_finished(pod)
        )

    # -- contact --------------------------------------------------------------------------------------------------

    def heard(self) -> None:
        """The API server took a heartbeat."""
        self._contact.heard(keep=any(_patience_s(pod) is not None for pod in self._house.pods.values()))

    async def watch_contact(self) -> None:
        """Stop the pods that are not to run on when nobody has heard of us for as long as they say."""
        while True:
            await asyncio.sleep(CONTACT_PERIOD_S)
            silent_s = self._contact.silent_s
            for uid, pod in self._house.pods.items():
                patience_s = _patience_s(pod)
                if patience_s is not None and silent_s >= patience_s and self._house.runs(uid):
                    text = f"The node has had no contact with the control plane for {patience_s} s"
                    self._house.post(Condemned(uid, NODE_DISCONNECTED, text))


def _patience_s(pod: Pod) -> int | None:
    try:
        return stop_when_disconnected_s(pod.metadata.annotations)
    except AnnotationError:
        return None  # refused at admission; of a pod from before that, it counts for nothing
