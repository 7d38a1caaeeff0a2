"""Sign what was approved: the authority's key never leaves this process, so its signers are a part of the API server.

Looks at every request again whenever one changed. A request that the signer's rules forbid is marked Failed, approved or
not. Signers of other domains are other people's programs. A write that loses a race is simply done again.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import floor
from typing import Any, Final

import structlog

from stark.crds.bootstrap_tokens import USER_PREFIX
from stark.crds.certificates import APPROVED, DENIED, FAILED, GROUP, CertificateSigningRequest
from stark.crds.pkcs10 import CLIENT_AUTH, SERVER_AUTH, SIGNERS, Wanted, read_request, signer_complaints
from stark.crds.tenancy import ADMIN, NOBODY, Owner

from .auth.identities import NODE_PREFIX, OWNER_EXTRA, OWNER_ROLE_EXTRA, is_admin
from .auth.pki import Authority
from .auth.revocation import Revocations, Revoked
from .cache.bell import BELL
from .cache.feed import Feed
from .cache.filter import EVERYTHING
from .cache.resource_cache import Prefix
from .cache.watchers import Watcher
from .errors import ApiError
from .registry import metadata
from .registry.options import Target, Writing
from .registry.writes import Writes
from .request import User
from .resources import Resources

log = structlog.get_logger(__name__)

PLURAL: Final = CertificateSigningRequest.RESOURCE.plural
PREFIX: Final = Prefix(GROUP, PLURAL)
RETRY_S: Final = 1.0
"""After a write that failed."""
AT_ONCE: Final = 16
"""Requests that are settled at the same time: the store commits them together."""
SERVERS_APART_S: Final = 5
"""By how much the clocks of API servers of one store may differ: another one may have dated a revocation."""
LIFETIME_MIN: Final = timedelta(minutes=10)
SERVER: Final = User("system:apiserver", ("system:masters",))

Object = dict[str, Any]


def is_due(request: Mapping[str, Any]) -> bool:
    """Whether our signer has something to do: approved, by a name of ours, and not settled yet."""
    status = request.get("status") or {}
    types = {condition["type"] for condition in status.get("conditions") or ()}
    is_ours = request["spec"]["signerName"] in SIGNERS
    return is_ours and APPROVED in types and not types & {DENIED, FAILED} and not status.get("certificate")


def lifetime_of(request: Mapping[str, Any], longest: timedelta) -> timedelta:
    """What is wished for, within what may be given."""
    wished_s = request["spec"].get("expirationSeconds")
    wished = longest if wished_s is None else timedelta(seconds=wished_s)
    return max(LIFETIME_MIN, min(wished, longest))


def owner_of(request: Mapping[str, Any], wanted: Wanted) -> Owner:
    """Who answers for the node that asks: whom the credential of the request's creator names, or the creator."""
    if not wanted.node_name:
        return NOBODY
    spec = request["spec"]
    extra = spec.get("extra") or {}
    named, rank = extra.get(OWNER_EXTRA) or (), extra.get(OWNER_ROLE_EXTRA) or ("",)
    if named:
        return Owner(str(named[0]), str(rank[0]))
    creator = User(str(spec.get("username") or ""), tuple(spec.get("groups") or ()))
    if creator.name.startswith((NODE_PREFIX, USER_PREFIX)):
        return NOBODY
    return Owner(creator.name, ADMIN if is_admin(creator) else "")


def own_host_complaints(wanted: Wanted, usages: Sequence[str], own_hosts: frozenset[str]) -> Iterator[str]:
    """Whoever serves by a name of the API server is taken for it by everybody who trusts the authority."""
    if SERVER_AUTH not in usages:
        return
    taken = sorted(own_hosts.intersection(host.lower() for host in (*wanted.names.dns, *wanted.names.addresses)))
    if taken:
        yield f"{', '.join(taken)}: clients know the API server by this name, so no node serves by it"


def revoked_complaints(request: Mapping[str, Any], revoked: Revoked) -> Iterator[str]:
    """Whose certificates were taken back gets no other by what they asked for while they still had them.

    Revocations are to the second. Within that second a successor may already ask what to serve by, but not for renewal.
    """
    spec = request["spec"]
    until = revoked.users.get(spec.get("username") or "")
    if until is None:
        return
    made = floor(datetime.fromisoformat(request["metadata"]["creationTimestamp"]).timestamp())
    if made < until or (made == until and CLIENT_AUTH in (spec.get("usages") or ())):
        yield f"the certificates of {spec['username']} were revoked since this was asked for"


def issued_at(now: datetime, name: str, revoked: Revoked) -> datetime:
    """The moment that a certificate says: not the second in which those before it were revoked, by whosever clock.

    Who is shut out until later stays so, whatever is issued.
    """
    until = revoked.users.get(name)
    if until is None or not 0 <= until - floor(now.timestamp()) <= SERVERS_APART_S:
        return now
    return datetime.fromtimestamp(until + 1, UTC)


class Signing:
    """One task beside the requests."""

    def __init__(
        self,
        authority: Authority,
        resources: Resources,
        feed: Feed,
        writes: Writes,
        revocations: Revocations,
        longest: timedelta,
        own_hosts: Iterable[str] = (),
        clock: Callable[[], datetime] = metadata.now,
    ) -> None:
        self._authority, self._feed, self._writes = authority, feed, writes
        self._revocations, self._longest, self._clock = revocations, longest, clock
        self._settled: dict[str, int] = {}
        """The revisions at which requests had nothing to be done about them, by key."""
        self._own_hosts = frozenset(host.lower() for host in own_hosts)
        resource = resources.find(GROUP, "v1", PLURAL)
        assert resource is not None, PREFIX
        self._resource = resource

    async def run(self) -> None:
        """Until cancelled."""
        cache = self._feed.cache(PREFIX)
        assert cache is not None, PREFIX
        await cache.ready.wait()
        while True:
            watcher = Watcher(BELL)
            try:
                cache.watch_from_now(watcher, EVERYTHING, initial_events=False)
                await self._follow(watcher)
            finally:
                watcher.end()

    async def _follow(self, changed: Watcher) -> None:
        """Look, and again after every change, until the watch is cut off."""
        while True:
            is_settled = await self._look()
            try:
                async with asyncio.timeout(None if is_settled else RETRY_S):
                    await anext(changed)
            except TimeoutError:
                return  # what was cancelled in the middle of a wait is not waited on again
            except StopAsyncIteration:
                return

    async def _look(self) -> bool:
        """Settle everything that is due. True when nothing failed."""
        cache = self._feed.cache(PREFIX)
        assert cache is not None, PREFIX
        due: list[Mapping[str, Any]] = []
        settled: dict[str, int] = {}
        for entry in cache.select(EVERYTHING):
            # Thousands may be kept for a while: each is read once for each change of its own.
            request = entry.decode() if self._settled.get(entry.key) != entry.revision else None
            if request is not None and is_due(request):
                due.append(request)
            else:
                settled[entry.key] = entry.revision
        self._settled = settled
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(request: Mapping[str, Any]) -> bool:
            async with turns:
                return await self._settle(request)

        return all(await asyncio.gather(*(in_turn(request) for request in due)))

    async def _settle(self, request: Mapping[str, Any]) -> bool:
        name = request["metadata"]["name"]

        def change(current: Object) -> Object:
            # The cache may be behind: whether there is something to do is asked of what is stored.
            return {**current, "status": self._outcome(current, revoked)} if is_due(current) else current

        try:
            revoked = await self._revocations.current()
            await self._writes.patch(Target(self._resource, "", name, "status"), change, _writing())
        except ApiError as error:
            log.warning("a certificate was not issued yet", request=name, reason=error.message)
            return error.code == 404
        return True

    def _outcome(self, request: Mapping[str, Any], revoked: Revoked) -> Object:
        """The status with the certificate, or with the reason why there will be none."""
        spec, status = request["spec"], dict(request["status"])
        usages: Sequence[str] = spec.get("usages") or ()
        try:
            wanted = read_request(spec["request"])
            complaints = [
                *signer_complaints(spec["signerName"], wanted, usages),
                *own_host_complaints(wanted, usages, self._own_hosts),
                *revoked_complaints(request, revoked),
            ]
            pem = b"" if complaints else self._certify(request, wanted, usages, revoked)
        except ValueError as error:
            # What is wanted can be read and yet be nothing a certificate can say (RFC 5280, appendix A.1).
            complaints = [str(error)]
        if complaints:
            status["conditions"] = [*status["conditions"], _failed("; ".join(complaints))]
            return status
        log.info("certificate issued", request=request["metadata"]["name"], user=wanted.common_name)
        return {**status, "certificate": b64encode(pem).decode()}

    def _certify(self, request: Mapping[str, Any], wanted: Wanted, usages: Sequence[str], revoked: Revoked) -> bytes:
        return self._authority.certify(
            wanted,
            usages,
            owner=owner_of(request, wanted),
            now=issued_at(self._clock(), wanted.common_name, revoked),
            lifetime=lifetime_of(request, self._longest),
        )


def _failed(why: str) -> Object:
    return {"type": FAILED, "status": "True", "reason": "SignerValidationFailure", "message": why}


def _writing() -> Writing:
    return Writing(SERVER, validation="Ignore", consults=False)
