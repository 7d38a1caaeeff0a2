"""The way of every request: who asks, may they, is there room, what is it about, and every failure as a Status.

Nothing here knows HTTP's bytes: a `Request` comes in, an answer goes out, and the adapter does the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

import orjson
import structlog

from stark.crds.version import GIT_VERSION, KUBERNETES_MAJOR, KUBERNETES_MINOR

from .audit.recording import DECISION, REASON, Audit, Recording
from .auth.authentication import PROBE_PATHS
from .auth.authorization import AuthorizationAttributes, Authorizer, forbidden
from .auth.impersonation import impersonate
from .auth.open_requests import OpenRequests
from .auth.reviews import VirtualResource
from .auth.service_accounts.issuer import CONFIGURATION_PATH, KEYS_PATH, Issuer
from .cors import Cors
from .errors import ApiError, InternalError, MethodNotAllowed, Timeout, Unauthorized
from .facade.facade import Facade
from .facade.inner import Inner
from .fairness.gate import Gate
from .fairness.widths import Widths
from .freshness import Freshness
from .health import Health
from .limits import Limits
from .metrics import Metrics
from .promptly import Promptly
from .rates import RequestRates
from .registry.options import Own, Target
from .registry.refusals import no_such_path
from .registry.verbs import Verbs
from .registry.watching import WatchFrames
from .request import Answer, ByteStream, Request, Response, Stream, Upgrade, User
from .resources import Resource, Resources
from .routes import COLLECTION_VERBS, Asked, parse, selected_name
from .settings import Settings
from .wire.compression import compress
from .wire.discovery import Discovery
from .wire.openapi import OpenApi

log = structlog.get_logger(__name__)

SLOW_S: Final = 1.0
"""A request that takes longer is logged even when successful reads are not."""
READING: Final = ("get", "list", "watch")
READ_WITH: Final = ("status", "bundles")
"""Subresources that show no more than the object does: public to whom that is."""
KNOWN_VERBS: Final = frozenset({*COLLECTION_VERBS.values(), "delete", "get", "post", "put", "head", "options", "watch"})

SubresourceHandler = Callable[[Request, Target, Sequence[str]], Awaitable[Answer]]
"""Of a request for a subresource that is more than a view of the object; the last argument is what follows in the path."""


class Authentication(Protocol):
    """Who asks."""

    async def authenticate(self, request: Request) -> User:
        """Raises Unauthorized."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """Everything requests are answered from."""

    settings: Settings
    resources: Resources
    verbs: Verbs
    authentication: Authentication
    authorizer: Authorizer
    limits: Limits
    gate: Gate
    widths: Widths
    metrics: Metrics
    health: Health
    discovery: Discovery
    openapi: OpenApi
    facade: Facade
    inner: Inner
    audit: Audit
    rates: RequestRates
    open_requests: OpenRequests
    virtual: Mapping[tuple[str, str, str], VirtualResource] = field(default_factory=dict)
    """Kinds that are only created and never stored, by group, version and plural."""
    subresources: Mapping[tuple[str, str, str], SubresourceHandler] = field(default_factory=dict)
    """By group, plural and subresource."""
    issuer: Issuer | None = None
    """What others verify tokens of service accounts by."""
    freshness: Freshness | None = None
    """Whether we have heard what the other processes of this server have told their clients; None when we are alone."""


class Pipeline:
    """`handle` is what the HTTP adapter calls. It never raises an ApiError."""

    def __init__(self, served: Served) -> None:
        self._served = served
        served.inner.through(self.ask)
        self._promptly = Promptly(served.settings.http.request_timeout_s)
        self._cors = Cors(served.settings.cors_origins)

    def handle(self, request: Request) -> Awaitable[Answer]:
        """The answer, whatever happens."""
        return self._handle_page(request) if "origin" in request.headers else self._handle(request)

    async def _handle_page(self, request: Request) -> Answer:
        """Of a request that a browser's page makes."""
        answer = self._cors.preflight(request) or await self._handle(request)
        self._cors.mark(request, answer)
        return answer

    async def _handle(self, request: Request) -> Answer:
        began = time.monotonic()
        asked = parse(request.method, request.path, request.query)
        recording = self._served.audit.begin(request, asked)
        try:
            answer = await self._answer(request, asked, recording)
        except ApiError as error:
            answer = self._refusal(request, error)
        except (asyncio.CancelledError, GeneratorExit):
            recording.left()
            raise
        except Exception:
            log.exception("request failed", path=request.path, verb=asked.verb)
            recording.panicked = True
            unforeseen = InternalError("Internal error occurred: see the server's log at this moment")
            answer = self._refusal(request, unforeseen)
        self._finish(request, asked, answer, time.monotonic() - began)
        if not recording.answered(answer):
            return answer
        return await self._recorded(request, recording, answer)

    async def _recorded(self, request: Request, recording: Recording, answer: Answer) -> Answer:
        """The answer, once it is on disk what was done; a failure when it cannot be written."""
        try:
            await recording.written()
        except BaseException as error:
            if isinstance(answer, Response) and answer.on_sent is not None:
                answer.on_sent()
            if isinstance(error, ApiError):
                return self._refusal(request, error)
            raise
        return answer

    async def ask(self, outer: Request, inner: Request) -> Answer:
        """The answer to `inner`, which a handler of `outer` asks for the same person: judged and recorded as if they had
        asked it themselves, but within the seat and the rate of `outer`. Raises an ApiError."""
        asked = parse(inner.method, inner.path, inner.query)
        recording = self._served.audit.begin(inner, asked)
        inner.user, inner.proven = outer.user, outer.proven
        assert outer.user is not None, outer.path
        assert outer.proven is not None, outer.path
        if recording.is_by(outer.proven):
            await recording.admitted()
        try:
            own = await self._authorize(outer.user, inner, asked)
            answer = await self._route(inner, asked, own)
        except ApiError as error:
            recording.answered(failure(error))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            recording.left()
            raise
        except Exception:
            recording.panicked = True
            recording.answered(failure(InternalError("Internal error occurred")))
            raise
        outer.warnings += inner.warnings
        if recording.answered(answer):
            await recording.written()
        return answer

    def _refusal(self, request: Request, error: ApiError) -> Answer:
        if self._served.facade.owns(request.path):
            return self._served.facade.refuse(request, error)
        return failure(error)

    def _finish(self, request: Request, asked: Asked, answer: Answer, duration_s: float) -> None:
        """Count, log, and pass on warnings."""
        served = self._served
        if request.warnings:
            add_warnings(answer, request.warnings)
        if request.marks:
            answer.headers.update(request.marks)
        known = self._known(asked)
        served.metrics.observe(known, answer.status, duration_s)
        if isinstance(answer, Stream):
            served.metrics.long_begins(known)
            answer.on_close.append(lambda: served.metrics.long_ends(known))
        elif isinstance(answer, Upgrade):
            served.metrics.long_begins(known)
            answer.relay = _until_over(answer.relay, lambda: served.metrics.long_ends(known))
        mode = served.settings.access_log
        is_quiet = asked.is_read and answer.status < 400 and duration_s < SLOW_S
        if mode == "none" or (mode == "changes" and is_quiet):
            return
        correlation = request.headers.get("x-correlation-id")
        log.info(
            "request",
            **({"correlation_id": correlation} if correlation else {}),
            verb=asked.verb,
            path=request.path,
            status=answer.status,
            duration_ms=round(duration_s * 1000, 2),
            user=request.user.name if request.user else "",
            peer=request.peer.address,
            audit_id=request.headers.get("audit-id", ""),
            user_agent=request.headers.get("user-agent", ""),
        )

    def _known(self, asked: Asked) -> Asked:
        """The same, without whatever a client could make up: labels of metrics must not grow without bound."""
        verb = asked.verb if asked.verb in KNOWN_VERBS else "other"
        resource = self._served.resources.find(asked.group, asked.version, asked.plural)
        if resource is None:
            return Asked(verb, "")
        is_known = not asked.subresource or asked.subresource in resource.subresources
        if is_known and verb == asked.verb:
            return asked
        return replace(asked, verb=verb, subresource=asked.subresource if is_known else "")

    async def _answer(self, request: Request, asked: Asked, recording: Recording) -> Answer:
        served = self._served
        if served.freshness is not None and served.freshness.is_behind and not asked.is_probe:
            await served.freshness.caught_up()
        try:
            request.proven = user = await served.authentication.authenticate(request)
        except Unauthorized:
            served.rates.refused(request)
            raise
        must_wait = recording.is_by(user)
        served.rates.admit(user, request, asked)
        if must_wait:
            await recording.admitted()
        request.user = user = await impersonate(request, user, served.authorizer)
        if asked.is_long and asked.verb != "watch":
            own = await self._authorize(user, request, asked)
            return _compressed(request, await self._route(request, asked, own))
        gate = served.gate
        flow = gate.levels.flow_of(user, asked)
        request.marks = flow.headers
        seat = gate.enter(flow, served.widths.seats(asked, request.query, flow.seats_max))
        if not seat.executing:
            await gate.turn(seat)
        try:
            if seat.seats > 1:
                # Everything that has arrived is to be at the gate before the first long list is worked on: a list is made
                # without a pause, so without this each would be over before the next comes, and none would ever wait.
                await asyncio.sleep(0)
            own = await self._authorize(user, request, asked)
            answer = _compressed(request, await self._in_time(request, asked, own))
        except BaseException:
            gate.leave(seat)
            raise
        if isinstance(answer, Response) and isinstance(answer.body, bytes):
            gate.leave(seat)
        else:
            _leave_later(answer, partial(gate.leave, seat))
        return answer

    async def _in_time(self, request: Request, asked: Asked, own: Own | None) -> Answer:
        if asked.is_long:
            return await self._route(request, asked, own)
        try:
            return await self._promptly.within(self._route(request, asked, own))
        except TimeoutError:
            raise Timeout("request did not complete within the allotted time") from None

    async def _authorize(self, user: User, request: Request, asked: Asked) -> Own | None:
        """Raises Forbidden. Whose objects the request may reach, when that is not everybody's."""
        selector = request.query.first("fieldSelector")
        attributes = AuthorizationAttributes(
            user,
            asked.verb,
            asked.group,
            asked.version,
            asked.plural,
            asked.subresource,
            asked.namespace,
            asked.name or selected_name(asked, selector),
            "" if asked.plural else asked.path,
            selector,
        )
        if not asked.plural and self._served.facade.owns(asked.path):
            return None  # it asks by itself, about the objects that the request is really about
        decision = await self._served.authorizer.authorize(attributes)
        request.audit[DECISION] = "allow" if decision.allowed else "forbid"
        request.audit[REASON] = decision.reason
        if decision.is_outright:
            return None
        if not decision.allowed:
            raise forbidden(attributes, decision)
        if not asked.plural or (asked.group, asked.version, asked.plural) in self._served.virtual:
            # Paths and questions are nobody's own.
            raise forbidden(attributes, decision)
        owners = decision.owners or frozenset({user.name})
        reads = asked.verb in READING and (not asked.subresource or asked.subresource in READ_WITH)
        return Own(owners, user.name, asked.verb, reads)

    async def _route(self, request: Request, asked: Asked, own: Own | None) -> Answer:
        if not asked.plural:
            return await self._path(request, asked)
        served = self._served
        virtual = served.virtual.get((asked.group, asked.version, asked.plural))
        if virtual is not None:
            return await self._create_virtual(request, asked, virtual)
        resource = served.resources.find(asked.group, asked.version, asked.plural)
        if resource is None:
            raise no_such_path()
        target = self._target(resource, asked, own)
        if resource.deprecation_warning:
            request.warnings.append(resource.deprecation_warning)
        handler = served.subresources.get((asked.group, asked.plural, asked.subresource))
        if handler is not None:
            return await self._transfer(handler, request, target, asked)
        if asked.rest:
            raise no_such_path()

        open_watch = partial(self._open_watch, request)

        async def may_create() -> bool:
            assert request.user is not None, asked
            return await self._authorize(request.user, request, replace(asked, verb="create")) is not None

        return await served.verbs.handle(asked.verb, request, target, open_watch, may_create)

    async def _transfer(self, handler: SubresourceHandler, request: Request, target: Target, asked: Asked) -> Answer:
        """A log, a bundle, a relay: it holds a place among the long requests until its last byte."""
        leave = self._open_watch(request)
        try:
            if target.own is not None:
                await self._served.verbs.require_own(target)
            answer = await handler(request, target, asked.rest)
        except BaseException:
            leave()
            raise
        if isinstance(answer, Stream):
            answer.on_close.append(leave)
        elif isinstance(answer, Upgrade):
            answer.relay = _until_over(answer.relay, leave)
        else:
            leave()
        return answer

    def _target(self, resource: Resource, asked: Asked, own: Own | None) -> Target:
        """Raises NotFound for a path that cannot be: a cluster-scoped kind in a namespace, an object without one."""
        # The path of a namespace itself looks as if it were in that namespace.
        namespace = asked.namespace if resource.namespaced else ""
        is_misplaced = bool(asked.namespace) and not resource.namespaced and asked.plural != "namespaces"
        needs_namespace = resource.namespaced and not namespace and (asked.name or asked.verb == "create")
        if is_misplaced or needs_namespace:
            raise no_such_path()
        return Target(resource, namespace, asked.name, asked.subresource, own)

    def _open_watch(self, request: Request) -> Callable[[], None]:
        assert request.user is not None, request.path
        assert request.proven is not None, request.path
        gauge = self._served.limits.watches
        gauge.enter(request.user)
        forget = self._served.open_requests.enter(request.proven, request.hang_up)

        def leave() -> None:
            gauge.leave()
            forget()

        return leave

    async def _create_virtual(self, request: Request, asked: Asked, virtual: VirtualResource) -> Response:
        if bool(asked.namespace) != virtual.namespaced:
            raise no_such_path()
        if asked.verb != "create" or asked.name:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        assert request.user is not None, asked.path
        resource = self._served.resources.find(virtual.group, virtual.version, virtual.plural)
        assert resource is not None, asked.path
        body = await self._served.verbs.read_question(request, Target(resource, asked.namespace))
        return Response(201, orjson.dumps(await virtual.create(request.user, body, asked.namespace)))

    async def _path(self, request: Request, asked: Asked) -> Answer:
        """Everything that is not a resource."""
        answer = await self._served.facade.respond(request)
        if answer is not None:
            return answer
        if asked.verb not in ("get", "head"):
            raise (
                no_such_path()
                if asked.verb == "options"
                else MethodNotAllowed("the server does not allow this method on the requested resource")
            )
        served, headers, path = self._served, request.headers, request.path
        accept, etag = headers.get("accept", ""), headers.get("if-none-match", "")
        if path == "/version" or path == "/version/":
            return Response(body=VERSION_BODY)
        if path == "/metrics":
            return await served.metrics.respond()
        if path == "/":
            return Response(body=orjson.dumps({"paths": self._paths()}))
        if path in (CONFIGURATION_PATH, KEYS_PATH) and served.issuer is not None:
            found = served.issuer.respond(path)
        elif path.startswith("/openapi/"):
            found = served.openapi.respond(path, request.query.first("hash"), accept, etag)
        elif path.startswith("/api"):
            found = served.discovery.respond(path, accept, etag)
        else:
            found = await served.health.respond(path, request.query)
        if found is None:
            raise no_such_path()
        return found

    def _paths(self) -> list[str]:
        groups = {f"/apis/{resource.group}" for resource in self._served.resources if resource.group}
        versions = {resource.root for resource in self._served.resources}
        fixed = {"/api", "/apis", "/metrics", "/openapi/v2", "/openapi/v3", "/version", *PROBE_PATHS}
        issuer = {CONFIGURATION_PATH, KEYS_PATH} if self._served.issuer is not None else set()
        return sorted(groups | versions | fixed | issuer)


VERSION_BODY: Final = orjson.dumps(
    {
        "major": KUBERNETES_MAJOR,
        "minor": KUBERNETES_MINOR,
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "cpython",
        "platform": "linux/amd64",
    },
    option=orjson.OPT_INDENT_2,
)


def failure(error: ApiError) -> Response:
    """The Status of a refusal."""
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else {}
    return Response(error.code, error.encode(), headers=headers)


def _compressed(request: Request, answer: Answer) -> Answer:
    """The same. A list is compressed while it has its seats: it is a part of the work, and may fail like the rest."""
    if isinstance(answer, Response):
        compress(request, answer)
    return answer


WARNINGS_MAX: Final = 4_096
"""Characters of all warnings of one answer, as in Kubernetes: rules and webhooks may have any number of them to say."""
WARNING_CUT: Final = 256
"""Characters that are left of each when all together are too long, as in Kubernetes."""


def add_warnings(answer: Answer, texts: Sequence[str]) -> None:
    """RFC 7234 section 5.5: several are one header with commas between them."""
    known = answer.headers.get("Warning")
    lines = [known] if known else []
    longest = WARNINGS_MAX if sum(map(len, texts)) <= WARNINGS_MAX else WARNING_CUT
    left = WARNINGS_MAX
    for text in dict.fromkeys(texts):
        plain = "".join(sign if sign.isprintable() else " " for sign in text[:longest])
        left -= len(plain)
        if left < 0:
            break
        escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'299 - "{escaped}"')
    answer.headers["Warning"] = ", ".join(lines)


def _leave_later(answer: Answer, leave: Callable[[], None]) -> None:
    """A long list keeps its seat while it is made and sent, piece by piece; a watch while it sends what is there, since
    what changes later is no work of its own."""
    if isinstance(answer, Response):
        answer.on_sent = leave
    elif isinstance(answer, Stream) and isinstance(answer.chunks, WatchFrames):
        answer.on_close.append(leave)
        answer.chunks.when_live(leave)
    else:
        leave()


def _until_over(
    relay: Callable[[ByteStream], Awaitable[None]], on_end: Callable[[], None]
) -> Callable[[ByteStream], Awaitable[None]]:
    """A relay with something to do when it is over."""

    async def relayed(client: ByteStream) -> None:
        try:
            await relay(client)
        finally:
            on_end()

    return relayed
