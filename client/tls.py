"""The TLS context of a `ClientConfig`; only the standard library, so that the command line can use it too."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from .config import ClientConfig, ConfigError


def ssl_context(config: ClientConfig) -> ssl.SSLContext | None:
    """The context for an https server, None for http. Raises ConfigError when a certificate cannot be used."""
    if not config.server.startswith("https://"):
        return None
    try:
        # Trusting exactly the cluster's authority also skips loading the system's bundle, which costs 15 ms.
        context = ssl.create_default_context(cadata=config.ca_data.decode() if config.ca_data else None)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{config.source}: certificate-authority: {error}") from error
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_cert_data and config.client_key_data:
        load_identity(context, config.client_cert_data, config.client_key_data, config.source)
    return context


def load_identity(context: ssl.SSLContext, cert: bytes, key: bytes, source: str) -> None:
    """Let the context show a certificate. Raises ConfigError, which names the source, when it is none or not the key's."""
    # OpenSSL's Python binding takes a client certificate only from a file; the directory is ours alone (0700).
    with tempfile.TemporaryDirectory(prefix="stark-tls-") as directory:
        path = Path(directory) / "identity.pem"
        path.touch(mode=0o600)
        path.write_bytes(key.rstrip() + b"\n" + cert)
        try:
            context.load_cert_chain(path)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"{source}: client-certificate or client-key: {error}") from error
