"""One validator per schema. Signatures first; the body follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Cause


class SchemaInvalid(ValueError):
    """The object does not satisfy its schema; `causes` has every reason, in Kubernetes' wording."""

    def __init__(self, causes: Sequence[Cause]) -> None:
        super().__init__("; ".join(f"{cause.field}: {cause.message}" for cause in causes))
        self.causes = tuple(causes)


class CompiledSchema:
    """A structural schema, ready to admit objects. Make one with `compile_schema`."""

    def admit(self, obj: dict[str, Any]) -> dict[str, Any]:
        """The object pruned, defaulted and validated: a new dict, `obj` unchanged. Raises SchemaInvalid with all causes."""
        raise NotImplementedError

    def admit_bytes(self, data: bytes) -> dict[str, Any]:
        """Same from JSON bytes. Raises BadRequest when they are not a JSON object, SchemaInvalid as `admit`."""
        raise NotImplementedError

    def admit_noting_unknown(self, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """`admit` and `unknown_fields` together, in one pass when there is nothing unknown (the usual case)."""
        raise NotImplementedError

    def admit_update(self, new: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
        """`admit`, but errors at values that `old` had already are let pass (ratcheting)."""
        raise NotImplementedError

    def unknown_fields(self, obj: Mapping[str, Any]) -> list[str]:
        """Paths of the fields that pruning drops, e.g. `spec.containers[0].imagee`, in document order."""
        raise NotImplementedError


def compile_schema(schema: Mapping[str, Any]) -> CompiledSchema:
    """Compile the schema of a whole object; apiVersion, kind and metadata are implied. Cached by the caller."""
    raise NotImplementedError
