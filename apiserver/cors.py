"""Which web pages of other origins may read our answers (the Fetch standard's CORS protocol).

None, unless an origin is allowed by name. Pages prove who asks by a token that they send themselves: a browser is never told
to add credentials of its own, so a client certificate in it is of no use to any page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .request import Answer, Request, Response

METHODS: Final = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
ASKED_HEADERS: Final = "Accept, Authorization, Content-Type, If-None-Match, X-Correlation-Id"
TOLD_HEADERS: Final = "Date, Audit-Id, ETag, Retry-After, Warning, X-Correlation-Id"
PREFLIGHT_LASTS_S: Final = 600
"""How long a browser remembers an answer to its question."""
ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.*:\[\]_-]+")


class Cors:
    """The origins that are allowed. A `*` in one stands for anything within the host's label, or any port."""

    def __init__(self, origins: Sequence[str] = ()) -> None:
        """Raises ValueError for what is no origin."""
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: write SCHEME://HOST[:PORT], with * within a label or as the port"
                )
        self._allowed = re.compile("|".join(map(_pattern, origins))) if origins else None

    def allows(self, origin: str) -> bool:
        """Whether pages of the origin may read answers."""
        return self._allowed is not None and self._allowed.fullmatch(origin) is not None

    def preflight(self, request: Request) -> Response | None:
        """The answer to a browser's question whether a page may ask; None when this is none, or it may not."""
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        if not self.allows(request.headers.get("origin", "")):
            return None
        lasts = {"Access-Control-Max-Age": str(PREFLIGHT_LASTS_S)}
        may = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": ASKED_HEADERS}
        return Response(204, b"", headers={**may, **lasts})

    def mark(self, request: Request, answer: Answer) -> None:
        """Let the page that asked read the answer, if its origin is allowed."""
        if self._allowed is None:
            return
        known = answer.headers.get("Vary")
        answer.headers["Vary"] = f"{known}, Origin" if known else "Origin"
        origin = request.headers["origin"]
        if self.allows(origin):
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Expose-Headers"] = TOLD_HEADERS


def _pattern(origin: str) -> str:
    return re.escape(origin).replace(r"\*", "[A-Za-z0-9_-]+")
