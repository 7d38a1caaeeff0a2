"""Which client certificates are good no longer, asked at every request that comes with one.

CertificateRevocation objects name a serial number, or a user and the moment until which certificates were issued. What is
kept of them is two tables, made anew when an object changed; without objects a request costs one comparison.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import floor
from typing import Any, Protocol

from ..errors import Unauthorized
from ..request import ClientCertificate, Peer


class Changing(Protocol):
    """All the objects, and a mark of their state."""

    def mark(self) -> Hashable:
        """Another one whenever an object changed; None while they are not known yet."""
        ...

    async def objects(self) -> Sequence[Mapping[str, Any]]:
        """All of them. Raises ServiceUnavailable."""
        ...


def serial_of(text: str) -> str:
    """A serial number as it is compared: hexadecimal, in lower case, without leading zeros."""
    return text.lower().lstrip("0") or "0"


@dataclass(frozen=True, slots=True)
class Revoked:
    """The two tables."""

    serials: frozenset[str] = frozenset()
    users: Mapping[str, float] = field(default_factory=dict)
    """The latest moment of issue that is revoked, in seconds since 1970, by user."""

    @classmethod
    def of(cls, objects: Iterable[Mapping[str, Any]]) -> Revoked:
        """From the objects."""
        serials: set[str] = set()
        users: dict[str, float] = {}
        for spec in (obj["spec"] for obj in objects):
            if spec.get("serialNumber"):
                serials.add(serial_of(spec["serialNumber"]))
            elif spec.get("username") and spec.get("issuedBefore"):
                moment = floor(datetime.fromisoformat(spec["issuedBefore"]).timestamp())
                users[spec["username"]] = max(moment, users.get(spec["username"], moment))
        return cls(frozenset(serials), users)

    def covers(self, certificate: ClientCertificate) -> bool:
        """Whether this certificate is one of them. One issued in the very second of the revocation is."""
        if certificate.serial in self.serials:
            return True
        until = self.users.get(certificate.user)
        return until is not None and certificate.issued_at <= until


class Revocations:
    """The tables as they are now."""

    def __init__(self, objects: Changing) -> None:
        self._objects = objects
        self._seen: Hashable = None
        self._revoked = Revoked()

    async def current(self) -> Revoked:
        """Raises ServiceUnavailable while the objects are not known: better nobody than somebody who was shut out."""
        mark = self._objects.mark()
        if mark is None or mark != self._seen:
            objects = await self._objects.objects()
            # The mark from before: a change that came in between makes another look necessary, never one fewer.
            self._revoked, self._seen = Revoked.of(objects), mark
        return self._revoked

    def shuts_out(self, peer: Peer) -> bool:
        """Whether the other end of a connection has shown a certificate that is known to be revoked."""
        return peer.certificate is not None and self._revoked.covers(peer.certificate)

    async def check(self, certificate: ClientCertificate, now: float) -> None:
        """Raises Unauthorized for a certificate that was revoked, or has expired while its connection lasted."""
        if certificate.expires_at <= now:
            raise Unauthorized("the client certificate has expired")
        if (await self.current()).covers(certificate):
            raise Unauthorized("the client certificate was revoked")
