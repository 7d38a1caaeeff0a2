"""The webhooks there are, made ready from their configurations once and again whenever one of those changed.

Nothing is read and nothing asked while there is no configuration: a write then costs the comparison of two numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from stark.crds.selectors import Selector, SelectorError, from_label_selector
from stark.crds.webhooks import TIMEOUT_DEFAULT_S, TIMEOUT_MAX_S

from ...callbacks import Endpoint, endpoint_of
from ..authorizing import Checks
from .matching import Rule

WITHOUT_EFFECTS: Final = ("None", "NoneOnDryRun")
log = structlog.get_logger(__name__)

Mapped = Mapping[str, Any]


class Followed(Protocol):
    """All objects of one kind, as the caches have them."""

    def mark(self) -> Hashable:
        """Another one whenever an object changed; None while nothing can be said."""
        ...

    def is_empty(self) -> bool:
        """There is surely none: said without waiting, for every write asks."""
        ...

    async def objects(self) -> Sequence[Mapped]:
        """All of them, in the order of their names. Raises ServiceUnavailable."""
        ...


class Conditions(Protocol):
    """Match conditions, compiled."""

    async def hold(self, request: Mapped, obj: Mapped | None, old: Mapped | None, checks: Checks) -> bool:
        """Whether all hold for an AdmissionRequest and its objects. Raises ConditionFailed when that cannot be told."""
        ...


class ConditionFailed(Exception):
    """A match condition could not be evaluated, and none of the others says no."""


CompileConditions = Callable[[Sequence[Mapped]], Conditions]


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook, ready to be asked."""

    configuration: str
    name: str
    endpoint: Endpoint
    rules: tuple[Rule, ...]
    accepts_equivalents: bool
    namespaces: Selector
    objects: Selector
    fails_open: bool
    timeout_s: int
    has_effects: bool
    is_reinvocable: bool
    conditions: Conditions | None = None


def hook_of(configuration: str, webhook: Mapped, compile_conditions: CompileConditions) -> Hook:
    """From wire form. Raises SelectorError."""
    conditions = webhook.get("matchConditions") or ()
    return Hook(
        configuration,
        webhook["name"],
        endpoint_of(webhook.get("clientConfig") or {}),
        tuple(Rule.of(rule) for rule in webhook.get("rules") or ()),
        webhook.get("matchPolicy") != "Exact",
        from_label_selector(webhook.get("namespaceSelector") or {}),
        from_label_selector(webhook.get("objectSelector") or {}),
        webhook.get("failurePolicy") == "Ignore",
        min(max(webhook.get("timeoutSeconds") or TIMEOUT_DEFAULT_S, 1), TIMEOUT_MAX_S),
        webhook.get("sideEffects") not in WITHOUT_EFFECTS,
        webhook.get("reinvocationPolicy") == "IfNeeded",
        compile_conditions(conditions) if conditions else None,
    )


class Configurations:
    """The webhooks of one kind of configuration, in the order in which they are asked."""

    def __init__(self, source: Followed, compile_conditions: CompileConditions) -> None:
        self._source, self._compile = source, compile_conditions
        self.none = source.is_empty
        """Whether there is surely no webhook."""
        self._mark: Hashable = None
        self._hooks: tuple[Hook, ...] | None = None

    async def hooks(self) -> tuple[Hook, ...]:
        """All of them. Raises ServiceUnavailable while they have never been read."""
        mark = self._source.mark()
        if self._hooks is not None and (mark is None or mark == self._mark):
            return self._hooks
        self._hooks = tuple(self._made(await self._source.objects()))
        self._mark = mark
        return self._hooks

    def _made(self, objects: Sequence[Mapped]) -> list[Hook]:
        found = []
        for configuration in objects:
            name = configuration["metadata"]["name"]
            for webhook in configuration.get("webhooks") or ():
                try:
                    found.append(hook_of(name, webhook, self._compile))
                except SelectorError as error:
                    # Validation refuses such a selector; one that is stored all the same selects nothing.
                    log.warning(
                        "a webhook selects nothing", configuration=name, webhook=webhook["name"], reason=str(error)
                    )
        return found
