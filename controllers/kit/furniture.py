"""Which namespaces are kept furnished, shared by the controllers that put things into every one of them."""

from __future__ import annotations

from stark.client.errors import Forbidden
from stark.crds.namespaces import Namespace

TERMINATING = "NamespaceTerminating"


def is_furnished(namespace: Namespace) -> bool:
    """Whether things belong into it: not into one that is being emptied."""
    return namespace.metadata.deletion_timestamp is None and namespace.status.phase != "Terminating"


def unless_terminating(error: Forbidden) -> None:
    """Raise `error` again, unless it says that the namespace is on its way out: then nothing is missing any more."""
    if not any(cause.reason == TERMINATING for cause in error.causes):
        raise error
