"""Bytes from where the server points to: an object storage. It is told the address and nothing else: who we are is none of
its business, and the address itself is as good as a key, so no message repeats it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from stark.crds.version import VERSION

from .http1 import Connection, ProtocolError

CHUNK_BYTES = 65_536
CONNECT_S = 5.0
"""How long to wait for a connection: whoever cannot reach the storage has another way."""


class Elsewhere(Exception):
    """The other server did not give what it was to give; the message says which, and why."""


def chunks_at(location: str, timeout_s: float) -> Iterator[bytes]:
    """What is there, in pieces. Raises Elsewhere."""
    try:
        url = urlsplit(location)
        port = url.port or (80 if url.scheme == "http" else 443)
    except ValueError:
        raise Elsewhere("the server points to something that is no address") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Elsewhere("the server points to something that is no address")
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    where = f"{url.hostname}:{port}"
    context = ssl.create_default_context() if url.scheme == "https" else None
    try:
        connection = Connection(url.hostname, port, context=context, server_name=url.hostname, timeout_s=CONNECT_S)
        try:
            connection.patience(timeout_s)
            connection.request("GET", target, [("Accept", "*/*"), ("User-Agent", f"starkctl/{VERSION}")], None)
            response = connection.response()
            if response.status != 200:
                raise Elsewhere(f"{where} answered {response.status}")
            while chunk := response.body.read(CHUNK_BYTES):
                yield chunk
        finally:
            connection.close()
    except (OSError, ProtocolError) as error:
        raise Elsewhere(f"{where}: {error or type(error).__name__}") from error
