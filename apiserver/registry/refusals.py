"""The refusals that name a resource, in Kubernetes' words: clients and people match on them."""

from __future__ import annotations

from collections.abc import Sequence

from ..cache.feed import TooFarAhead
from ..errors import (
    AlreadyExists,
    ApiError,
    Cause,
    Conflict,
    Forbidden,
    InsufficientStorage,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Timeout,
    invalid,
)
from ..resources import Resource
from ..store.protocol import VALUE_BYTES_MAX, NoSpace, StoreError, TooLarge

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
RETRY_AFTER_S = 1
"""What we ask of clients while the store is away."""


def not_found(resource: Resource, name: str) -> NotFound:
    """There is no such object."""
    return NotFound(
        f'{resource.group_resource} "{name}" not found', group=resource.group, kind=resource.plural, name=name
    )


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    """There is such an object already."""
    return AlreadyExists(
        f'{resource.group_resource} "{name}" already exists', group=resource.group, kind=resource.plural, name=name
    )


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> Conflict:
    """The object is not what the client thinks it is."""
    return Conflict(
        f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}',
        group=resource.group,
        kind=resource.plural,
        name=name,
    )


def forbidden(resource: Resource, name: str, why: str) -> Forbidden:
    """The object may not be touched that way by anybody."""
    return Forbidden(
        f'{resource.group_resource} "{name}" is forbidden: {why}',
        group=resource.group,
        kind=resource.plural,
        name=name,
    )


def invalid_object(resource: Resource, name: str, causes: Sequence[Cause]) -> Invalid:
    """The object breaks rules."""
    return invalid(resource.kind, name, causes, group=resource.group)


def no_such_path() -> NotFound:
    """Nothing is served there."""
    return NotFound("the server could not find the requested resource")


def method_not_allowed(resource: Resource) -> MethodNotAllowed:
    """The resource does not do that."""
    return MethodNotAllowed(
        "the server does not allow this method on the requested resource", group=resource.group, kind=resource.plural
    )


def too_far_ahead(error: TooFarAhead) -> Timeout:
    """A resourceVersion that has not happened (yet), or a cache that lags: the client should ask again."""
    cause = Cause("", "Too large resource version", "ResourceVersionTooLarge")
    return Timeout(str(error), causes=[cause], retry_after_s=RETRY_AFTER_S)


def store_away(why: str) -> ServiceUnavailable:
    """The store does not answer. Says what still works."""
    return ServiceUnavailable(
        f"the store does not answer: {why}; reads with resourceVersion=0 are still served", retry_after_s=RETRY_AFTER_S
    )


def of_store(error: StoreError) -> ApiError:
    """What a store's trouble is to a client."""
    if isinstance(error, TooLarge):
        return RequestEntityTooLarge(f"Request entity too large: limit is {VALUE_BYTES_MAX} bytes as stored")
    if isinstance(error, NoSpace):
        return InsufficientStorage(f"nothing was written, the store has no space: {error}; deletes still work")
    return store_away(str(error))


def internal(message: str) -> InternalError:
    """Our fault."""
    return InternalError(f"Internal error occurred: {message}")
