"""Becoming somebody: what `auth setup`, `auth login` and `auth register` have in common, and how passwords are asked.

A password is typed without echo, or comes from $STARK_PASSWORD or, when nobody sits there, from a line of standard
input; never from the command line, where every user of the machine could read it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from .errors import CommandError, UsageError
from .finding import LOCAL_SERVER, stranger
from .home import Credentials
from .http import Api
from .login import credentials_of
from .options import Session

PASSWORD_VARIABLE = "STARK_PASSWORD"
LINE_CHARS_MAX = 4096


def password(prompt: str = "Password: ", *, again: bool = False) -> str:
    """The password; with `again`, typed twice. Raises CommandError."""
    given = os.environ.get(PASSWORD_VARIABLE)
    if given:
        return given
    if not is_terminal():
        line = typed_line()
        if not line:
            raise CommandError(f"no password: set {PASSWORD_VARIABLE}, or write it to standard input")
        return line
    import getpass

    try:
        first = getpass.getpass(prompt)
        if again and getpass.getpass("The same again: ") != first:
            raise CommandError("the two passwords differ: nothing was changed")
    except EOFError as error:
        raise CommandError("no password was given") from error
    if not first:
        raise CommandError("no password was given")
    return first


def is_terminal() -> bool:
    """Whether somebody sits there."""
    return sys.stdin is not None and sys.stdin.isatty()


def typed_line() -> str:
    """The next line of standard input; empty at its end, or when there is none."""
    return sys.stdin.readline(LINE_CHARS_MAX).rstrip("\r\n") if sys.stdin is not None else ""


def ask(prompt: str, option: str) -> str:
    """A line that a person types; `option` is what a script would have said. Raises UsageError."""
    if not is_terminal():
        raise UsageError(f"say {option}: standard input is no terminal, so nobody can be asked")
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return typed_line().strip()


def email_of(given: str | None) -> str:
    """The address, asked for when it was not given. Raises UsageError."""
    email = given or ask("E-mail: ", "--email ADDRESS")
    if not email:
        raise UsageError("an e-mail address is needed: --email ADDRESS")
    return email


def user_path(email: str) -> str:
    """Where the server has a user. Raises UsageError for what is no address."""
    if "@" not in email or "/" in email:
        raise UsageError(f"{email!r} is not an e-mail address")
    return f"/auth/users/{email.strip().lower()}"


def door(session: Session) -> Api:
    """The server, as nobody. Tells about settings of the original tool, which have no meaning here."""
    former = session.home.config().former
    if former:
        file = session.home.config_file
        print(f"note: {file}: {', '.join(former)} mean nothing here: Stark keeps its users itself", file=sys.stderr)
    return safe_for_passwords(session.keep(stranger(session.args, session.home, default=LOCAL_SERVER)))


def safe_for_passwords(api: Api) -> Api:
    """The same server. Raises CommandError when what is sent to it could be read on the way."""
    if not api.secure and not _is_loopback(api.host):
        raise CommandError(
            f"{api.config.server} has no TLS: no password is sent where everybody on the way could read it"
        )
    return api


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def sign_in(session: Session, api: Api, path: str, body: dict[str, Any]) -> Credentials:
    """POST what opens a login, and keep the login and the server that gave it. Raises ServerError, CommandError."""
    answer = api.request("POST", path, body=body)
    credentials = credentials_of(answer, api.config.server)
    with session.home.locked():
        session.home.remember_server(api.config.server, api.config.ca_data)
        session.home.save_credentials(credentials)
    user = answer["data"]["user"]
    roles = ", ".join(user.get("roles") or ()) or "no role"
    print(f"Logged in to {credentials.api_url} as {credentials.email} ({roles})")
    if os.environ.get("KUBECONFIG"):
        print("note: KUBECONFIG is set, and commands use it instead of this login: unset it", file=sys.stderr)
    return credentials
