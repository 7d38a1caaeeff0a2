"""Keep the agent's identity good while it runs: renew certificates before they end, follow the cluster's authorities.

A certificate is renewed when between 70 and 90 % of its life are over, each agent at another moment, and at once when the
cluster has a new authority that did not sign it. Nothing is restarted: the client shows the new certificate on its next
connection, and so does the endpoint.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from prometheus_client import Counter, Gauge

from stark.client.api import Client
from stark.client.backoff import Backoff
from stark.client.config import ConfigError
from stark.client.errors import ApiError, NotFound
from stark.crds.pins import pin_of, split_bundle

from .discovery import Untrusted, published
from .reading import is_signed_by
from .requesting import Refused, Unanswered, obtain
from .shelf import Credential, IdentityShelf, Use

log = logging.getLogger(__name__)

LOOK_S = 300.0
"""How often authorities and ends are looked at: a machine that slept finds its clock moved."""
RETRY_MAX_S = 300.0
LIFE_FIRST, LIFE_LAST = 0.7, 0.9
USES: tuple[Use, ...] = ("client", "serving")

RENEWALS = Counter("stark_agent_certificate_renewals", "Certificates renewed or not", ["use", "outcome"])
EXPIRY = Gauge("stark_agent_certificate_expiration_seconds", "End of a certificate, in seconds since 1970", ["use"])

Apply = Callable[[Use, Credential, bytes], None]
"""Puts a credential into use, with the authorities to trust. Raises ConfigError, OSError."""


class Life(Protocol):
    """From when until when a certificate counts."""

    @property
    def not_valid_before_utc(self) -> datetime: ...

    @property
    def not_valid_after_utc(self) -> datetime: ...


def renew_at(certificate: Life, share: float) -> datetime:
    """When a certificate is to be renewed; `share` is where in its life, between LIFE_FIRST and LIFE_LAST."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * share


def is_foreign(known: Credential, use: Use, authorities: bytes) -> bool:
    """Whether another authority signs for the cluster now: the first of those that it publishes."""
    (first, *_) = split_bundle(authorities.decode("ascii"))
    return not is_signed_by(first, known.certificate_pem, known.key_pem, serves=use == "serving")


def succeeds(found: bytes, trusted: bytes) -> bool:
    """Whether some authority is in both: one at a time comes or goes, and what is quite another is a mistake."""
    return bool(
        {pin_of(one) for one in split_bundle(found.decode())} & {pin_of(one) for one in split_bundle(trusted.decode())}
    )


def _now() -> datetime:
    return datetime.now(UTC)


class IdentityKeeper:
    """Runs beside everything else."""

    def __init__(
        self,
        node: str,
        shelf: IdentityShelf,
        client: Client,
        apply: Apply,
        *,
        clock: Callable[[], datetime] = _now,
        look_s: float = LOOK_S,
    ) -> None:
        self._node, self._shelf, self._client, self._apply = node, shelf, client, apply
        self._clock, self._look_s = clock, look_s
        self._share = {use: random.uniform(LIFE_FIRST, LIFE_LAST) for use in USES}
        self._authorities = client.config.ca_data or b""
        self._backoff = Backoff(initial_s=1.0, max_s=RETRY_MAX_S)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            delay_s = await self.look()
            await asyncio.sleep(delay_s)

    async def look(self) -> float:
        """Renew what is due; how long until the next look, in seconds."""
        try:
            await self._follow_authorities()
            for use in USES:
                await self._renew(use)
        except (ApiError, Refused, Unanswered, Untrusted, ConfigError, OSError, ValueError) as error:
            # A ValueError is a file or an answer that cannot be read. Pods run on whatever becomes of our identity.
            log.warning("the agent's identity was not renewed yet", extra={"error": str(error)})
            return min(self._backoff.next_s(), self._look_s)
        self._backoff.reset()
        return min(self._look_s, max(0.0, self._next_in_s()))

    def _next_in_s(self) -> float:
        ends = [renew_at(known.facts, self._share[use]) for use in USES if (known := self._current(use))]
        return min(((end - self._clock()) / timedelta(seconds=1) for end in ends), default=self._look_s)

    def _current(self, use: Use) -> Credential | None:
        found = self._shelf.credential(use)
        config = self._client.config
        if found is None and config.client_cert_data and config.client_key_data:
            # A kubeconfig's certificate is for both, until each is renewed for the first time.
            return Credential(config.client_cert_data, config.client_key_data)
        return found

    async def _follow_authorities(self) -> None:
        try:
            found = await published(self._client)
        except NotFound:
            return  # nothing is published: what we trust stays
        if found == self._authorities:
            return
        if not succeeds(found, self._authorities):
            raise Untrusted(
                "the cluster publishes an authority that has nothing to do with those that are trusted here"
            )
        self._shelf.keep_authorities(found)
        self._authorities = found
        current = self._current("client")
        if current is not None:
            self._apply("client", current, found)
        log.info("the cluster's authorities have changed")

    async def _renew(self, use: Use) -> None:
        known = self._current(use)
        if known is not None:
            certificate = known.facts
            EXPIRY.labels(use).set(certificate.not_valid_after_utc.timestamp())
            now = self._clock()
            is_due = renew_at(certificate, self._share[use]) <= now
            # On a clock that was set back TLS accepts nobody's certificate: that says nothing about who signed it.
            is_early = now < certificate.not_valid_before_utc
            if not is_due and (is_early or not is_foreign(known, use, self._authorities)):
                return
        key = self._shelf.pending_key(use)
        try:
            credential = await obtain(self._client, self._node, use, key)
        except Refused:
            self._shelf.drop_pending(use)
            RENEWALS.labels(use, "refused").inc()
            raise
        self._shelf.keep(use, credential)
        self._apply(use, credential, self._authorities)
        EXPIRY.labels(use).set(credential.facts.not_valid_after_utc.timestamp())
        RENEWALS.labels(use, "renewed").inc()
        log.info("certificate renewed", extra={"use": use, "until": str(credential.facts.not_valid_after_utc)})
