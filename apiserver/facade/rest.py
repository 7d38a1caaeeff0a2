"""The originals' REST API over Stark's objects: one desk a kind, each of which only translates."""

from __future__ import annotations

from collections.abc import Sequence

from .deployments import DeploymentDesk
from .facade import Route
from .inner import Inner
from .namespaces import NamespaceDesk
from .nodes import NodeDesk
from .packs import PackDesk
from .pods import PodDesk


def rest_routes(inner: Inner) -> Sequence[Route]:
    """What is answered below `/api/`."""
    desks = (PackDesk, PodDesk, NodeDesk, NamespaceDesk, DeploymentDesk)
    return [route for desk in desks for route in desk(inner).routes()]
