"""The two rounds of a write among webhooks: those that change it, one after the other; those that judge it, all at once.

A webhook that changes the object may upset those that saw it before. So after the first round of changes everything
that mutates has one more turn: the built-in plugins, and of the webhooks those that ask for it by reinvocationPolicy.
There is no third turn (KEP-492 and apiserver/pkg/admission/plugin/webhook/mutating).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from stark.crds.patches import PatchError, json_patch

from ...errors import ApiError
from ..attributes import Attributes, Lookup
from .asking import Asking, Question
from .configurations import Configurations, Hook
from .matching import is_exempt
from .metrics import ADMIT, VALIDATING
from .refusals import internal, quoted
from .review import Verdict

AUDIT_PREFIX: Final = "mutation.webhook.admission.k8s.io"
Object = dict[str, Any]


@dataclass(slots=True)
class Turns:
    """What the second turn needs to know of the first, for one write."""

    number: int = 0
    changed: bool = False
    """Some webhook changed the object."""
    invoked: set[int] = field(default_factory=set)
    """Reinvocable webhooks that nothing has changed the object after, so far."""
    again: set[int] = field(default_factory=set)
    """Those that something has."""
    output: bytes = b""
    """The object as the webhooks left it."""

    def object_changed(self) -> None:
        """Whoever was asked before this must be asked again."""
        self.again |= self.invoked
        self.invoked = set()


class Webhooks:
    """Both rounds."""

    def __init__(self, mutating: Configurations, validating: Configurations, asking: Asking) -> None:
        self._mutating, self._validating, self._asking = mutating, validating, asking

    @property
    def change(self) -> bool:
        """Whether anybody may change a write."""
        return not self._mutating.none()

    @property
    def judge(self) -> bool:
        """Whether anybody may refuse one."""
        return not self._validating.none()

    async def mutate(self, attributes: Attributes, lookup: Lookup, turns: Turns) -> None:
        """One turn of the webhooks that change. Raises ApiError."""
        hooks = await self._mutating.hooks()
        if not hooks or not attributes.consults or is_exempt(attributes):
            return
        if turns.number and _encoded(attributes) != turns.output:
            turns.object_changed()
        for index, hook in enumerate(hooks):
            if turns.number and index not in turns.again:
                continue
            if await self._mutate_with(hook, index, attributes, lookup, turns):
                turns.changed = True
                turns.object_changed()
            if hook.is_reinvocable:
                turns.invoked.add(index)
        turns.output = _encoded(attributes) if turns.changed else b""
        turns.number += 1

    async def validate(self, attributes: Attributes, lookup: Lookup) -> None:
        """Ask all that judge, at once. Raises the first refusal in the order of the configurations."""
        hooks = await self._validating.hooks()
        if not hooks or not attributes.consults or is_exempt(attributes):
            return
        found = [await self._asking.question(hook, VALIDATING, attributes, lookup) for hook in hooks]
        asked = [one for one in found if one is not None]
        if len(asked) == 1:
            await self._asking.ask(asked[0], VALIDATING, attributes)
        elif asked:
            await self._ask_all(asked, attributes)

    async def _ask_all(self, asked: list[Question], attributes: Attributes) -> None:
        """Each is heard, also after one has refused: their warnings count."""

        async def heard(one: Question) -> ApiError | None:
            try:
                await self._asking.ask(one, VALIDATING, attributes)
            except ApiError as error:
                return error
            return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(heard(one)) for one in asked]
        for task in tasks:
            refusal = task.result()
            if refusal is not None:
                raise refusal

    async def _mutate_with(self, hook: Hook, index: int, attributes: Attributes, lookup: Lookup, turns: Turns) -> bool:
        """Whether the webhook changed the object."""
        asked = await self._asking.question(hook, ADMIT, attributes, lookup)
        if asked is None:
            return False
        verdict = await self._asking.ask(asked, ADMIT, attributes)
        if verdict is None:
            return False
        try:
            changed = await self._take(asked, verdict, attributes)
        except ApiError as error:
            self._asking.refused_by_us(hook, ADMIT, attributes, error.code)
            raise
        note = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
        attributes.audit[f"{AUDIT_PREFIX}/round_{turns.number}_index_{index}"] = orjson.dumps(note).decode()
        return changed

    async def _take(self, asked: Question, verdict: Verdict, attributes: Attributes) -> bool:
        """Make the object what a webhook's patch says; whether that changed it. Raises InternalError, Invalid."""
        if not verdict.patch:
            return False
        if attributes.object is None or asked.obj is None:
            name = quoted(asked.hook.name)
            message = (
                f"admission webhook {name} attempted to modify the object, which is not supported for this operation"
            )
            raise internal(message)
        try:
            patched = json_patch(asked.obj, verdict.patch)
        except PatchError as error:
            raise internal(str(error)) from error
        if not isinstance(patched, dict) or not isinstance(patched.get("metadata", {}), dict):
            raise internal(f"the patch of admission webhook {quoted(asked.hook.name)} leaves no object")
        if patched == asked.obj:
            return False
        before = _encoded(attributes)
        whole = await self._asking.as_asked_for(patched, asked.shown_as, attributes)
        if attributes.view is not None:
            whole = attributes.view.taken(attributes.object, whole)
        settled = attributes.settle(whole) if attributes.settle is not None else whole
        if settled is not attributes.object:
            kept = dict(settled)
            attributes.object.clear()
            attributes.object.update(kept)
        return _encoded(attributes) != before


def _encoded(attributes: Attributes) -> bytes:
    return orjson.dumps(attributes.object, option=orjson.OPT_SORT_KEYS)
