"""Make a user of the kubeconfig, or change one: a client certificate with its key, or a token. What is not said stays.

Who logs in has no need of this: `starkctl auth login` and `starkctl auth kubeconfig`.

Examples:
  starkctl config set-credentials ada --client-certificate a.crt --client-key a.key --embed-certs
  starkctl config set-credentials robot --token "$(cat token)"
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import EXIT_OK, UsageError
from ..kubeconfigs import Kubeconfigs, add_kubeconfig_option, pem_of
from ..options import Session

CONNECTS = False
FILES = ("client-certificate", "client-key")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_kubeconfig_option(parser)
    parser.add_argument("name", metavar="NAME", help="the user")
    parser.add_argument("--client-certificate", metavar="FILE", help="a certificate (PEM)")
    parser.add_argument("--client-key", metavar="FILE", help="and its key (PEM)")
    parser.add_argument("--embed-certs", action="store_true", help="keep the files' contents instead of their paths")
    parser.add_argument("--token", metavar="TOKEN", help="a bearer token")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write it into the file."""
    files = {key: value for key in FILES if (value := getattr(args, key.replace("-", "_"))) is not None}
    if args.embed_certs and not files:
        raise UsageError("--embed-certs needs --client-certificate or --client-key")
    known = Kubeconfigs(args.kubeconfig)
    old = known.every("user").get(args.name)
    body = dict(old.body) if old is not None else {}
    if args.token is not None:
        body.pop("tokenFile", None)
        body["token"] = args.token
    for key, path in files.items():
        body.pop(key, None)
        body.pop(f"{key}-data", None)
        if args.embed_certs:
            body[f"{key}-data"] = pem_of(path)
        else:
            body[key] = str(Path(path).absolute())
    known.put("user", args.name, body)
    print(f'User "{args.name}" set.')
    return EXIT_OK
