"""Print an access token for the login, renewed when its time is short; as kubectl's credential programs print it.

A kubeconfig whose user runs this command gives every Kubernetes client the login: see `starkctl auth kubeconfig`.

Examples:
  starkctl auth token
  curl -H "Authorization: Bearer $(starkctl auth token --raw)" https://127.0.0.1:6443/api
"""

from __future__ import annotations

import argparse
import json
import os

from ..errors import EXIT_OK, CommandError
from ..finding import kept_login, read_authority
from ..options import Session

CONNECTS = False
INFO_VARIABLE = "KUBERNETES_EXEC_INFO"
API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--raw", action="store_true", help="the token alone, not an ExecCredential")
    parser.add_argument("--server", metavar="URL", help="refuse when the login is at another server")
    parser.add_argument("--ca-file", metavar="FILE", help="trust this CA certificate (PEM) and no other")
    parser.add_argument("-k", "--insecure", action="store_true", help="do not check the server's certificate")


def run(args: argparse.Namespace, session: Session) -> int:
    """Renew if need be, and print."""
    api_version, asked_by = _asked(os.environ.get(INFO_VARIABLE, ""))
    login = kept_login(session.home, insecure=args.insecure, authority=read_authority(args.ca_file))
    if login is None:
        raise CommandError("not logged in: `starkctl auth login`")
    for server in (args.server, asked_by):
        if server and server.rstrip("/") != login.config.server:
            raise CommandError(f"the login is at {login.config.server}, and the token is wanted for {server}")
    token = login.token()
    if args.raw:
        print(token)
        return EXIT_OK
    status = {"token": token, "expirationTimestamp": login.credentials.expires_at}
    print(json.dumps({"apiVersion": api_version, "kind": "ExecCredential", "status": status}))
    return EXIT_OK


def _asked(text: str) -> tuple[str, str]:
    """The version of the answer that is wanted, and for which server, when that was said."""
    if not text:
        return API_VERSIONS[0], ""
    try:
        info = json.loads(text)
        wanted = str(info.get("apiVersion"))
        server = str((((info.get("spec") or {}).get("cluster")) or {}).get("server") or "")
    except (ValueError, AttributeError) as error:
        raise CommandError(f"{INFO_VARIABLE} is no ExecCredential") from error
    if wanted not in API_VERSIONS:
        raise CommandError(f"{INFO_VARIABLE} asks for {wanted}: starkctl speaks {', '.join(API_VERSIONS)}")
    return wanted, server
