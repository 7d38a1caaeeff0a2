"""What lets others verify our tokens without asking us: OpenID Connect discovery and the public keys.

`/.well-known/openid-configuration` (OpenID Connect Discovery 1.0 section 4, the subset Kubernetes serves) and
`/openid/v1/jwks`.
"""

from __future__ import annotations

import json
from typing import Final

from ...request import Response
from .keys import TokenKeys

CONFIGURATION_PATH: Final = "/.well-known/openid-configuration"
KEYS_PATH: Final = "/openid/v1/jwks"
HEADERS: Final = {"Cache-Control": "public, max-age=3600"}
"""An hour, as in Kubernetes: so long before it signs must a new key be published."""


class Issuer:
    """The two documents. Keys change only with a new start; where we are is known once we listen."""

    def __init__(self, issuer: str, keys_url: str, keys: TokenKeys) -> None:
        self._issuer, self._keys_url = issuer, keys_url
        self._algorithms, self._keys = keys.algorithms, keys.published()

    def served_at(self, url: str) -> None:
        """Say that the keys are at this server's address, unless they were said to be elsewhere."""
        self._keys_url = self._keys_url or f"{url}{KEYS_PATH}"

    def respond(self, path: str) -> Response | None:
        """The answer for one of the two paths; None for any other."""
        if path == CONFIGURATION_PATH:
            return Response(body=self._configuration(), headers=dict(HEADERS))
        if path == KEYS_PATH:
            return Response(body=self._keys, content_type="application/jwk-set+json", headers=dict(HEADERS))
        return None

    def _configuration(self) -> bytes:
        configuration = {
            "issuer": self._issuer,
            "jwks_uri": self._keys_url,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": self._algorithms,
        }
        return json.dumps(configuration, separators=(",", ":")).encode()
