"""Each verb of a resource as a handler.

The options are read, the body decoded, the rules applied, and the answer put into the form that was asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import yaml

from stark.crds.incarnations import HEADER

from ..errors import BadRequest
from ..request import Request, Response, Stream, User
from ..resources import Resource
from ..wire.negotiate import ALL_FORMS, Accepted, Form, negotiate
from . import bodies, options
from .computed import Computed, compute
from .eviction import Evictions
from .lists import Lists
from .options import Target, Writing
from .ownership import SCALE
from .owning import narrowed, require_own
from .patching import configuration_of, is_apply, patch_of
from .placement import bind, finalize
from .records import Records, Stored
from .refusals import method_not_allowed, no_such_path
from .renderings import ListRendering, rendering_of
from .scale import check_scale, config_of, scale_of, scale_table, scaled
from .schemas import Schemas, complain
from .strategies import strategy_of
from .versions import Versions
from .watching import Watches
from .writes import MayCreate, Writes

INCARNATION_HEADER = HEADER.lower()

Object = dict[str, Any]

SCALE_FORMS = frozenset({Form.OBJECT, Form.TABLE})
APPLICABLE = ("", "status", "approval", SCALE)
"""Subresources that take an apply; empty is the object itself."""
REPLACEABLE = ("", "status", "approval")
"""Subresources that take the object itself, whole; empty is all of it."""
Foretelling = Callable[[Object, User], Awaitable[Object]]
"""From an object that would be made to what its maker is shown."""
OpenWatch = Callable[[], Callable[[], None]]
"""Takes a place among the open watches, or raises TooManyRequests; what it returns gives the place back."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the verbs are made of."""

    records: Records
    writes: Writes
    lists: Lists
    watches: Watches
    evictions: Evictions
    versions: Versions
    schemas: Schemas
    body_bytes_max: int
    protobuf: bodies.ProtobufReader | None = None
    computed: Mapping[tuple[str, str], Computed] = field(default_factory=dict)
    """Kinds that are not stored, by group and plural."""
    foretold: Mapping[tuple[str, str], Foretelling] = field(default_factory=dict)
    """Kinds of which a dry run tells what would become of a new object, by group and plural."""


class Verbs:
    """Handles a request for a resource, once it is known who asks and that they may."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._records, self._writes = parts.records, parts.writes
        self._handlers: Mapping[tuple[str, str], Callable[[Request, Target], Awaitable[Response]]] = {
            ("", "get"): self._get,
            ("", "list"): self._list,
            ("", "create"): self._create,
            ("", "patch"): self._patch,
            ("", "delete"): self._delete,
            ("", "deletecollection"): self._delete_collection,
            ("status", "get"): self._get,
            ("status", "patch"): self._patch,
            ("approval", "get"): self._get,
            ("approval", "patch"): self._patch,
            ("scale", "get"): self._get_scale,
            ("scale", "update"): self._put_scale,
            ("scale", "patch"): self._patch_scale,
            ("binding", "create"): self._bind,
            ("eviction", "create"): self._evict,
            ("finalize", "update"): self._finalize,
        }

    async def handle(
        self, verb: str, request: Request, target: Target, open_watch: OpenWatch, may_create: MayCreate
    ) -> Response | Stream:
        """The answer. Raises ApiError."""
        computed = self._parts.computed.get((target.resource.group, target.resource.plural))
        if computed is not None:
            return await self._computed(computed, verb, request, target)
        if target.subresource and target.subresource not in target.resource.subresources:
            raise no_such_path()
        if verb == "create" and target.name and not target.subresource:
            raise method_not_allowed(target.resource)
        if verb == "watch":
            return await self._watch(request, target, open_watch)
        if verb == "patch" and target.subresource in APPLICABLE and is_apply(request.headers.get("content-type", "")):
            return await self._apply(request, target, may_create)
        if verb == "update" and target.subresource in REPLACEABLE:
            return await self._update(request, target, may_create)
        handler = self._handlers.get((target.subresource, verb))
        if handler is None:
            raise method_not_allowed(target.resource)
        return await handler(request, target)

    async def _get(self, request: Request, target: Target) -> Response:
        accepted = self._accepted(request)
        at_least = options.parse_revision(request.query.first("resourceVersion"))
        entry = await self._records.get(target.resource, target.namespace, target.name, at_least=at_least)
        if target.own is not None:
            require_own(target, entry.decode())
        (shown,) = await self._parts.versions.entries(target.resource, [entry])
        return answer(request, accepted, self._rendering(request, target.resource, accepted).render(shown))

    async def _list(self, request: Request, target: Target) -> Response:
        accepted = self._accepted(request)
        cache = await self._records.cache(target.resource)
        part = await self._parts.lists.list(target, _listing(request, target, cache.paths))
        shown = await self._parts.versions.entries(target.resource, part.entries)
        body = self._rendering(request, target.resource, accepted).list(shown, part.meta())
        return answer(request, accepted, body)

    async def _computed(self, kind: Computed, verb: str, request: Request, target: Target) -> Response:
        accepted = self._accepted(request)
        entries = await compute(kind, verb, target, request.query)
        rendering = self._rendering(request, target.resource, accepted)
        body = rendering.render(entries[0]) if verb == "get" else rendering.list(entries, {})
        return answer(request, accepted, body)

    async def _watch(self, request: Request, target: Target, open_watch: OpenWatch) -> Stream:
        accepted = negotiate(request.headers.get("accept", ""), ALL_FORMS, yaml=False)
        cache = await self._records.cache(target.resource)
        listing = _listing(request, target, cache.paths)
        rendering = self._rendering(request, target.resource, accepted)
        leave = open_watch()
        try:
            frames = await self._parts.watches.open(target, listing, rendering)
        except BaseException:
            leave()
            raise
        return Stream(frames, content_type="application/json", on_close=[frames.close, leave])

    async def _create(self, request: Request, target: Target) -> Response:
        accepted = self._accepted(request)
        writing, obj = await self._written(request, target)
        stored = await self._writes.create(target, obj, writing)
        if writing.dry_run:
            stored = await self._foretold(target, stored, writing)
        return await self._answer_stored(request, accepted, target, stored, 201)

    async def _foretold(self, target: Target, stored: Stored, writing: Writing) -> Stored:
        """A new object after a dry run, with what would become of it."""
        foretell = self._parts.foretold.get((target.resource.group, target.resource.plural))
        if foretell is None:
            return stored
        return Stored.unwritten(await foretell(stored.obj, writing.user))

    async def _update(self, request: Request, target: Target, may_create: MayCreate) -> Response:
        accepted = self._accepted(request)
        writing, obj = await self._written(request, target)
        stored, is_new = await self._writes.update(target, obj, writing, may_create)
        return await self._answer_stored(request, accepted, target, stored, 201 if is_new else 200)

    async def _apply(self, request: Request, target: Target, may_create: MayCreate) -> Response:
        accepted = self._accepted(request)
        force, writing = options.applying(request.query), self._writing(request, target)
        writing.applies = True
        config = configuration_of(await request.body.read(self._parts.body_bytes_max))
        if target.subresource == SCALE:
            return await self._answer_scale(
                request, target, (await self._apply_scale(target, config, writing, force)).obj
            )
        stored, is_new = await self._writes.apply(target, config, writing, force=force, may_create=may_create)
        if is_new and writing.dry_run:
            stored = await self._foretold(target, stored, writing)
        return await self._answer_stored(request, accepted, target, stored, 201 if is_new else 200)

    async def _apply_scale(self, target: Target, scale: Object, writing: Writing, force: bool) -> Stored:
        def config(obj: Object) -> Object:
            check_scale(target.resource, scale, obj)
            return config_of(target.resource, obj, scale)

        return await self._writes.apply_part(target, config, writing, force=force)

    async def _patch(self, request: Request, target: Target) -> Response:
        accepted = self._accepted(request)
        options.not_applying(request.query)
        writing = self._writing(request, target)
        data = await request.body.read(self._parts.body_bytes_max)
        change = patch_of(data, request.headers.get("content-type", ""), target.resource)
        stored = await self._writes.patch(target, change, writing)
        return await self._answer_stored(request, accepted, target, stored, 200)

    async def _delete(self, request: Request, target: Target) -> Response:
        accepted = self._accepted(request)
        wanted = await self._deletion(request)
        stored, is_gone = await self._writes.delete(target, wanted, self._writing(request, target))
        if is_gone and not strategy_of(target.resource).returns_deleted:
            return answer(request, accepted, orjson.dumps(_gone(target, stored)))
        return await self._answer_stored(request, accepted, target, stored, 200)

    async def _delete_collection(self, request: Request, target: Target) -> Response:
        accepted = self._accepted(request)
        wanted = await self._deletion(request)
        cache = await self._records.cache(target.resource)
        part = await self._parts.lists.list(target, _listing(request, target, cache.paths))
        targets = [replace(target, namespace=entry.namespace, name=entry.name) for entry in part.entries]
        await self._writes.delete_all(targets, wanted, self._writing(request, target))
        shown = await self._parts.versions.entries(target.resource, part.entries)
        body = self._rendering(request, target.resource, accepted).list(shown, part.meta())
        return answer(request, accepted, body)

    async def _get_scale(self, request: Request, target: Target) -> Response:
        obj = (await self._records.get(target.resource, target.namespace, target.name)).decode()
        require_own(target, obj)
        return await self._answer_scale(request, target, obj)

    async def _put_scale(self, request: Request, target: Target) -> Response:
        data = await request.body.read(self._parts.body_bytes_max)
        scale = bodies.decode(data, request.headers.get("content-type", ""), self._parts.protobuf)

        async def change(obj: Object) -> Object:
            check_scale(target.resource, scale, obj)
            return scaled(target.resource, obj, scale)

        stored = await self._writes.mutate(target, change, self._writing(request, target))
        return await self._answer_scale(request, target, stored.obj)

    async def _patch_scale(self, request: Request, target: Target) -> Response:
        data = await request.body.read(self._parts.body_bytes_max)
        patch = patch_of(data, request.headers.get("content-type", ""), target.resource)

        async def change(obj: Object) -> Object:
            scale = patch(scale_of(target.resource, obj))
            check_scale(target.resource, scale, obj)
            return scaled(target.resource, obj, scale)

        stored = await self._writes.mutate(target, change, self._writing(request, target))
        return await self._answer_scale(request, target, stored.obj)

    async def _bind(self, request: Request, target: Target) -> Response:
        writing, binding = await self._body_of(request, target, "v1", "Binding")
        await self._writes.admit_body(target, ("", "v1", "Binding"), binding, writing)
        await bind(self._writes, target, binding, writing)
        return answer(request, Accepted(), orjson.dumps(_success()), 201)

    async def _evict(self, request: Request, target: Target) -> Response:
        writing, eviction = await self._body_of(request, target, "policy/v1", "Eviction")
        await self._writes.admit_body(target, ("policy", "v1", "Eviction"), eviction, writing)
        # Judged as an eviction, the deletion that follows is not judged again.
        await self._parts.evictions.evict(target, eviction, replace(writing, consults=False), request.query)
        return answer(request, Accepted(), orjson.dumps(_success()), 201)

    async def _finalize(self, request: Request, target: Target) -> Response:
        accepted = self._accepted(request)
        writing, obj = await self._body_of(request, target, target.resource.api_version, target.resource.kind)
        stored = await finalize(self._writes, target, obj, writing)
        return await self._answer_stored(request, accepted, target, stored, 200)

    def _accepted(self, request: Request) -> Accepted:
        return negotiate(request.headers.get("accept", ""))

    def _rendering(self, request: Request, resource: Resource, accepted: Accepted) -> ListRendering:
        return rendering_of(resource, accepted, request.query.first("includeObject"))

    def _writing(self, request: Request, target: Target) -> Writing:
        assert request.user is not None, request.path
        user_agent = request.headers.get("user-agent", "")
        writing = options.writing(request.query, request.user, request.warnings, user_agent, request.audit)
        writing.restricted = target.own is not None
        writing.incarnation = request.headers.get(INCARNATION_HEADER, "")
        return writing

    async def _written(self, request: Request, target: Target) -> tuple[Writing, Object]:
        """The options and the decoded body of a write, with complaints about keys that are there twice."""
        writing = self._writing(request, target)
        data = await request.body.read(self._parts.body_bytes_max)
        content_type = request.headers.get("content-type", "")
        obj = bodies.decode(data, content_type, self._parts.protobuf)
        request.subject = obj.get("metadata")
        if writing.checks_duplicates:
            doubled = bodies.duplicate_fields(data, content_type)
            complain(target.resource, [f'duplicate field "{path}"' for path in doubled], writing)
        return writing, obj

    async def require_own(self, target: Target) -> None:
        """For what goes on with an object elsewhere, in its agent or among bundles. Raises NotFound, Forbidden."""
        require_own(target, (await self._records.get(target.resource, target.namespace, target.name)).decode())

    async def read_body(self, request: Request, api_version: str, kind: str) -> Object:
        """A body that must be of this kind, unchecked otherwise. Raises BadRequest, UnsupportedMediaType."""
        data = await request.body.read(self._parts.body_bytes_max)
        obj = bodies.decode(data, request.headers.get("content-type", ""), self._parts.protobuf)
        bodies.expect_kind(obj, api_version, kind)
        return obj

    async def read_question(self, request: Request, target: Target) -> Object:
        """The body of a kind that is only asked, as its schema has it. Raises BadRequest, UnsupportedMediaType, Invalid."""
        writing, obj = await self._written(request, target)
        bodies.expect_kind(obj, target.resource.api_version, target.resource.kind)
        return self._parts.schemas.admit_new(target.resource, obj, writing)

    async def _body_of(self, request: Request, target: Target, api_version: str, kind: str) -> tuple[Writing, Object]:
        return self._writing(request, target), await self.read_body(request, api_version, kind)

    async def _deletion(self, request: Request) -> options.Deletion:
        data = await request.body.read(self._parts.body_bytes_max)
        body = bodies.decode(data, request.headers.get("content-type", ""), self._parts.protobuf) if data else {}
        if body.get("kind", "DeleteOptions") != "DeleteOptions":
            raise BadRequest(f"expected DeleteOptions, got {body['kind']}")
        return options.deletion(request.query, body)

    async def _answer_stored(
        self, request: Request, accepted: Accepted, target: Target, stored: Stored, status: int
    ) -> Response:
        request.subject = stored.obj["metadata"]
        resource, shown = target.resource, stored.entry
        if resource.family is not None:
            (shown,) = await self._parts.versions.entries(resource, [shown])
        body = self._rendering(request, resource, accepted).render(shown)
        return answer(request, accepted, body, status)

    async def _answer_scale(self, request: Request, target: Target, obj: Mapping[str, Any]) -> Response:
        accepted = negotiate(request.headers.get("accept", ""), SCALE_FORMS)
        shown = await self._parts.versions.convert(obj, target.resource)
        scale = scale_of(target.resource, shown)
        if accepted.form is Form.TABLE:
            scale = scale_table(scale, request.query.first("includeObject"), accepted.version)
        return answer(request, accepted, orjson.dumps(scale))


def _listing(request: Request, target: Target, paths: tuple[str, ...]) -> options.Listing:
    listing = options.listing(request.query, target, paths)
    return listing if target.own is None else replace(listing, wanted=narrowed(listing.wanted, target, paths))


def answer(request: Request, accepted: Accepted, body: bytes | Sequence[bytes], status: int = 200) -> Response:
    """A body of JSON as the client wants it: as it is, indented, or as YAML."""
    if accepted.is_yaml:
        return Response(status, _as_yaml(body), accepted.media_type)
    if request.query.flag("pretty"):
        whole = body if isinstance(body, bytes) else b"".join(body)
        return Response(status, orjson.dumps(orjson.loads(whole), option=orjson.OPT_INDENT_2) + b"\n")
    return Response(status, body)


def _as_yaml(body: bytes | Sequence[bytes]) -> bytes:
    whole = body if isinstance(body, bytes) else b"".join(body)
    text: str = yaml.dump(orjson.loads(whole), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    return text.encode()


def _success() -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


def _gone(target: Target, stored: Stored) -> Object:
    details = {"name": target.name, "group": target.resource.group, "kind": target.resource.plural}
    named = {key: value for key, value in details.items() if value}
    return {**_success(), "details": {**named, "uid": stored.obj["metadata"]["uid"]}}
