"""`/auth/*` for people themselves: setting up, registering, logging in and out, new tokens, a new password."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from stark.crds.users import EMAIL_LENGTH_MAX, USER_ROLES

from ..auth.buckets import network_of
from ..auth.identities import is_admin
from ..auth.passwords import Passwords, problems
from ..auth.sessions.authenticator import SESSION_EXTRA, Person
from ..auth.sessions.sessions import Pair, Sessions
from ..bootstrap import SERVER
from ..cluster_config import ClusterSettings
from ..errors import AlreadyExists, Cause, Conflict, Forbidden
from ..people import KnownPeople, Registrar, password_key, person_of
from ..request import Answer, Request, User
from ..times import timestamp
from .envelope import CredentialsRefused, success
from .facade import Route, bad_fields, read_fields
from .guessing import Guessing
from .permission import somebody

DEFAULT_ROLE: Final = "viewer"
SELF_ROLES: Final = ("user", "node", "viewer")
"""What those who register themselves may ask for."""
ACCOUNT: Final = "authentication.stark.dev/account"
"""Note for the audit log: whose account a request was about that came without proof of who sent it."""
NEW_ACCOUNT: Final[Mapping[str, type]] = {"email": str, "password": str, "displayName": str}

log = structlog.get_logger(__name__)
Object = Mapping[str, Any]


class Accounts:
    """The handlers."""

    def __init__(
        self,
        people: KnownPeople,
        registrar: Registrar,
        passwords: Passwords,
        sessions: Sessions,
        config: ClusterSettings,
        guessing: Guessing,
        registry: CollectorRegistry,
    ) -> None:
        self._people, self._registrar, self._passwords = people, registrar, passwords
        self._sessions, self._config, self._guessing = sessions, config, guessing
        self._counted = Counter(
            "stark_login_attempts_total", "Logins, by what came of them.", ("outcome",), registry=registry
        )

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", "/auth/setup/status", self.setup_status),
            Route("POST", "/auth/setup", self.setup),
            Route("POST", "/auth/register", self.register),
            Route("POST", "/auth/login", self.login),
            Route("POST", "/auth/refresh", self.refresh),
            Route("POST", "/auth/logout", self.logout),
            Route("POST", "/auth/password", self.change_password),
            Route("GET", "/auth/me", self.me),
        )

    async def setup_status(self, request: Request, found: Sequence[str]) -> Answer:
        """Whether the first administrator is still to be made, and whether anybody may register."""
        return success(
            {"needsSetup": await self._needs_setup(), "registrationEnabled": self._config.allows_registration}
        )

    async def _needs_setup(self) -> bool:
        return not await self._registrar.was_set_up() and not await self._people.exist()

    async def setup(self, request: Request, found: Sequence[str]) -> Answer:
        """Make the first administrator: of all who try, one."""
        fields = await read_fields(request, NEW_ACCOUNT, ("email", "password"))
        spec = new_spec(fields, ["admin"])
        await self._guessing.registration(network_of(request.peer.address))
        if not await self._needs_setup():
            raise Conflict("the cluster has its first administrator already: log in")
        hashed = await self._passwords.hash(fields["password"])
        try:
            user = await self._registrar.create(spec, hashed, SERVER, is_setup=True)
        except (AlreadyExists, Conflict):
            raise Conflict("the cluster has its first administrator already: log in") from None
        log.info("the first administrator was set up", user=spec["email"], peer=request.peer.address)
        return await self._logged_in(request, user, 201)

    async def register(self, request: Request, found: Sequence[str]) -> Answer:
        """Make a user: anybody for themselves when the cluster allows it, an administrator for anybody always."""
        fields = await read_fields(request, {**NEW_ACCOUNT, "roles": list}, ("email", "password"))
        by = request.user if request.user is not None and is_admin(request.user) else None
        if by is None and not self._config.allows_registration:
            raise Forbidden("registration is closed: ask an administrator for an account")
        spec = new_spec(fields, fields.get("roles") or [DEFAULT_ROLE])
        if by is None:
            beyond = sorted(set(spec["roles"]) - set(SELF_ROLES))
            if beyond:
                raise Forbidden(f"the role {', '.join(beyond)} is given by administrators only")
            await self._guessing.registration(network_of(request.peer.address))
        user = await create_user(self._registrar, self._passwords, spec, fields["password"], by)
        log.info("a user registered", user=spec["email"], roles=spec["roles"], peer=request.peer.address)
        return await self._logged_in(request, user, 201)

    async def login(self, request: Request, found: Sequence[str]) -> Answer:
        """Tokens for an address and its password."""
        fields = await read_fields(request, {"email": str, "password": str}, ("email", "password"))
        # What is longer than any address is nobody's, and is not remembered as a whole.
        email = normal_email(fields["email"])[: EMAIL_LENGTH_MAX + 1]
        address = network_of(request.peer.address)
        async with self._guessing.attempt(email, address) as attempt:
            entry = await self._people.entry(email)
            user = None if entry is None else entry.decode()
            if user is not None:
                request.audit[ACCOUNT] = email
            known = None if user is None else await self._registrar.password(user["metadata"]["uid"])
            good = await self._passwords.matches(fields["password"], known.hash if known is not None else None)
            attempt.judge(good=good)
        if user is None or known is None or not good:
            self._counted.labels("refused").inc()
            # Of nobody we know, nothing is repeated: people type passwords where the address belongs.
            log.warning("a login was refused", user=email if user is not None else "unknown", peer=address)
            raise CredentialsRefused("the address or the password is wrong")
        person = await self._people.find(email) or person_of(user)  # as of now: the hash took its time
        if person.disabled:
            self._counted.labels("disabled").inc()
            log.warning("a login of a disabled user was refused", user=email, peer=address)
            raise Forbidden("this account is locked: ask an administrator")
        renewed = await self._passwords.hash(fields["password"]) if self._passwords.is_outdated(known.hash) else ""
        answer = await self._logged_in(request, user, 200, {password_key(person.uid): known.version})
        if renewed:
            await self._registrar.set_password_hash(person.uid, renewed, instead_of=known)
        self._counted.labels("good").inc()
        log.info("a user logged in", user=email, peer=address)
        return answer

    async def refresh(self, request: Request, found: Sequence[str]) -> Answer:
        """New tokens for a refresh token, which is good once."""
        fields = await read_fields(request, {"refreshToken": str}, ("refreshToken",))
        pair = await self._sessions.refresh(fields["refreshToken"])
        entry = await self._people.entry(pair.email) if pair is not None else None
        user = entry.decode() if entry is not None else None
        if pair is not None and (user is None or not _is_theirs(person_of(user), pair)):
            await self._sessions.end(pair.uid, pair.sid)
            pair = None
        if pair is None or user is None:
            raise CredentialsRefused("the refresh token is not good any more: log in again")
        return success(tokens_answer(user, pair))

    async def logout(self, request: Request, found: Sequence[str]) -> Answer:
        """End the session that asks, whose tokens are good for nothing from now on."""
        await read_fields(request, {"refreshToken": str})
        user = somebody(request)
        for sid in user.extra.get(SESSION_EXTRA, ()):
            await self._sessions.end(user.uid, sid)
            log.info("a user logged out", user=user.name, session_id=sid)
        return success({})

    async def change_password(self, request: Request, found: Sequence[str]) -> Answer:
        """A new password for whoever knows the old one. Their other sessions end."""
        fields = await read_fields(
            request, {"currentPassword": str, "newPassword": str}, ("currentPassword", "newPassword")
        )
        user, person = await self._person(request)
        known = await self._registrar.password(person.uid)
        async with self._guessing.attempt(person.email, network_of(request.peer.address)) as attempt:
            good = await self._passwords.matches(fields["currentPassword"], known.hash if known is not None else None)
            attempt.judge(good=good)
        if not good:
            raise CredentialsRefused("the current password is wrong")
        check_password(fields["newPassword"], "newPassword")
        hashed = await self._passwords.hash(fields["newPassword"])
        if not await self._registrar.set_password_hash(person.uid, hashed, instead_of=known):
            raise Conflict("the password was changed by somebody else meanwhile: log in again")
        own = next(iter(user.extra.get(SESSION_EXTRA, ())), "")
        ended = await self._sessions.end_all(person.uid, but=own)
        log.info("a user changed their password", user=person.email, sessions_ended=ended)
        return success({})

    async def me(self, request: Request, found: Sequence[str]) -> Answer:
        """Who asks, as every rule sees them."""
        user = somebody(request)
        return success({"username": user.name, "uid": user.uid, "groups": list(user.groups)})

    async def _person(self, request: Request) -> tuple[User, Person]:
        """Raises Unauthorized, Forbidden for whoever is no User: certificates have no passwords."""
        user = somebody(request)
        person = await self._people.find(user.name)
        if person is None or person.uid != user.uid:
            raise Forbidden(f"{user.name} has no password: only users who log in have one")
        return user, person

    async def _logged_in(
        self, request: Request, user: Object, status: int, proof: Mapping[str, int] | None = None
    ) -> Answer:
        person = person_of(user)
        request.audit[ACCOUNT] = person.email
        agent = request.headers.get("user-agent", "")
        address = request.peer.address
        pair = await self._sessions.begin(person.uid, person.email, address=address, agent=agent, proof=proof)
        return success(tokens_answer(user, pair), status)


def _is_theirs(person: Person, pair: Pair) -> bool:
    return person.uid == pair.uid and not person.disabled


async def create_user(
    registrar: Registrar, passwords: Passwords, spec: Mapping[str, Any], password: str, by: User | None
) -> Object:
    """A new user with a password, made by an administrator or, without `by`, by themselves.

    Raises Conflict for an address that is taken, Forbidden.
    """
    hashed = await passwords.hash(password)
    try:
        return await registrar.create(spec, hashed, by or SERVER, is_own_wish=by is None)
    except AlreadyExists:
        raise Conflict(f"there is a user {spec['email']} already") from None
    except Conflict:
        raise Conflict(f"there was a user {spec['email']} before: ask an administrator for the account") from None


def normal_email(given: str) -> str:
    """The address as it is compared."""
    return given.strip().lower()


def new_spec(fields: Mapping[str, Any], roles: Sequence[Any]) -> dict[str, Any]:
    """The spec of a new user from the fields of a request. Raises BadRequest; the schema judges the rest."""
    causes = [Cause("password", problem) for problem in problems(fields["password"])]
    unknown = [role for role in roles if role not in USER_ROLES]
    if unknown:
        causes.append(Cause("roles", f"must be of {', '.join(USER_ROLES)}, not {', '.join(map(str, unknown))}"))
    if causes:
        raise bad_fields(causes)
    name = (fields.get("displayName") or "").strip() or None
    return {"email": normal_email(fields["email"]), "displayName": name, "roles": list(dict.fromkeys(roles))}


def check_password(password: str, field: str) -> None:
    """Raises BadRequest for one that will not do."""
    causes = [Cause(field, problem) for problem in problems(password)]
    if causes:
        raise bad_fields(causes)


def shown_user(user: Object) -> dict[str, Any]:
    """A user as the facade shows them."""
    spec, metadata = user["spec"], user["metadata"]
    return {
        "id": metadata["uid"],
        "email": spec["email"],
        "displayName": spec.get("displayName") or "",
        "roles": list(spec.get("roles") or ()),
        "disabled": bool(spec.get("disabled")),
        "createdAt": metadata["creationTimestamp"],
    }


def tokens_answer(user: Object, pair: Pair) -> dict[str, Any]:
    """What a login gives out."""
    return {
        "user": shown_user(user),
        "accessToken": pair.access_token,
        "refreshToken": pair.refresh_token,
        "expiresAt": timestamp(datetime.fromtimestamp(pair.expires_s, UTC)),
    }
