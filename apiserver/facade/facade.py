"""The one door of the facade: which path is whose, and the envelope around whatever comes of it.

The pipeline has found out who asks and found the request a seat, as for every other; who may do what is each handler's
own question, put to the same authorizer. Some paths are for people who have nothing yet to prove themselves by.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ..errors import ApiError, BadRequest, Cause, MethodNotAllowed, NotFound, UnsupportedMediaType
from ..request import Answer, Request
from .envelope import failure

BODY_BYTES_MAX: Final = 64 * 1024
"""Of a request: a few short texts."""
ROOTS: Final = ("/auth", "/audit", "/encryption", "/agent")
"""What the facade answers, and everything below."""
REST_ROOT: Final = "/api/"
"""So is this, but for the versions of the Kubernetes API that lie there."""
CORE_VERSION: Final = re.compile(r"(v[0-9]+[a-z0-9]*)?")
ANY_SEGMENT: Final = "*"

Handler = Callable[[Request, Sequence[str]], Awaitable[Answer]]
"""Of one path and method; the second argument is what stood in the place of each `*`."""


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers what. A `*` in the path is any one segment."""

    method: str
    path: str
    handler: Handler


class Facade:
    """Answers from a table of routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes: dict[int, list[tuple[list[str], Route]]] = {}
        for route in routes:
            segments = _segments(route.path)
            self._routes.setdefault(len(segments), []).append((segments, route))

    @staticmethod
    def owns(path: str) -> bool:
        """Whether the path is one of ours, there or not."""
        if path.startswith(REST_ROOT):
            return CORE_VERSION.fullmatch(path[len(REST_ROOT) :].partition("/")[0]) is None
        return any(path == root or path.startswith(root + "/") for root in ROOTS)

    async def respond(self, request: Request) -> Answer | None:
        """The answer; None when the path is not ours. Never raises an ApiError."""
        if not self.owns(request.path):
            return None
        try:
            handler, found = self._find(request)
            return await handler(request, found)
        except ApiError as error:
            return self.refuse(request, error)

    def refuse(self, request: Request, error: ApiError) -> Answer:
        """The refusal of a request for a path of ours, also of one that did not come as far as this."""
        return failure(error, anonymous="authorization" not in request.headers)

    def _find(self, request: Request) -> tuple[Handler, list[str]]:
        """Raises NotFound, MethodNotAllowed."""
        asked = _segments(request.path)
        methods: list[str] = []
        for segments, route in self._routes.get(len(asked), ()):
            if all(known in (ANY_SEGMENT, given) for known, given in zip(segments, asked, strict=True)):
                if route.method == request.method:
                    return route.handler, [
                        given for known, given in zip(segments, asked, strict=True) if known == ANY_SEGMENT
                    ]
                methods.append(route.method)
        if methods:
            raise MethodNotAllowed(f"{request.path} answers {', '.join(sorted(methods))}")
        raise NotFound(f"there is nothing at {request.path}")


def _segments(path: str) -> list[str]:
    return path.strip("/").split("/")


async def read_fields(
    request: Request, known: Mapping[str, type], required: Sequence[str] = (), limit: int = BODY_BYTES_MAX
) -> dict[str, Any]:
    """The body's fields, all of the types in `known`. Raises BadRequest with each that is not, RequestEntityTooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await request.body.read(limit)
    if raw and kind != "application/json":
        # Without any type, too: so a page of another origin can send one without asking us first (the Fetch standard).
        raise UnsupportedMediaType(f"the body must be application/json, not {kind or 'without a Content-Type'}")
    try:
        body = orjson.loads(raw or b"{}")
    except ValueError:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    causes = [Cause(name, "is not a field of this request") for name in body if name not in known]
    causes += [
        Cause(name, f"must be {SPELLED[known[name]]}")
        for name, value in body.items()
        if name in known and type(value) is not known[name]
    ]
    causes += [Cause(name, "is required") for name in required if body.get(name) in (None, "")]
    if causes:
        raise bad_fields(causes)
    return body


SPELLED: Final[Mapping[type, str]] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "an object",
}


def bad_fields(causes: Sequence[Cause]) -> BadRequest:
    """A request with fields that will not do."""
    return BadRequest("; ".join(f"{cause.field} {cause.message}" for cause in causes), causes=causes)
