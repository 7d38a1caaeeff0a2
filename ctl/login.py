"""The login in ~/.stark as an identity: the access token, renewed by its refresh token before its hour is over.

A refresh token may be used once; the server takes a second use for theft and ends the login. So renewing happens under a
lock, and whoever gets the lock looks first whether another starkctl has already done it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .errors import CommandError, ServerError, Unreachable
from .home import Credentials, Home

if TYPE_CHECKING:
    from stark.client.config import ClientConfig

REFRESH_AHEAD = timedelta(seconds=60)
"""An access token with less time left is renewed first: a command should not end in the middle."""
TRANSIENT = (429, 500, 502, 503, 504)


class LoggedIn:
    """The login of one server."""

    def __init__(self, home: Home, credentials: Credentials, config: ClientConfig, *, timeout_s: float) -> None:
        self._home = home
        self._held = credentials
        self.config = config
        """The server, without any identity."""
        self._timeout_s = timeout_s

    @property
    def credentials(self) -> Credentials:
        """The login as it is now."""
        return self._held

    def token(self) -> str:
        """An access token with some time left. Raises CommandError when the login has ended."""
        if time_left(self._held) < REFRESH_AHEAD:
            try:
                self._refresh(self._held)
            except (ServerError, Unreachable) as error:
                if time_left(self._held) <= timedelta(0) or _is_final(error):
                    raise self._ended(error) if _is_final(error) else error from error
        return self._held.access_token

    def certificate(self) -> tuple[bytes, bytes] | None:
        """None: people are known by their tokens."""
        return None

    def renew(self) -> bool:
        """The server's clock, or a key of its own, says that the token is over before we thought so."""
        refused = self._held
        try:
            self._refresh(refused)
        except ServerError as error:
            if _is_final(error):
                raise self._ended(error) from error
            raise
        return self._held.access_token != refused.access_token

    def _refresh(self, known: Credentials) -> None:
        """Replace `known`, or take over what somebody else has replaced it with. Raises ServerError, Unreachable."""
        with self._home.locked():
            current = self._home.credentials()
            if current is None or (current.api_url, current.user_id) != (known.api_url, known.user_id):
                raise CommandError(f"the login of {known.email} was ended meanwhile: run `starkctl auth login`")
            if current.access_token == known.access_token:
                current = self._exchanged(current)
                self._home.save_credentials(current)
            self._held = current

    def _exchanged(self, current: Credentials) -> Credentials:
        from .http import Api

        api = Api(self.config, timeout_s=self._timeout_s)
        try:
            answer = api.request("POST", "/auth/refresh", body={"refreshToken": current.refresh_token})
        finally:
            api.close()
        return credentials_of(answer, current.api_url)

    def _ended(self, error: Exception) -> CommandError:
        held = self._held
        return CommandError(
            f"the login of {held.email} at {held.api_url} has ended ({error}): run `starkctl auth login`"
        )


def credentials_of(answer: dict[str, Any], api_url: str) -> Credentials:
    """The login that the server's answer to setup, login, register or refresh gives. Raises CommandError."""
    data = answer.get("data") or {}
    try:
        user = data["user"]
        return Credentials(
            api_url=api_url,
            access_token=str(data["accessToken"]),
            refresh_token=str(data["refreshToken"]),
            expires_at=str(data["expiresAt"]),
            user_id=str(user["id"]),
            email=str(user["email"]),
        )
    except (KeyError, TypeError) as error:
        raise CommandError(f"{api_url} answered without tokens: is it a Stark API server?") from error


def time_left(credentials: Credentials) -> timedelta:
    """Until the access token is over, by our own clock; nothing when its time cannot be read."""
    try:
        moment = datetime.fromisoformat(credentials.expires_at)
    except ValueError:
        return timedelta(0)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)


def _is_final(error: Exception) -> bool:
    return isinstance(error, ServerError) and error.code not in TRANSIENT
