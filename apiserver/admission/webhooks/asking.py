"""Ask one webhook about one write: does it concern it, in which form does it see it, and what did it say."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from ...auth.authorization import Authorizer
from ...callbacks import Caller, CallFailed
from ...resources import Resource, Resources
from ..attributes import Attributes, Lookup
from ..authorizing import Checks
from ..complaints import refused
from .configurations import ConditionFailed, Hook
from .matching import equivalents_of, in_namespaces, matches_object, matching_resource
from .metrics import ADMIT, CALLING_ERROR, NO_ERROR, SERVER_ERROR, WebhookMetrics
from .refusals import Denied, failed_call, no_dry_run, not_asked
from .review import Verdict, question, read_answer, request_of

log = structlog.get_logger(__name__)

Object = dict[str, Any]
Mapped = Mapping[str, Any]


class Convert(Protocol):
    """How objects pass from one version of a kind to another."""

    async def __call__(self, obj: Mapped, wanted: Resource) -> Object:
        """The object in the version of `wanted`. Raises ApiError."""
        ...


async def objects_seen(
    attributes: Attributes, shown_as: Resource, convert: Convert
) -> tuple[Mapped | None, Mapped | None]:
    """The object and what it was, as those see them who named that version. Raises ApiError."""
    obj, old = attributes.shown_object(), attributes.shown_old()
    if shown_as is attributes.resource or attributes.is_own_form:
        return obj, old
    return (
        None if obj is None else await convert(obj, shown_as),
        None if old is None else await convert(old, shown_as),
    )


@dataclass(frozen=True, slots=True)
class Question:
    """A webhook that is to be asked, and how it sees the object."""

    hook: Hook
    shown_as: Resource
    obj: Mapped | None
    old: Mapped | None


class Asking:
    """What mutating and validating webhooks have in common."""

    def __init__(
        self, resources: Resources, caller: Caller, convert: Convert, metrics: WebhookMetrics, authorizer: Authorizer
    ) -> None:
        self._resources, self._caller, self._convert, self.metrics = resources, caller, convert, metrics
        self._authorizer = authorizer

    async def question(self, hook: Hook, kind: str, attributes: Attributes, lookup: Lookup) -> Question | None:
        """What to ask; None when the write does not concern the webhook. Raises NotFound, Forbidden, BadRequest."""
        shown_as = matching_resource(hook.rules, attributes, lambda: self._equivalents(hook, attributes))
        if shown_as is None or not matches_object(hook.objects, attributes):
            return None
        if not await in_namespaces(hook.namespaces, attributes, lookup):
            return None
        asked = await self._seen(hook, shown_as, attributes)
        if hook.conditions is not None and not await self._conditions_hold(asked, kind, attributes):
            return None
        if attributes.dry_run and hook.has_effects:
            raise no_dry_run(hook.name)
        return asked

    async def ask(self, asked: Question, kind: str, attributes: Attributes) -> Verdict | None:
        """The verdict, which allows; None when the webhook failed and may. Raises Denied, InternalError."""
        hook, began, operation = asked.hook, time.monotonic(), attributes.operation
        try:
            verdict = await self._exchange(asked, kind, attributes)
        except CallFailed as error:
            taken_s = time.monotonic() - began
            self.metrics.asked(hook.name, kind, operation, taken_s, error.code, rejected=not hook.fails_open)
            if hook.fails_open:
                self._failed_open(hook, kind, attributes, error)
                return None
            self.metrics.refused(hook.name, kind, operation, CALLING_ERROR, error.code)
            raise not_asked(hook.name, error) from error
        taken_s = time.monotonic() - began
        self._take_notes(hook, verdict, attributes)
        if not verdict.allowed:
            denied = Denied(hook.name, verdict.status)
            self.metrics.asked(hook.name, kind, operation, taken_s, denied.code, rejected=True)
            self.metrics.refused(hook.name, kind, operation, NO_ERROR, denied.code)
            raise denied
        self.metrics.asked(hook.name, kind, operation, taken_s, 200, rejected=False)
        return verdict

    def refused_by_us(self, hook: Hook, kind: str, attributes: Attributes, code: int) -> None:
        """Count a write that ends because of what a webhook made of it."""
        self.metrics.refused(hook.name, kind, attributes.operation, SERVER_ERROR, code)

    async def as_asked_for(self, obj: Object, shown_as: Resource, attributes: Attributes) -> Object:
        """What a webhook made of the object, back in the version that is written."""
        is_as_written = shown_as is attributes.resource or attributes.is_own_form
        return obj if is_as_written else await self._convert(obj, attributes.resource)

    async def _exchange(self, asked: Question, kind: str, attributes: Attributes) -> Verdict:
        uid = str(uuid.uuid4())
        body = question(uid, request_of(attributes, asked.shown_as), asked.obj, asked.old)
        answer = await self._caller.post(asked.hook.endpoint, body, asked.hook.timeout_s)
        return read_answer(answer, uid, may_patch=kind == ADMIT)

    async def _seen(self, hook: Hook, shown_as: Resource, attributes: Attributes) -> Question:
        obj, old = await objects_seen(attributes, shown_as, self._convert)
        return Question(hook, shown_as, obj, old)

    def _equivalents(self, hook: Hook, attributes: Attributes) -> Sequence[Resource]:
        """The other versions the kind is served in. A subresource with a kind of its own is the same in all of them."""
        if not hook.accepts_equivalents:
            return ()
        return equivalents_of(self._resources, attributes.resource)

    async def _conditions_hold(self, asked: Question, kind: str, attributes: Attributes) -> bool:
        hook, labels = asked.hook, (asked.hook.name, "webhook", kind, attributes.operation)
        assert hook.conditions is not None, hook.name
        try:
            request = request_of(attributes, asked.shown_as)
            checks = Checks(self._authorizer, attributes, asked.shown_as)
            holds = await hook.conditions.hold(request, asked.obj, asked.old, checks)
        except ConditionFailed as error:
            self.metrics.condition_errors.labels(*labels).inc()
            if hook.fails_open:
                return False
            raise refused(attributes, str(error)) from error
        if not holds:
            self.metrics.excluded.labels(*labels).inc()
        return holds

    def _failed_open(self, hook: Hook, kind: str, attributes: Attributes, error: CallFailed) -> None:
        self.metrics.failed_open.labels(hook.name, kind).inc()
        log.warning("a webhook failed and is ignored", webhook=hook.name, reason=failed_call(hook.name, error))
        what = "mutating" if kind == ADMIT else "validating"
        attributes.audit[f"failed-open.{what}.webhook.admission.k8s.io/{hook.name}"] = hook.name

    def _take_notes(self, hook: Hook, verdict: Verdict, attributes: Attributes) -> None:
        attributes.warnings += [text for text in verdict.warnings if text not in attributes.warnings]
        for key, value in (verdict.audit or {}).items():
            attributes.audit[f"{hook.name}/{key}"] = value
