"""Who we are to an S3-compatible object storage, found where every tool of the field looks.

Keys in the environment, web identities, containers' and machines' own roles are the storage library's business. What it
does not read are the files of `aws configure`, so they are read here: the profile that AWS_PROFILE names, or `default`.
They are read again every few minutes, so keys may be changed under a running server.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from obstore.store import S3Credential

READ_AGAIN: Final = timedelta(minutes=5)
"""How long keys from a file are used before it is read again."""
ELSEWHERE: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""With one of these in the environment nobody looks into a file, unless AWS_PROFILE says so; keys come first even then."""
UNREAD: Final = ("credential_process", "role_arn", "sso_session", "sso_account_id")
"""Ways to get keys that take another program, or a person at a browser."""


class NoCredentials(ValueError):
    """The profile is not there or has no keys; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a profile says."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str = ""
    endpoint_url: str = ""


def read_profile(environment: Mapping[str, str]) -> Profile | None:
    """The profile to use; None where the environment says who we are, or nothing does. Raises NoCredentials."""
    asked = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or ""
    if "AWS_ACCESS_KEY_ID" in environment or (not asked and any(name in environment for name in ELSEWHERE)):
        return None
    name = asked or "default"
    said = {
        **_section(
            _file(environment, "AWS_CONFIG_FILE", "config"), ("default" if name == "default" else f"profile {name}")
        ),
        **_section(_file(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials"), name),
    }
    if "aws_access_key_id" in said and "aws_secret_access_key" in said:
        return Profile(
            said["aws_access_key_id"],
            said["aws_secret_access_key"],
            said.get("aws_session_token"),
            said.get("region", ""),
            said.get("endpoint_url", ""),
        )
    if not asked:
        return None
    if not said:
        raise NoCredentials(f"there is no AWS profile {name!r}: see `aws configure list-profiles`")
    unread = ", ".join(key for key in UNREAD if key in said) or "no keys"
    raise NoCredentials(
        f"AWS profile {name!r} has {unread}: put keys into the environment,"
        f" e.g. eval $(aws configure export-credentials --profile {name} --format env)"
    )


def keys_of_profile(environment: Mapping[str, str]) -> Callable[[], S3Credential]:
    """What the storage library asks for keys, and asks again when they are to be read again."""

    def keys() -> S3Credential:
        profile = read_profile(environment)
        if profile is None:
            raise NoCredentials("the AWS profile that this server started with is no longer there")
        return {
            "access_key_id": profile.access_key_id,
            "secret_access_key": profile.secret_access_key,
            "token": profile.session_token,
            "expires_at": datetime.now(UTC) + READ_AGAIN,
        }

    return keys


def _file(environment: Mapping[str, str], variable: str, name: str) -> Path:
    return Path(environment.get(variable) or Path(environment.get("HOME", "/")) / ".aws" / name)


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(path.read_text("utf-8"))
    except OSError:
        return {}
    except (configparser.Error, UnicodeDecodeError) as error:
        raise NoCredentials(f"{path} cannot be read as a file of AWS profiles: {type(error).__name__}") from None
    return dict(parser[name]) if parser.has_section(name) else {}
