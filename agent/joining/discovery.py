"""Find out whom to trust before anything secret is said: by a file, by the pin of the authority, by what a token signed.

What a server says over a connection that nothing vouches for is believed only as far as a pin or a signature goes, and no
token or password ever travels over such a connection.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import orjson

from stark.client.api import Client
from stark.client.config import ClientConfig
from stark.crds.bootstrap_tokens import (
    CLUSTER_INFO_PATH,
    KUBECONFIG_KEY,
    SIGNATURE_PREFIX,
    TOKEN,
    is_signed,
)
from stark.crds.pins import PIN, BadCertificate, is_pinned, split_bundle

AUTHORITIES_BYTES_MAX = 1024 * 1024


class Untrusted(Exception):
    """Nothing vouches for the server; the message says what was tried."""


def read_authorities(path: Path) -> bytes:
    """The certificates of a file. Raises Untrusted."""
    try:
        pem = path.read_text("ascii")
        split_bundle(pem)
    except (OSError, UnicodeDecodeError, BadCertificate) as error:
        raise Untrusted(f"--ca-file {path}: {error}") from error
    return pem.encode()


async def discover(server: str, token: str, pins: tuple[str, ...], *, believes: bool = False) -> bytes:
    """The authorities of a cluster of which we know a pin or a token; `believes`: nothing need vouch.

    Raises Untrusted, ApiError.
    """
    for pin in pins:
        if not PIN.fullmatch(pin.lower()):
            raise Untrusted(f"--ca-hash {pin!r} is not of the form sha256:<64 hexadecimal digits>")
    async with Client(
        ClientConfig(server=server, insecure=True, source="--server"), user_agent="stark-agent"
    ) as client:
        body = await client.get_json(CLUSTER_INFO_PATH)
    return judge(body, token, pins, believes=believes)


def judge(body: Any, token: str, pins: tuple[str, ...], *, believes: bool) -> bytes:
    """What of a `cluster-info` can be trusted, in PEM. Raises Untrusted."""
    data: dict[str, str] = (body.get("data") or {}) if isinstance(body, dict) else {}
    content = data.get(KUBECONFIG_KEY, "")
    match = TOKEN.fullmatch(token)
    is_vouched = match is not None and is_signed(
        content, data.get(SIGNATURE_PREFIX + match.group(1), ""), *match.groups()
    )
    if match is not None and not is_vouched:
        raise Untrusted(
            "the server could not show that it knows the token: it is wrong, over, or this is another cluster"
        )
    try:
        blocks = split_bundle(_authorities(content))
        trusted = [block for block in blocks if is_pinned(block, list(pins))]
    except BadCertificate as error:
        raise Untrusted(f"the server's cluster-info has no authority: {error}") from error
    if pins:
        if not trusted:
            raise Untrusted("the server's authority is not the one that --ca-hash names: this is another cluster")
        return "".join(trusted).encode()
    if not believes:
        raise Untrusted("nothing says how to recognize the cluster: pass --ca-hash or --ca-file (or, last, --insecure)")
    return "".join(blocks).encode()


def _authorities(content: str) -> str:
    try:
        cluster = orjson.loads(content)["clusters"][0]["cluster"]
        return base64.b64decode(cluster["certificate-authority-data"], validate=True).decode("ascii")
    except (ValueError, KeyError, IndexError, TypeError, binascii.Error) as error:
        raise Untrusted("the server's cluster-info cannot be read") from error


async def published(client: Client) -> bytes:
    """The authorities as the cluster publishes them, over a connection that is trusted. Raises Untrusted, ApiError."""
    body = await client.get_json(CLUSTER_INFO_PATH)
    try:
        pem = _authorities((body.get("data") or {}).get(KUBECONFIG_KEY, ""))
        split_bundle(pem)
    except BadCertificate as error:
        raise Untrusted(f"the cluster publishes no authority: {error}") from error
    return pem.encode()
