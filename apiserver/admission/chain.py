"""The order in which a write is changed and judged.

First every mutating plugin, in order; then every validating one, which see what all mutations together made. The
first complaint ends it. Plugins see objects that the schema has already pruned, defaulted and type-checked, and only
change what keeps them valid.
"""

from __future__ import annotations

from collections.abc import Sequence

from .attributes import Attributes, Lookup, Plugin


class Chain:
    """Plugins in the order they run."""

    def __init__(self, mutating: Sequence[Plugin] = (), validating: Sequence[Plugin] = ()) -> None:
        self._mutating = tuple(mutating)
        self._validating = tuple(validating)

    async def admit(self, attributes: Attributes, lookup: Lookup) -> None:
        """Change `attributes.object` in place and check it. Raises an ApiError when the write is refused."""
        await self.mutate(attributes, lookup)
        await self.validate(attributes, lookup)

    async def mutate(self, attributes: Attributes, lookup: Lookup) -> None:
        """The first half of `admit`."""
        for plugin in self._mutating:
            await plugin(attributes, lookup)

    async def validate(self, attributes: Attributes, lookup: Lookup) -> None:
        """The second half of `admit`."""
        for plugin in self._validating:
            await plugin(attributes, lookup)
