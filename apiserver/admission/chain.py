"""The order in which a write is changed and judged.

First every mutating plugin, in order, then the webhooks that change; then every validating plugin, which see what all
mutations together made. The first complaint ends it. Plugins see objects that the schema has already pruned, defaulted
and type-checked, and only change what keeps them valid. Those outside that only judge come last, by `conclude`, when the
registry has given the object the identity under which it will be stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from .attributes import Attributes, Lookup, Plugin
from .webhooks.rounds import Turns, Webhooks


class Chain:
    """Plugins in the order they run."""

    def __init__(
        self,
        mutating: Sequence[Plugin] = (),
        validating: Sequence[Plugin] = (),
        webhooks: Webhooks | None = None,
        concluding: Sequence[Plugin] = (),
    ) -> None:
        self._mutating = tuple(mutating)
        self._validating = tuple(validating)
        self._webhooks = webhooks
        self._concluding = tuple(concluding)

    async def admit(self, attributes: Attributes, lookup: Lookup) -> None:
        """Change `attributes.object` in place and check it. Raises an ApiError when the write is refused."""
        await self.mutate(attributes, lookup)
        await self.validate(attributes, lookup)

    async def mutate(self, attributes: Attributes, lookup: Lookup) -> None:
        """The first half of `admit`."""
        for plugin in self._mutating:
            await plugin(attributes, lookup)
        if self._webhooks is None:
            return
        turns = Turns()
        await self._webhooks.mutate(attributes, lookup, turns)
        if turns.changed:
            for plugin in self._mutating:
                await plugin(attributes, lookup)
            await self._webhooks.mutate(attributes, lookup, turns)

    async def validate(self, attributes: Attributes, lookup: Lookup) -> None:
        """The second half of `admit`."""
        for plugin in self._validating:
            await plugin(attributes, lookup)

    async def conclude(self, attributes: Attributes, lookup: Lookup) -> None:
        """The last word: whoever judges the object as it is about to be stored. Raises an ApiError."""
        for plugin in self._concluding:
            await plugin(attributes, lookup)
        if self._webhooks is not None:
            await self._webhooks.validate(attributes, lookup)

    async def ask_outside(self, attributes: Attributes, lookup: Lookup) -> None:
        """About what no plugin of ours judges, such as the body of an eviction: those outside alone."""
        if self._webhooks is not None:
            turns = Turns()
            await self._webhooks.mutate(attributes, lookup, turns)
            if turns.changed:
                await self._webhooks.mutate(attributes, lookup, turns)
        await self.conclude(attributes, lookup)


class BoundChain:
    """A chain with its look-ups: what the registry calls."""

    def __init__(self, chain: Chain, lookup: Lookup) -> None:
        self._chain, self._lookup = chain, lookup

    async def admit(self, attributes: Attributes) -> None:
        """`Chain.admit`."""
        await self._chain.admit(attributes, self._lookup)

    async def conclude(self, attributes: Attributes) -> None:
        """`Chain.conclude`."""
        await self._chain.conclude(attributes, self._lookup)

    async def connect(self, attributes: Attributes) -> None:
        """Everything about a connection, which is not stored: there is nothing between changing and judging it."""
        await self._chain.admit(attributes, self._lookup)
        await self._chain.conclude(attributes, self._lookup)

    async def ask_outside(self, attributes: Attributes) -> None:
        """`Chain.ask_outside`."""
        await self._chain.ask_outside(attributes, self._lookup)
