"""What a kind may add to the common rules: names, defaults that a schema cannot say, immutable parts, graceful deletion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stark.crds.names import dns_subdomain_problems

from ...errors import Cause
from .views import View

Object = dict[str, Any]
Known = Mapping[str, Any]


class Strategy:
    """Every method has a default that adds nothing; `new` and `obj` may be changed in place, `old` never."""

    ttl_s: ClassVar[int] = 0
    """Objects vanish this long after they were last written; 0: never."""
    returns_deleted: ClassVar[bool] = False
    """A deletion is answered with the object instead of a Status."""
    status_takes_metadata: ClassVar[bool] = False
    """The status subresource also takes labels and annotations: for kinds whose node writes both."""
    keeps_status_on_create: ClassVar[bool] = False
    """A new object may come with its status: for what registers itself."""
    tracks_fields: ClassVar[bool] = True
    """managedFields tell who set what."""
    counts_generation: ClassVar[bool] = False
    """metadata.generation counts changes although the kind has no spec."""
    create_on_update: ClassVar[bool] = False
    """A PUT to a name that does not exist creates."""
    public_field: ClassVar[tuple[str, str] | None] = None
    """Selectable field and the value with which an object may be read by everybody who may read their own."""
    view: ClassVar[View | None] = None
    """Whose objects these are in other words; None: the kind's own."""

    def name_problems(self, name: str) -> list[str]:
        """What is wrong with a name."""
        return dns_subdomain_problems(name)

    def prepare_create(self, obj: Object) -> None:
        """Set what only the server sets on a new object."""

    def settle_identity(self, obj: Object) -> None:
        """Set what follows from the uid, the name and the defaults, which a new object has only now that it was admitted."""

    def create_problems(self, obj: Known) -> Sequence[Cause]:
        """Rules a schema cannot say."""
        return ()

    def prepare_update(self, new: Object, old: Known) -> None:
        """Reset what an update of the object may not touch."""

    def prepare_status_update(self, new: Object, old: Known) -> None:
        """Set what a status keeps whoever writes it."""

    def prepare_approval(self, new: Object, old: Known) -> None:
        """The same for the approval subresource, which writes a part of the status."""

    def update_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """Immutable fields and the like."""
        return ()

    def status_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """Rules of a status update."""
        return ()

    def approval_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """Rules of an approval."""
        return ()

    async def review(self, new: Known, old: Known | None) -> Sequence[Cause]:
        """What takes long to find out, so that it is done aside of the event loop, after all other rules held."""
        return ()

    def grace_s(self, obj: Known, wanted_s: int | None) -> int:
        """Seconds between the request to delete and the end; 0: at once. `wanted_s` is the client's gracePeriodSeconds."""
        return 0

    def begin_deletion(self, obj: Object) -> None:
        """The object stays for a while after it was deleted: note that in it."""

    def holds_on(self, obj: Known) -> bool:
        """Something beside metadata.finalizers keeps a deleted object from going."""
        return False


def immutable(field: str, new: Any, old: Any) -> list[Cause]:
    """A complaint when a field that is set once was changed."""
    if new == old:
        return []
    return [Cause(field, f"Invalid value: {shown(new)}: field is immutable", "FieldValueInvalid")]


def forbidden(field: str, why: str) -> Cause:
    """A complaint about something that may not be done to a field."""
    return Cause(field, f"Forbidden: {why}", "FieldValueForbidden")


def shown(value: Any) -> str:
    """A value as Kubernetes' messages quote it."""
    if isinstance(value, str):
        return f'"{value}"'
    return "null" if value is None else str(value)
