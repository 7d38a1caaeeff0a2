"""Say it when the cluster was told to trust another authority than ours: the data directory's keys were lost, or two API
servers have one store and two sets of keys. Half of what clients show and see is then not believed, and nothing else tells.
"""

from __future__ import annotations

from typing import Final

import structlog

from stark.crds.pins import BadCertificate, pin_of, split_bundle

from .auth.nodes import ROOT_CA, Lookup
from .auth.pki import Authority
from .cache.feed import Feed
from .errors import ApiError

log = structlog.get_logger(__name__)

NAMESPACE: Final = "kube-system"
"""Restricted users write nothing there."""
TOLD: Final = (
    "this server's authority is not the one that the cluster publishes: API servers of one store need the same pki "
    "directory; if its authority was lost, restart the controllers and let agents and clients join anew"
)


def is_another(published: str, authority: Authority) -> bool:
    """Whether none of the published certificates is trusted here. What cannot be read says nothing."""
    try:
        theirs = {pin_of(one) for one in split_bundle(published)}
        return not theirs & {pin_of(one) for one in split_bundle(authority.certificate_pem.decode())}
    except BadCertificate:
        return False


async def tell_of_another_authority(feed: Feed, lookup: Lookup, authority: Authority) -> None:
    """Look once, at the start."""
    await feed.synced.wait()
    try:
        found = await lookup.get("", "configmaps", NAMESPACE, ROOT_CA)
    except ApiError:
        return  # the store went away again; a warning is not worth waiting for it
    if found is not None and is_another((found.get("data") or {}).get("ca.crt") or "", authority):
        log.error(TOLD, published=f"{NAMESPACE}/{ROOT_CA}", directory=str(authority.directory))
