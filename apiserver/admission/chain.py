"""The order in which a write is changed and judged.

First every mutating plugin, in order, then the webhooks that change; then every validating plugin, which see what all
mutations together made. The first complaint ends it. Plugins see objects that the schema has already pruned, defaulted
and type-checked, and only change what keeps them valid. Those outside that only judge come last, by `conclude`, when the
registry has given the object the identity under which it will be stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..resources import Resource
from .attributes import Attributes, Lookup, Plugin
from .webhooks.rounds import Turns, Webhooks

KINDS_REMEMBERED: Final = 4_096
"""Kinds of which is kept which plugins concern them."""


class Only:
    """A plugin that some kinds concern, by group and plural: it is not called for others, and need not look."""

    __slots__ = ("kinds", "plugin")

    def __init__(self, plugin: Plugin, *kinds: tuple[str, str]) -> None:
        self.plugin, self.kinds = plugin, frozenset(kinds)


Step = Plugin | Only


class _Steps:
    """Plugins in order, and of each kind those that concern it."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = tuple(steps)
        self._of_kind: dict[tuple[str, str], tuple[Plugin, ...]] = {}

    def of(self, resource: Resource) -> tuple[Plugin, ...]:
        """Those that a write of the resource passes."""
        kind = (resource.group, resource.plural)
        known = self._of_kind.get(kind)
        if known is None:
            if len(self._of_kind) >= KINDS_REMEMBERED:
                self._of_kind.clear()
            known = self._of_kind[kind] = tuple(
                step.plugin if isinstance(step, Only) else step
                for step in self._steps
                if not isinstance(step, Only) or kind in step.kinds
            )
        return known


class Chain:
    """Plugins in the order they run."""

    def __init__(
        self,
        mutating: Sequence[Step] = (),
        validating: Sequence[Step] = (),
        webhooks: Webhooks | None = None,
        concluding: Sequence[Plugin] = (),
    ) -> None:
        self._mutating = _Steps(mutating)
        self._validating = _Steps(validating)
        self._webhooks = webhooks
        self._concluding = tuple(concluding)

    async def admit(self, attributes: Attributes, lookup: Lookup) -> None:
        """Change `attributes.object` in place and check it. Raises an ApiError when the write is refused."""
        await self.mutate(attributes, lookup)
        await self.validate(attributes, lookup)

    async def mutate(self, attributes: Attributes, lookup: Lookup) -> None:
        """The first half of `admit`."""
        plugins = self._mutating.of(attributes.resource)
        for plugin in plugins:
            await plugin(attributes, lookup)
        if self._webhooks is None or not self._webhooks.change:
            return
        turns = Turns()
        await self._webhooks.mutate(attributes, lookup, turns)
        if turns.changed:
            for plugin in plugins:
                await plugin(attributes, lookup)
            await self._webhooks.mutate(attributes, lookup, turns)

    async def validate(self, attributes: Attributes, lookup: Lookup) -> None:
        """The second half of `admit`."""
        for plugin in self._validating.of(attributes.resource):
            await plugin(attributes, lookup)

    async def conclude(self, attributes: Attributes, lookup: Lookup) -> None:
        """The last word: whoever judges the object as it is about to be stored. Raises an ApiError."""
        for plugin in self._concluding:
            await plugin(attributes, lookup)
        if self._webhooks is not None and self._webhooks.judge:
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
