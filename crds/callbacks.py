"""How a webhook is reached: the part that admission's configurations and a definition's conversion have in common."""

from __future__ import annotations

from pydantic import Field

from .fields import Base64, Port
from .meta import Model

SERVICE_PORT = 443


class ServiceReference(Model):
    """A service of the cluster. One of its ready endpoints is called, under the name `<name>.<namespace>.svc`."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    path: str | None = None
    """Path of the request."""
    port: Port = SERVICE_PORT
    """Its port."""


class WebhookClientConfig(Model):
    """How a webhook is reached: by url or by service, one of the two."""

    url: str | None = None
    """An https URL without user, query and fragment."""
    service: ServiceReference | None = None
    """A service of the cluster."""
    ca_bundle: Base64 | None = Field(default=None)
    """PEM certificates that sign its certificate; default the system's."""
