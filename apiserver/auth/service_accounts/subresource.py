"""The request around a TokenRequest: read, put before admission, answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from ...admission.attributes import Attributes
from ...errors import MethodNotAllowed
from ...registry.options import Target, writing
from ...registry.refusals import no_such_path
from ...request import Request, Response
from .requests import GROUP, KIND, TokenRequests

ReadBody = Callable[[Request, str, str], Awaitable[dict[str, Any]]]
"""The body of a request, which must be of this apiVersion and kind."""
Admit = Callable[[Attributes], Awaitable[None]]


class TokenSubresource:
    """The handler of `serviceaccounts/token`."""

    def __init__(self, requests: TokenRequests, read_body: ReadBody, admit: Admit) -> None:
        self._requests, self._read_body, self._admit = requests, read_body, admit

    async def answer(self, request: Request, target: Target, rest: Sequence[str]) -> Response:
        """A token, with 201. Raises ApiError."""
        if rest:
            raise no_such_path()
        if request.method != "POST":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        assert request.user is not None, request.path
        body = await self._read_body(request, f"{GROUP}/v1", KIND)
        options = writing(request.query, request.user, request.warnings)
        attributes = Attributes(
            "CREATE",
            target.resource,
            target.subresource,
            target.namespace,
            target.name,
            body,
            None,
            request.user,
            options.dry_run,
            request.warnings,
            request.audit,
            kind=(GROUP, "v1", KIND),
        )
        await self._admit(attributes)
        assert attributes.object is not None, target
        issued = await self._requests.issue(target.namespace, target.name, attributes.object, request.warnings)
        return Response(201, orjson.dumps(issued))
