"""/api, /apis and the resource lists under them, plain and aggregated."""

from __future__ import annotations

from typing import Any

from ..request import Response
from ..resources import Resources


class Discovery:
    """Answers every discovery path from the live resources; bodies are kept until the set changes."""

    def __init__(self, resources: Resources, server_address: str = "") -> None:
        raise NotImplementedError

    def respond(self, path: str, accept: str = "", if_none_match: str = "") -> Response | None:
        """The answer for `/api`, `/apis`, `/apis/<g>`, `/api/v1` or `/apis/<g>/<v>`, with ETag, Vary and 304.

        None when the path is none of these or nothing is served there (the caller's 404). Raises NotAcceptable.
        """
        raise NotImplementedError


def api_resource_list(resources: Resources, group: str, version: str) -> dict[str, Any] | None:
    """The APIResourceList of one group version, None when it serves nothing."""
    raise NotImplementedError
