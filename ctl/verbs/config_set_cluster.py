"""Make a cluster of the kubeconfig, or change one: where its server is, and whom to trust. What is not said stays.

Examples:
  starkctl config set-cluster stark --server https://stark.example.com:6443
  starkctl config set-cluster stark --certificate-authority ca.crt --embed-certs
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import EXIT_OK, UsageError
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option, pem_of
from ..options import Session

CONNECTS = False
AUTHORITY = "certificate-authority"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)
    parser.add_argument("name", metavar="NAME", help="the cluster")
    parser.add_argument("--server", metavar="URL", help="its API server")
    parser.add_argument(f"--{AUTHORITY}", metavar="FILE", help="who signs the server's certificate (PEM)")
    parser.add_argument("--embed-certs", action="store_true", help="keep the file's content instead of its path")
    parser.add_argument("--tls-server-name", metavar="NAME", help="the name in the server's certificate")
    parser.add_argument(
        "--insecure-skip-tls-verify",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="believe any certificate (last resort)",
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Write it into the file."""
    if args.server is not None and not args.server.startswith(("https://", "http://")):
        raise UsageError(f"--server {args.server}: expected a URL like https://127.0.0.1:6443")
    known = Kubeconfigs(args.kubeconfig)
    old = known.every("cluster").get(args.name)
    body = dict(old.body) if old is not None else {}
    for key in ("server", "tls-server-name"):
        value = getattr(args, key.replace("-", "_"))
        if value is not None:
            body[key] = value
    if args.insecure_skip_tls_verify is not None:
        body["insecure-skip-tls-verify"] = args.insecure_skip_tls_verify
    if args.certificate_authority is not None:
        for key in (AUTHORITY, f"{AUTHORITY}-data", "insecure-skip-tls-verify"):
            body.pop(key, None)
        if args.embed_certs:
            body[f"{AUTHORITY}-data"] = pem_of(args.certificate_authority)
        else:
            body[AUTHORITY] = str(Path(args.certificate_authority).absolute())
    elif args.embed_certs:
        raise UsageError(f"--embed-certs needs --{AUTHORITY}")
    known.put("cluster", args.name, body)
    print(f'Cluster "{args.name}" set.')
    return EXIT_OK
