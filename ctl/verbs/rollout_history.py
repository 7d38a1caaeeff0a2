"""List the revisions of a workload, or show what one of them ran.

Examples:
  starkctl rollout history deployment/web
  starkctl rollout history deployment/web --revision 2
  starkctl rollout history daemonset/logs --revision 1 -o yaml
"""

from __future__ import annotations

import argparse
import sys

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..output import print_object, text_table, visible
from ..rollouts import Object, Revision, revisions, workloads


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="+", metavar="TYPE/NAME", help="whose history, e.g. deployment/web")
    parser.add_argument("--revision", type=int, default=0, metavar="N", help="show this one whole")
    parser.add_argument("-o", "--output", choices=("yaml", "json"), help="print the template, or all templates, so")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print the table, or one template."""
    for workload in workloads(args.what, session):
        live = session.api.get(workload.path)
        kept = revisions(session, workload, live)
        if args.revision:
            kept = [revision for revision in kept if revision.number == args.revision]
            if not kept:
                raise CommandError("unable to find the specified revision")
        if args.output:
            for revision in kept:
                print_object(
                    {"revision": revision.number, "changeCause": revision.cause, **revision.template}, args.output
                )
            continue
        if args.revision:
            print(f"{workload.label} with revision #{args.revision}")
            sys.stdout.write(described(kept[0]))
            continue
        print(workload.label)
        rows = [[str(revision.number), revision.cause or "<none>"] for revision in kept]
        sys.stdout.write(text_table(["REVISION", "CHANGE-CAUSE"], rows) + "\n")
    return EXIT_OK


def described(revision: Revision) -> str:
    """A template as `describe` shows it: what differs from revision to revision, and no more."""
    metadata, spec = revision.template.get("metadata") or {}, revision.template.get("spec") or {}
    lines = ["Pod Template:", f"  Labels:\t{_joined(metadata.get('labels'))}"]
    lines.append(f"  Annotations:\t{_joined(metadata.get('annotations'))}")
    lines.append(f"  Change cause:\t{revision.cause or '<none>'}")
    lines.append("  Containers:")
    for container in spec.get("containers") or ():
        lines += _container(container)
    lines.append(f"  Node-Selectors:\t{_joined(spec.get('nodeSelector'))}")
    return visible_lines(lines)


def visible_lines(lines: list[str]) -> str:
    """The lines with tabs between name and value, and nothing that gives orders to a terminal."""
    return "".join(f"{visible(line)}\n" for line in lines)


def _container(container: Object) -> list[str]:
    lines = [f"   {container.get('name')}:", f"    Image:\t{container.get('image')}"]
    for name in ("command", "args"):
        if container.get(name):
            lines.append(f"    {name.capitalize()}:\t{' '.join(container[name])}")
    amounts = container.get("resources") or {}
    lines += [
        f"    {kind.capitalize()}:\t{_joined(amounts[kind])}" for kind in ("limits", "requests") if amounts.get(kind)
    ]
    ports = [f"{port['containerPort']}/{port.get('protocol', 'TCP')}" for port in container.get("ports") or ()]
    if ports:
        lines.append(f"    Ports:\t{', '.join(ports)}")
    lines += [
        f"    Env {each['name']}:\t{each.get('value', '<from elsewhere>')}" for each in container.get("env") or ()
    ]
    return lines


def _joined(mapping: Object | None) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted((mapping or {}).items())) or "<none>"
