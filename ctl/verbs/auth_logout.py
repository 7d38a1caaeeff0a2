"""End the login: the server forgets it, and its tokens are removed from ~/.stark.

Examples:
  starkctl auth logout
"""

from __future__ import annotations

import argparse
import sys

from ..errors import EXIT_OK, CommandError
from ..finding import kept_login, read_authority
from ..http import Api
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """There is nothing to say."""


def run(args: argparse.Namespace, session: Session) -> int:
    """Tell the server, then forget. A server that cannot be told keeps no one from forgetting."""
    home = session.home
    login = kept_login(home, insecure=args.insecure, authority=read_authority(args.ca_file))
    if login is None:
        print("not logged in")
        return EXIT_OK
    try:
        api = session.keep(Api(login.config, login, timeout_s=args.request_timeout))
        login.token()  # renewed first, so that it is the latest refresh token that is ended
        api.request("POST", "/auth/logout", body={"refreshToken": login.credentials.refresh_token})
    except CommandError as error:
        print(f"warning: the server could not be told: {error}", file=sys.stderr)
    with home.locked():
        home.forget_credentials()
    print(f"logged out of {login.credentials.api_url}")
    return EXIT_OK
