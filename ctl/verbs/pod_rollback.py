"""Restart a pod with another version of its pack, in its place: the one it ran before, or the one that is named.

Only a pod that is scheduled, starting or running can be rolled back. One that a deployment keeps is rolled back with its
deployment. Exit code 1 says why not: INVALID_STATE, SAME_VERSION or VERSION_NOT_FOUND.

Examples:
  starkctl pod rollback hello-x7k2p
  starkctl pod rollback hello-x7k2p -V 1.1.0 -r "1.2.0 loses orders"
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from stark.crds.images import PackRef
from stark.crds.packpods import ROLLED_BACK_FROM, Step, packs_of, previous_version, rollback_patch
from stark.crds.podview import pod_state

from ..errors import EXIT_OK, CommandError
from ..finding_packs import pack_object
from ..options import Session
from ..pods import Object, controller_of, find_pod, pod_path
from ..rollouts import STRATEGIC
from ..running import image_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pod", metavar="POD", help="name or uid of the pod")
    parser.add_argument("-V", "--ver", metavar="VERSION", help="to this version (default: the one it ran before)")
    parser.add_argument("-r", "--reason", default="", metavar="TEXT", help="why, for the history")


def run(args: argparse.Namespace, session: Session) -> int:
    """Change the image in place: its agent restarts the containers with the other bundle."""
    pod = find_pod(session, args.pod)
    pack, current = _pack_of(pod)
    _may_be_rolled_back(session, pod)
    version = args.ver or previous_version(pod, current)
    if version is None:
        raise CommandError(f"pod {pod['metadata']['name']} has run no other version: name one with --ver")
    if version == current:
        raise CommandError(f"SAME_VERSION: pod {pod['metadata']['name']} runs {pack} {version} already")
    image = image_of(pack, version)
    pack_object(session, PackRef(pack, version))
    step = Step(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), current, version, args.reason)
    body = rollback_patch(pod, pack, image, step)
    session.api.request("PATCH", pod_path(pod), body=body, content_type=STRATEGIC)
    print(f"pod/{pod['metadata']['name']} rolled back: {pack} {current} -> {version}")
    return EXIT_OK


def _pack_of(pod: Object) -> tuple[str, str]:
    packs = packs_of(pod["spec"])
    if not packs:
        raise CommandError(f"pod {pod['metadata']['name']} runs no pack: there is no version to go back to")
    return packs[0][1:]


def _may_be_rolled_back(session: Session, pod: Object) -> None:
    name = pod["metadata"]["name"]
    keeper = controller_of(session, pod)
    if keeper:
        kind, _, owner = keeper.partition("/")
        advice = (
            f"`starkctl deployment rollback {owner}`" if kind == "deployment" else f"`starkctl rollout undo {keeper}`"
        )
        raise CommandError(f"CONFLICT: pod {name} is kept by {keeper}, which would undo this: use {advice}")
    state = pod_state(pod)
    if state not in ROLLED_BACK_FROM:
        allowed = ", ".join(ROLLED_BACK_FROM)
        raise CommandError(f"INVALID_STATE: pod {name} is {state}, and can be rolled back only when {allowed}")
