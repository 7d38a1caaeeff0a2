"""Forward ports of this machine to ports of a pod, until Ctrl-C or the end of the pod.

Examples:
  starkctl port-forward web-7d9c-x2x 8080:80             8080 here is 80 there
  starkctl port-forward deployment/web 5000 6000         the same ports here and there
  starkctl port-forward service/web :80                  a free port here
  starkctl port-forward --address 0.0.0.0 pod/web 8080:http
"""

from __future__ import annotations

import argparse

from ..entering import enterable, pod_of
from ..errors import EXIT_OK, CommandError
from ..forwarding import Forwarder, parse_port, remote_port
from ..options import Session
from ..targets import parse_targets


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "what", metavar="POD | TYPE/NAME", help="a pod, a service, or a workload such as deployment/web"
    )
    parser.add_argument(
        "ports", nargs="+", metavar="[LOCAL:]REMOTE", help="port here and there, by number or name; `:REMOTE`: any here"
    )
    parser.add_argument(
        "--address",
        action="append",
        metavar="ADDRESS",
        help="listen at this address, may be repeated (default: localhost, which is 127.0.0.1 and ::1)",
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Forward until interrupted."""
    ports = [parse_port(text) for text in args.ports]
    pod = pod_of(session, args.what)
    enterable(pod, "forward to")
    phase = (pod.get("status") or {}).get("phase")
    if phase != "Running":
        raise CommandError(f"unable to forward port because pod is not running. Current status={phase}")
    service = _service(session, args.what)
    meant = [(local, remote_port(remote, pod, service)) for local, remote in ports]
    pairs = [(remote if local is None else local, remote) for local, remote in meant]
    addresses = [one for given in args.address or ["localhost"] for one in given.split(",")]
    with Forwarder(session.api, pod) as forwarder:
        for local, remote in pairs:
            forwarder.listen(addresses, local, remote)
        try:
            forwarder.run()
        except KeyboardInterrupt:
            return EXIT_OK


def _service(session: Session, what: str) -> dict[str, object] | None:
    if "/" not in what:
        return None
    (target,) = parse_targets([what], session.catalog)
    if target.kind.plural != "services":
        return None
    return session.api.get(target.kind.path(session.namespace, target.names[0]))
