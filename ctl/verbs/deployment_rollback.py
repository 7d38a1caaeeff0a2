"""Roll a deployment back to another version of its pack: the one it ran before, or the one that is named.

Only the version changes; the rest of the template stays. A deployment that follows the latest release stops following,
or it would move on again at once. `deployment undo` goes back to a whole template instead.

Examples:
  starkctl deployment rollback web
  starkctl deployment rollback web -V 1.1.0 -r "1.2.0 loses orders"
"""

from __future__ import annotations

import argparse

from stark.crds.annotations import CHANGE_CAUSE, FOLLOW_LATEST, flag
from stark.crds.images import PackRef
from stark.crds.packpods import images_in, packs_of

from ..deployments import read, workload
from ..errors import EXIT_OK, CommandError
from ..finding_packs import pack_object
from ..options import Session
from ..rollouts import STRATEGIC, Revision, revisions
from ..running import image_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="the deployment")
    parser.add_argument("-V", "--ver", metavar="VERSION", help="to this version (default: the one it ran before)")
    parser.add_argument("-r", "--reason", default="", metavar="TEXT", help="why, for the history")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the version into every container that runs the pack."""
    found = workload(session, args.name)
    live = read(session, found)
    packs = packs_of(live["spec"]["template"]["spec"])
    if not packs:
        raise CommandError(
            f"{found.label} runs no pack: `starkctl deployment undo {found.name}` goes back to a template"
        )
    _, pack, current = packs[0]
    version = args.ver or previous_version(revisions(session, found, live), pack, current)
    if version == current:
        raise CommandError(f"{found.label} runs {pack} {version} already")
    image = image_of(pack, version)
    pack_object(session, PackRef(pack, version))
    follows = flag(live["metadata"].get("annotations"), FOLLOW_LATEST)
    cause = f"rollback: {pack} {current} -> {version}{f': {args.reason}' if args.reason else ''}"
    lists = images_in(live["spec"]["template"]["spec"], pack, image)
    notes = {CHANGE_CAUSE: cause, **({FOLLOW_LATEST: None} if follows else {})}
    meta = {"resourceVersion": live["metadata"]["resourceVersion"], "annotations": notes}
    body = {"metadata": meta, "spec": {"template": {"spec": lists}}}
    session.api.request("PATCH", found.path, body=body, content_type=STRATEGIC)
    print(f"{found.label} rolled back: {pack} {current} -> {version}")
    if follows:
        print("It no longer follows the latest release")
    return EXIT_OK


def previous_version(kept: list[Revision], pack: str, current: str) -> str:
    """The version of the last revision that ran another one. Raises CommandError."""
    for revision in reversed(kept):
        for _, name, version in packs_of(revision.template.get("spec") or {}):
            if name == pack and version not in ("", current):
                return version
    raise CommandError(f"no other version of {pack} is in the history: name one with --ver")
