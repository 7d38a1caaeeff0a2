"""The authorizers every Stark API server has, put together."""

from __future__ import annotations

from .authorization import MastersAuthorizer, Union
from .nodes import Lookup, NodeAuthorizer
from .rules import builtin_rules


def builtin_authorizer(lookup: Lookup) -> Union:
    """Masters, controllers, agents, and what everybody who is authenticated may do."""
    return Union([MastersAuthorizer(), builtin_rules(), NodeAuthorizer(lookup)])
