"""Asks webhooks over HTTPS: one pool of connections for all of them, and bounds on everything they may do to us.

A webhook answers a POST within its time, with a body of bounded size, itself: redirects are not followed. Those behind a
service are found by its EndpointSlices, since services have no address, and must show a certificate for
`<service>.<namespace>.svc`. Connections are kept, and opened only when something is asked.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import math
import os
import random
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from stark.crds.services import SERVICE_NAME
from stark.crds.version import GIT_VERSION

from ..callbacks import CallFailed, Endpoint, Service

USER_AGENT: Final = f"stark-apiserver/{GIT_VERSION.removeprefix('v')}"
CONTEXTS_MAX: Final = 256
"""TLS contexts kept, one for each caBundle; the one used least recently goes."""
SHOWN_BYTES_MAX: Final = 1_024
"""How much of an error's body is put into ours."""
KNOWN_ERRORS: Final = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
}


BARRED: Final = "an address that webhooks must not be at: link-local, multicast or unspecified"


class Lookup(Protocol):
    """How services and their endpoints are read (admission's Lookup has this shape)."""

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object, or None."""
        ...

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        """All objects of the resource; of one namespace when given."""
        ...


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """Bounds on webhooks."""

    answer_bytes_max: int = 8 * 1024 * 1024
    """Bytes of an answer. A patch of the largest object in base64, or the objects of one conversion, fit several times."""
    connections_max: int = 256
    """Connections to all webhooks together; who needs one more waits within its own time."""
    connections_per_host_max: int = 64
    """Connections to one of them, so that a slow one cannot take all."""
    idle_s: float = 90.0
    """Seconds a connection is kept unused, as Go's clients do: the next question saves a handshake."""


class Callbacks:
    """`post` asks. `close` it at the end."""

    def __init__(self, lookup: Lookup, settings: CallbackSettings | None = None) -> None:
        self._lookup = lookup
        self._settings = settings or CallbackSettings()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._contexts: dict[bytes, ssl.SSLContext] = {}

    async def post(self, endpoint: Endpoint, body: bytes, timeout_s: float) -> bytes:
        """The body of the answer. Raises CallFailed with the reason in the words of Kubernetes' client."""
        url = f"{endpoint.url}?timeout={math.ceil(timeout_s)}s"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(endpoint, url, body)
        except TimeoutError:
            raise CallFailed(f'Post "{url}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f'Post "{url}": {_reason(error)}') from error

    async def close(self) -> None:
        """End the connections."""
        for session in self._sessions.values():
            await session.close()

    async def _exchange(self, endpoint: Endpoint, url: str, body: bytes) -> bytes:
        host = urlsplit(url).hostname or ""
        if is_barred(host):
            raise CallFailed(f'Post "{url}": {host} is {BARRED}')
        context, session = self._context(endpoint.ca_bundle), self._session(endpoint.service is not None)
        try:
            return await self._once(session, context, url, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
            # A kept connection that the other side had closed meanwhile: asking has no effects, so ask again.
            return await self._once(session, context, url, body)

    async def _once(self, session: aiohttp.ClientSession, context: ssl.SSLContext, url: str, body: bytes) -> bytes:
        async with session.post(url, data=body, ssl=context, allow_redirects=False) as response:
            answer = await self._read(response)
            if not 200 <= response.status < 300:
                raise CallFailed(_told(response.status, answer), response.status)
            return answer

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit, pieces, size = self._settings.answer_bytes_max, [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit:
                response.close()
                raise CallFailed(f"the answer is larger than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def _context(self, ca_bundle: bytes) -> ssl.SSLContext:
        context = self._contexts.pop(ca_bundle, None) or _make_context(ca_bundle)
        self._contexts[ca_bundle] = context
        if len(self._contexts) > CONTEXTS_MAX:
            del self._contexts[next(iter(self._contexts))]
        return context

    def _session(self, is_service: bool) -> aiohttp.ClientSession:
        """Made when first needed, because a session belongs to the running loop."""
        session = self._sessions.get(is_service)
        if session is None:
            settings = self._settings
            connector = aiohttp.TCPConnector(
                limit=settings.connections_max,
                limit_per_host=settings.connections_per_host_max,
                keepalive_timeout=settings.idle_s,
                use_dns_cache=False,
                resolver=Guarded(ServiceResolver(self._lookup) if is_service else DefaultResolver()),
            )
            session = self._sessions[is_service] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "Content-Type": "application/json",
                    "User-Agent": USER_AGENT,
                },
            )
        return session


def is_barred(address: str) -> bool:
    """Whether nobody is asked at this address: it is of the link, where clouds tell a machine its credentials, or nobody's
    in particular. A name is not an address, and never barred."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    plain = (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found
    return plain.is_link_local or plain.is_multicast or plain.is_unspecified


class Guarded(AbstractResolver):
    """Another resolver, whose answers are looked at: a name may lead to any address, and an EndpointSlice, too."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError as well when every address is barred."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if not is_barred(one["host"])]
        if found and not allowed:
            raise OSError(errno.EACCES, f"{host} is {found[0]['host']}, {BARRED}")
        return allowed

    async def close(self) -> None:
        """Close the other one."""
        await self._resolver.close()


class NoSuchService(OSError):
    """The service cannot be asked: there is none, it lacks the port, or nobody is behind it."""


class ServiceResolver(AbstractResolver):
    """From `<service>.<namespace>.svc` and a port of the service to the addresses and real ports of its ready endpoints."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """In random order, so that everybody behind the service is asked. Raises NoSuchService."""
        name, namespace, _ = host.split(".", 2)
        found = await self._endpoints(Service(namespace, name, port))
        random.shuffle(found)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=real_port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address, real_port in found
        ]

    async def close(self) -> None:
        """Nothing is held."""

    async def _endpoints(self, wanted: Service) -> list[tuple[str, int]]:
        service = await self._lookup.get("", "services", wanted.namespace, wanted.name)
        if service is None:
            raise NoSuchService(f'service "{wanted.name}" not found')
        ports = (service.get("spec") or {}).get("ports") or []
        names = [port.get("name") or "" for port in ports if port.get("port") == wanted.port]
        if not names:
            raise NoSuchService(f'no service port {wanted.port} found for service "{wanted.name}"')
        slices = await self._lookup.list("discovery.k8s.io", "endpointslices", wanted.namespace)
        mine = [one for one in slices if (one["metadata"].get("labels") or {}).get(SERVICE_NAME) == wanted.name]
        found = [place for one in mine for place in ready_places(one, names[0])]
        if not found:
            raise NoSuchService(f'no endpoints available for service "{wanted.name}"')
        return found


def ready_places(piece: Mapping[str, Any], port_name: str) -> list[tuple[str, int]]:
    """Address and port of each ready endpoint of an EndpointSlice; absent readiness means ready."""
    if piece.get("addressType") == "FQDN":
        return []
    real = [
        port["port"] for port in piece.get("ports") or () if (port.get("name") or "") == port_name and "port" in port
    ]
    ready = [
        endpoint
        for endpoint in piece.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    ]
    return [(address, port) for port in real for endpoint in ready for address in endpoint.get("addresses") or ()]


def _make_context(ca_bundle: bytes) -> ssl.SSLContext:
    """Raises CallFailed when the bundle holds no certificate."""
    if not ca_bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=ca_bundle.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise CallFailed(f"unable to load root certificates: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = error.certificate_error
        shown = why.verify_message if isinstance(why, ssl.SSLCertVerificationError) else why
        return f"tls: failed to verify certificate: {shown}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"tls: {error.os_error.reason if isinstance(error.os_error, ssl.SSLError) else error.os_error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        cause = error.os_error
        return str(cause) if isinstance(cause, NoSuchService) else f"dial tcp: lookup {error.host}: {cause.strerror}"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        shown = os.strerror(number).lower() if number else str(error.os_error)
        return f"dial tcp {error.host}:{error.port}: connect: {shown}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def _told(status: int, body: bytes) -> str:
    """What a status that is no success means (client-go's wording)."""
    if status in KNOWN_ERRORS:
        return KNOWN_ERRORS[status]
    if status >= 500:
        shown = " ".join(body[:SHOWN_BYTES_MAX].decode("utf-8", "replace").split())
        return f'an error on the server ("{shown or "unknown"}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"
