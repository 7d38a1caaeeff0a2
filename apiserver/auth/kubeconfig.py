"""Kubeconfig files with everything embedded, and the command that issues them.

`stark-apiserver kubeconfig --data-dir DIR --identity admin|controllers|node:<name> --server URL --out FILE` works
beside a running server, since it needs only the authority's files. The file holds a private key: mode 0600, replaced
in one step.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from .files import write_whole
from .identities import UnknownIdentity, parse_identity
from .pki import Authority, Credential, PkiError

CLUSTER_NAME = "stark"
EXIT_ERROR = 1
EXIT_USAGE = 2


def kubeconfig(*, server: str, ca_pem: bytes, credential: Credential, user: str) -> bytes:
    """A kubeconfig with one cluster, one user and one context.

    Written as JSON, which is YAML too: starkctl then need not import a YAML parser, which costs it a Python start.
    """

    def embedded(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    context = f"{user}@{CLUSTER_NAME}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": CLUSTER_NAME, "cluster": {"server": server, "certificate-authority-data": embedded(ca_pem)}}
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": embedded(credential.certificate_pem),
                    "client-key-data": embedded(credential.key_pem),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": CLUSTER_NAME, "user": user}}],
        "current-context": context,
        "preferences": {},
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def write_kubeconfig(path: Path, *, server: str, ca_pem: bytes, credential: Credential, user: str) -> None:
    """Write the kubeconfig of one identity to `path`. Raises OSError."""
    write_whole(path, kubeconfig(server=server, ca_pem=ca_pem, credential=credential, user=user))


def issue_kubeconfig(
    authority: Authority, identity_text: str, *, server: str, path: Path, hosts: tuple[str, ...] = ()
) -> None:
    """Issue a certificate for `admin`, `controllers` or `node:<name>` and write its kubeconfig. Raises UnknownIdentity."""
    identity = parse_identity(identity_text)
    credential = authority.issue(identity, hosts=hosts)
    write_kubeconfig(path, server=server, ca_pem=authority.certificate_pem, credential=credential, user=identity.user)


def add_kubeconfig_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `kubeconfig` command; parsed arguments carry `run`, a function of them to an exit code."""
    parser = commands.add_parser("kubeconfig", help="issue a client certificate and write a kubeconfig with it")
    parser.add_argument("--data-dir", type=Path, required=True, help="the API server's data directory")
    parser.add_argument("--identity", required=True, metavar="admin|controllers|node:<name>")
    parser.add_argument("--server", required=True, metavar="URL", help="https://host:port of the API server")
    parser.add_argument("--address", action="append", default=[], metavar="IP", help="an address of the node")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.set_defaults(run=run_kubeconfig_command)


def run_kubeconfig_command(arguments: argparse.Namespace) -> int:
    """Carry out the `kubeconfig` command. Returns 0, 1 after an error, 2 for arguments that cannot work."""
    url = urlsplit(arguments.server)
    if url.scheme != "https" or not url.hostname:
        return _complain(f"--server must be https://host[:port], not {arguments.server!r}", EXIT_USAGE)
    try:
        parse_identity(arguments.identity)
        authority = Authority.open(arguments.data_dir / "pki")
        issue_kubeconfig(
            authority,
            arguments.identity,
            server=arguments.server,
            path=arguments.out,
            hosts=tuple(arguments.address),
        )
    except UnknownIdentity as error:
        return _complain(str(error), EXIT_USAGE)
    except (PkiError, OSError) as error:
        return _complain(str(error), EXIT_ERROR)
    return 0


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"stark-apiserver kubeconfig: {message}\n")
    return code
