"""`/encryption`: which keys the store is under, and changing them. For administrators, as the authorizer knows them."""

from __future__ import annotations

from collections.abc import Sequence

from ..auth.authorization import AuthorizationAttributes, Authorizer, forbidden
from ..encryption.configuration import BadConfiguration
from ..encryption.upkeep import KeyInUse, KeyUpkeep
from ..errors import Conflict, NotFound, ServiceUnavailable
from ..request import Answer, Request
from ..store.protocol import StoreError
from .envelope import success
from .facade import Route

PATH = "/encryption"


class EncryptionKeys:
    """The handlers; without `upkeep`, over a store that is not encrypted, there is nothing here."""

    def __init__(self, upkeep: KeyUpkeep | None, authorizer: Authorizer) -> None:
        self._upkeep, self._authorizer = upkeep, authorizer

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", PATH, self.status),
            Route("POST", f"{PATH}/rotate", self.rotate),
            Route("POST", f"{PATH}/reencrypt", self.reencrypt),
            Route("DELETE", f"{PATH}/keys/*", self.retire),
        )

    async def status(self, request: Request, found: Sequence[str]) -> Answer:
        """The keys and how many values are under each."""
        return await self._answer(await self._allowed(request))

    async def rotate(self, request: Request, found: Sequence[str]) -> Answer:
        """A new key from now on; the answer does not wait for the re-encryption."""
        upkeep = await self._allowed(request)
        try:
            await upkeep.rotate()
        except BadConfiguration as error:
            raise Conflict(str(error)) from error
        return await self._answer(upkeep, 202)

    async def reencrypt(self, request: Request, found: Sequence[str]) -> Answer:
        """Bring all values under the writing key."""
        upkeep = await self._allowed(request)
        upkeep.want()
        return await self._answer(upkeep, 202)

    async def retire(self, request: Request, found: Sequence[str]) -> Answer:
        """Give up a key that opens nothing any more."""
        upkeep = await self._allowed(request)
        try:
            await upkeep.retire(found[0])
        except LookupError as error:
            raise NotFound(str(error.args[0])) from error
        except (KeyInUse, BadConfiguration) as error:
            raise Conflict(str(error)) from error
        except StoreError as error:
            raise ServiceUnavailable(str(error)) from error
        return await self._answer(upkeep)

    async def _allowed(self, request: Request) -> KeyUpkeep:
        """Raises Forbidden, NotFound."""
        assert request.user is not None, request.path
        asked = AuthorizationAttributes(request.user, request.method.lower(), path=request.path)
        decision = await self._authorizer.authorize(asked)
        if not decision.is_outright:
            raise forbidden(asked, decision)
        if self._upkeep is None:
            raise NotFound("this store is not encrypted")
        return self._upkeep

    async def _answer(self, upkeep: KeyUpkeep, code: int = 200) -> Answer:
        try:
            return success({"encryption": await upkeep.status()}, code)
        except StoreError as error:
            raise ServiceUnavailable(str(error)) from error
