"""OpenAPI v3 per group version, its index, and v2."""

from __future__ import annotations

from ..request import Response
from ..resources import Resources


class OpenApi:
    """Answers `/openapi/v3`, `/openapi/v3/...` and `/openapi/v2` from the live resources."""

    def __init__(self, resources: Resources, version: str) -> None:
        raise NotImplementedError

    def respond(self, path: str, query_hash: str = "", accept: str = "", if_none_match: str = "") -> Response | None:
        """The answer, or None when nothing is served at `path`. Raises NotAcceptable. `query_hash` is `?hash=`."""
        raise NotImplementedError
