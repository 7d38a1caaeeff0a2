"""Print a kubeconfig with which kubectl, and every client that knows credential programs, uses the login.

It holds no secret: its user runs `starkctl auth token`, which renews the login when that is needed.

Examples:
  starkctl auth kubeconfig > stark.kubeconfig
  kubectl --kubeconfig stark.kubeconfig get pods
"""

from __future__ import annotations

import argparse
import base64
import os
from typing import Any

from ..errors import EXIT_OK, CommandError
from ..finding import kept_login, read_authority
from ..options import Session
from ..output import print_object
from .auth_token import API_VERSIONS

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-n", "--namespace", metavar="NAME", help="the context's namespace (default: config.json's)")
    parser.add_argument("--ca-file", metavar="FILE", help="trust this CA certificate (PEM) and no other")
    parser.add_argument("-k", "--insecure", action="store_true", help="do not check the server's certificate")
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print it."""
    login = kept_login(session.home, insecure=args.insecure, authority=read_authority(args.ca_file))
    if login is None:
        raise CommandError("not logged in: `starkctl auth login`")
    cluster: dict[str, Any] = {"server": login.config.server}
    if args.insecure:
        cluster["insecure-skip-tls-verify"] = True
    elif login.config.ca_data:
        cluster["certificate-authority-data"] = base64.b64encode(login.config.ca_data).decode()
    context: dict[str, Any] = {"cluster": "stark", "user": login.credentials.email}
    namespace = args.namespace or session.home.config().default_namespace
    if namespace:
        context["namespace"] = namespace
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stark", "cluster": cluster}],
        "users": [{"name": login.credentials.email, "user": {"exec": _program(args.insecure)}}],
        "contexts": [{"name": "stark", "context": context}],
        "current-context": "stark",
    }
    print_object(body, args.output)
    return EXIT_OK


def _program(insecure: bool) -> dict[str, Any]:
    home = os.environ.get("STARK_HOME")
    return {
        "apiVersion": API_VERSIONS[0],
        "command": "starkctl",
        "args": ["auth", "token", *(["--insecure"] if insecure else [])],
        **({"env": [{"name": "STARK_HOME", "value": os.path.abspath(home)}]} if home else {}),
        # With it the command refuses to hand the token to a server that did not give it.
        "provideClusterInfo": True,
        "interactiveMode": "Never",
        "installHint": "starkctl is not in the PATH: it comes with Stark; then log in with `starkctl auth login`",
    }
