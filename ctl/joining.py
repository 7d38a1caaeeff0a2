"""The command by which a machine joins: where, with what, and how it tells that it is the right cluster."""

from __future__ import annotations

import shlex

from stark.crds.bootstrap_tokens import CLUSTER_INFO_PATH, KUBECONFIG_KEY
from stark.crds.pins import BadCertificate, pin_of, split_bundle

from .errors import CommandError, ServerError
from .options import Session

AGENT_DATA_DIR = "/var/lib/stark/agent"


def authority_of(session: Session) -> str:
    """The certificates by which this server is trusted (PEM): ours, or those that are published. Raises CommandError."""
    if session.api.config.ca_data:
        return session.api.config.ca_data.decode()
    try:
        published = session.api.get(CLUSTER_INFO_PATH)["data"][KUBECONFIG_KEY]
    except (ServerError, KeyError) as error:
        raise CommandError("nothing says which authority the server has: pass --ca-file") from error
    import base64
    import json

    cluster = json.loads(published)["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def join_command(session: Session, token: str) -> str:
    """What to run on the new machine. Raises CommandError."""
    try:
        pins = [pin_of(block) for block in split_bundle(authority_of(session))]
    except BadCertificate as error:
        raise CommandError(f"the server's authority cannot be read: {error}") from error
    words = ["stark-agent", "--server", session.api.config.server, "--token", token]
    for pin in pins:
        words += ["--ca-hash", pin]
    return shlex.join([*words, "--data-dir", AGENT_DATA_DIR])
