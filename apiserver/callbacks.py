"""Programs outside that the server asks while it answers a request: admission's webhooks and those that convert.

Here is what they are, how a configuration of one is judged, and what whoever asks them needs; `proxy/callbacks.py` does
the asking. Where a webhook's url may point is decided by whoever may write these configurations: cluster administrators.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from stark.crds.callbacks import SERVICE_PORT
from stark.crds.names import dns_label_1035_problems

from .errors import Cause

REVIEW_VERSION: Final = "v1"
"""The version of AdmissionReview and ConversionReview that we speak. The older v1beta1 is refused, not guessed at."""
FORM: Final = "; desired format: https://host[/path]"

Mapped = Mapping[str, Any]


class CallFailed(Exception):
    """The webhook was not reached, or did not answer in time and as agreed. The message says which."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        """The HTTP status it answered with, if it was one that tells of trouble."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the cluster, and the port of it."""

    namespace: str
    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a webhook listens. For a service the url has its name inside the cluster, which its certificate must bear."""

    url: str
    service: Service | None = None
    ca_bundle: bytes = b""
    """PEM; empty for the system's authorities."""


class Caller(Protocol):
    """Whoever can ask."""

    async def post(self, endpoint: Endpoint, body: bytes, timeout_s: float) -> bytes:
        """The answer's body. Raises CallFailed."""
        ...


def endpoint_of(config: Mapped) -> Endpoint:
    """The endpoint of a valid clientConfig."""
    try:
        ca_bundle = base64.b64decode(config.get("caBundle") or "", validate=True)
    except (binascii.Error, ValueError):
        ca_bundle = b"\0"  # stored before it was checked: no certificate is found in it, and the call says so
    service = config.get("service")
    if service is None:
        return Endpoint(config.get("url") or "", None, ca_bundle)
    port = service.get("port") or SERVICE_PORT
    host = f"{service['name']}.{service['namespace']}.svc"
    path = (service.get("path") or "").lstrip("/")
    url = f"https://{host}:{port}/{path}"
    return Endpoint(url, Service(service["namespace"], service["name"], port), ca_bundle)


def client_config_causes(path: str, config: Mapped | None) -> Iterator[Cause]:
    """What is wrong with a clientConfig (apiserver/pkg/util/webhook/validation.go)."""
    url, service = (config or {}).get("url"), (config or {}).get("service")
    if (url is None) == (service is None):
        yield Cause(path, "Required value: exactly one of url or service is required", "FieldValueRequired")
    elif url is not None:
        yield from _url_causes(f"{path}.url", url)
    elif service is not None:
        yield from _service_causes(f"{path}.service", service)


def _url_causes(path: str, url: str) -> Iterator[Cause]:
    try:
        parts = urlsplit(url)
        host, user = parts.hostname, parts.username or parts.password
        _ = parts.port  # read here because reading it is what finds it to be no number
    except ValueError as error:
        yield Cause(path, f"Required value: url must be a valid URL: {error}{FORM}", "FieldValueRequired")
        return
    if parts.scheme != "https":
        yield _bad(path, parts.scheme, f"'https' is the only allowed URL scheme{FORM}")
    if not host:
        yield _bad(path, parts.netloc, f"host must be specified{FORM}")
    if user:
        yield _bad(path, user, "user information is not permitted in the URL")
    if parts.fragment:
        yield _bad(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield _bad(path, parts.query, "query parameters are not permitted in the URL")


def _service_causes(path: str, service: Mapped) -> Iterator[Cause]:
    for field in ("name", "namespace"):
        if not service.get(field):
            yield Cause(f"{path}.{field}", f"Required value: service {field} is required", "FieldValueRequired")
    given = service.get("path")
    if given is None or given == "/":
        return
    if not given.startswith("/"):
        yield _bad(f"{path}.path", given, "must start with a '/'")
        return
    steps = given[1:].split("/")
    for number, step in enumerate(steps):
        is_end = number == len(steps) - 1
        if not step and not is_end:
            yield _bad(f"{path}.path", given, f"segment[{number}] may not be empty")
        if any(sign in step for sign in "?#") or not step.isprintable():
            yield _bad(f"{path}.path", given, f"segment[{number}]: must be a plain path segment")


def review_version_causes(path: str, versions: list[str]) -> Iterator[Cause]:
    """What is wrong with the list of review versions a webhook reads."""
    if not versions:
        yield Cause(path, f"Required value: must specify one of {REVIEW_VERSION}", "FieldValueRequired")
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            yield _bad(f"{path}[{index}]", version, "duplicate version")
        for problem in dns_label_1035_problems(version):
            yield _bad(f"{path}[{index}]", version, problem)
    if REVIEW_VERSION not in versions:
        shown = "[" + ", ".join(f'"{version}"' for version in versions) + "]"
        yield Cause(path, f"Invalid value: {shown}: must include at least one of {REVIEW_VERSION}")


def _bad(path: str, value: str, message: str) -> Cause:
    return Cause(path, f'Invalid value: "{value}": {message}')
