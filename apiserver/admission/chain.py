"""The order in which a write is changed and judged.

First every mutating plugin, in order, then the webhooks that change; then every validating plugin, which see what all
mutations together made. The first complaint ends it. Plugins see objects that the schema has already pruned, defaulted
and type-checked, and only change what keeps them valid. Those outside that only judge come last, by `conclude`, when the
registry has given the object the identity under which it will be stored.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from ..resources import Resource
from .attributes import Attributes, Lookup, Plugin
from .webhooks.rounds import Turns, Webhooks

WRITES_REMEMBERED: Final = 4_096
"""Kinds of writes of which is kept which plugins concern them."""

Concern = Callable[[Resource, str, str], bool]
"""Whether a plugin may have anything to do with writes of a resource, by the operation and the subresource."""


class Only:
    """A plugin that some writes concern: it is not called for others.

    Of certain kinds, by group and plural; of those that `when` says, which is asked once for each kind of write; and only
    while it is not `idle`, for want of anything to judge by, which is asked each time and must cost next to nothing.
    """

    __slots__ = ("_kinds", "_when", "idle", "plugin")

    def __init__(
        self,
        plugin: Plugin,
        *kinds: tuple[str, str],
        when: Concern | None = None,
        idle: Callable[[], bool] | None = None,
    ) -> None:
        self.plugin, self.idle = plugin, idle
        self._kinds, self._when = frozenset(kinds), when

    def concerns(self, resource: Resource, operation: str, subresource: str) -> bool:
        """Whether it must be called."""
        if self._kinds and (resource.group, resource.plural) not in self._kinds:
            return False
        return self._when is None or self._when(resource, operation, subresource)


Step = Plugin | Only
Plan = tuple[tuple[Plugin, Callable[[], bool] | None], ...]
"""Plugins in order, each with what tells that it need not be called this time."""


class _Steps:
    """Plugins in order, and of each kind of write those that concern it."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = tuple(step if isinstance(step, Only) else Only(step) for step in steps)
        self._plans: dict[tuple[Resource, str, str], Plan] = {}

    @property
    def are_idle(self) -> bool:
        """None of them has anything to judge by."""
        return all(step.idle is not None and step.idle() for step in self._steps)

    def forget(self) -> None:
        """Find out again which plugins concern what."""
        self._plans.clear()

    def of(self, attributes: Attributes) -> Plan:
        """Those that the write passes."""
        write = (attributes.resource, attributes.operation, attributes.subresource)
        known = self._plans.get(write)
        if known is None:
            if len(self._plans) >= WRITES_REMEMBERED:
                self._plans.clear()
            known = self._plans[write] = tuple(
                (step.plugin, step.idle) for step in self._steps if step.concerns(*write)
            )
        return known


async def _run(plan: Plan, attributes: Attributes, lookup: Lookup) -> None:
    for plugin, idle in plan:
        if idle is None or not idle():
            await plugin(attributes, lookup)


class Chain:
    """Plugins in the order they run."""

    def __init__(
        self,
        mutating: Sequence[Step] = (),
        validating: Sequence[Step] = (),
        webhooks: Webhooks | None = None,
        concluding: Sequence[Step] = (),
    ) -> None:
        self._mutating = _Steps(mutating)
        self._validating = _Steps(validating)
        self._webhooks = webhooks
        self._concluding = _Steps(concluding)

    async def admit(self, attributes: Attributes, lookup: Lookup) -> None:
        """Change `attributes.object` in place and check it. Raises an ApiError when the write is refused."""
        plan = self._mutating.of(attributes)
        await _run(plan, attributes, lookup)
        if self._webhooks is not None and self._webhooks.change:
            await self._change_outside(self._webhooks, plan, attributes, lookup)
        await _run(self._validating.of(attributes), attributes, lookup)

    async def _change_outside(self, webhooks: Webhooks, plan: Plan, attributes: Attributes, lookup: Lookup) -> None:
        turns = Turns()
        await webhooks.mutate(attributes, lookup, turns)
        if turns.changed:
            await _run(plan, attributes, lookup)
            await webhooks.mutate(attributes, lookup, turns)

    async def conclude(self, attributes: Attributes, lookup: Lookup) -> None:
        """The last word: whoever judges the object as it is about to be stored. Raises an ApiError."""
        await _run(self._concluding.of(attributes), attributes, lookup)
        if self._webhooks is not None and self._webhooks.judge:
            await self._webhooks.validate(attributes, lookup)

    @property
    def is_alone(self) -> bool:
        """`ask_outside` would do nothing."""
        is_watched = self._webhooks is not None and (self._webhooks.change or self._webhooks.judge)
        return not is_watched and self._concluding.are_idle

    async def ask_outside(self, attributes: Attributes, lookup: Lookup) -> None:
        """About what no plugin of ours judges, such as the body of an eviction: those outside alone."""
        if self._webhooks is not None and self._webhooks.change:
            await self._change_outside(self._webhooks, (), attributes, lookup)
        await self.conclude(attributes, lookup)

    def forget(self) -> None:
        """The kinds have changed: find out again which plugins concern writes of them."""
        for steps in (self._mutating, self._validating, self._concluding):
            steps.forget()


class BoundChain:
    """A chain with its look-ups: what the registry calls."""

    def __init__(self, chain: Chain, lookup: Lookup) -> None:
        self._chain, self._lookup = chain, lookup

    def admit(self, attributes: Attributes) -> Coroutine[Any, Any, None]:
        """`Chain.admit`."""
        return self._chain.admit(attributes, self._lookup)

    def conclude(self, attributes: Attributes) -> Coroutine[Any, Any, None]:
        """`Chain.conclude`."""
        return self._chain.conclude(attributes, self._lookup)

    async def connect(self, attributes: Attributes) -> None:
        """Everything about a connection, which is not stored: there is nothing between changing and judging it."""
        await self._chain.admit(attributes, self._lookup)
        await self._chain.conclude(attributes, self._lookup)

    @property
    def is_alone(self) -> bool:
        """`Chain.is_alone`."""
        return self._chain.is_alone

    def ask_outside(self, attributes: Attributes) -> Coroutine[Any, Any, None]:
        """`Chain.ask_outside`."""
        return self._chain.ask_outside(attributes, self._lookup)
