"""From the bytes of a request's body to a mapping. JSON mostly, YAML for people; both bounded, both refused kindly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

import orjson
import yaml

from ..errors import BadRequest, UnsupportedMediaType
from ..resources import Resource

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"

ProtobufReader = Callable[[bytes], dict[str, Any]]
"""From a `k8s\\0` envelope to the object. Raises BadRequest."""


TYPES_REMEMBERED: Final = 64
"""Content types as they are sent, of which the bare type is kept."""
DEPTH_MAX: Final = 200
"""Nesting of a YAML body; a JSON one is bounded by its parser."""
NODES_MAX: Final = 100_000
"""Scalars, lists and mappings of a YAML body: reading one costs some ten microseconds, in which nobody else is served.
What is larger can be sent as JSON."""
NUMBER_LENGTH_MAX: Final = 400
"""Characters of a number, more than the largest float has."""
INT, FLOAT, TIMESTAMP = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))


class _PlainLoader(yaml.CSafeLoader):
    """JSON's types only, as Kubernetes' reader sees them: what looks like a date or like a time of day stays text."""

    def integer(self, node: yaml.ScalarNode) -> int:
        """Raises ValueError for more than fits in JSON."""
        return int(self.construct_yaml_int(_number(node)))

    def float(self, node: yaml.ScalarNode) -> float:
        """Raises ValueError."""
        return float(self.construct_yaml_float(_number(node)))


def _number(node: yaml.ScalarNode) -> yaml.ScalarNode:
    if len(node.value) > NUMBER_LENGTH_MAX or ":" in node.value:
        raise ValueError("a number is expected")
    return node


_PlainLoader.add_constructor(INT, _PlainLoader.integer)
_PlainLoader.add_constructor(FLOAT, _PlainLoader.float)
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (INT, FLOAT, TIMESTAMP)]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    FLOAT,
    re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|\.(?:inf|Inf|INF))\Z|\.(?:nan|NaN|NAN)\Z"
    ),
    list("-+0123456789."),
)
_PlainLoader.add_implicit_resolver(
    INT, re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)\Z"), list("-+0123456789")
)


@lru_cache(TYPES_REMEMBERED)
def media_type(header: str) -> str:
    """The media type without its parameters, in lower case."""
    return header.partition(";")[0].strip().lower()


def decode(data: bytes, content_type: str, protobuf: ProtobufReader | None = None) -> dict[str, Any]:
    """The mapping a body holds. Raises BadRequest, UnsupportedMediaType."""
    kind = media_type(content_type) or JSON
    if kind == JSON:
        return _mapping(_json(data))
    if kind in (YAML, "application/x-yaml", "text/yaml"):
        return _mapping(_yaml(data))
    if kind == PROTOBUF and protobuf is not None:
        return protobuf(data)
    offered = [JSON, YAML, *([PROTOBUF] if protobuf is not None else [])]
    raise UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(offered)}"
    )


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"couldn't get version/kind; json parse error: {error}") from error


def _yaml(data: bytes) -> Any:
    try:
        return orjson.loads(data)  # kubectl sends JSON as what it applies
    except orjson.JSONDecodeError:
        pass
    try:
        _check_events(data)
        loaded = yaml.load(data, Loader=_PlainLoader)
        # Through JSON once: keys become strings and what JSON cannot say is refused here.
        return orjson.loads(orjson.dumps(loaded, option=orjson.OPT_NON_STR_KEYS))
    except (yaml.YAMLError, TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # A tag that does not fit its text, such as !!bool maybe, is whatever the library happens to meet.
        raise BadRequest(f"error converting YAML to JSON: {error}") from error


def _check_events(data: bytes) -> None:
    """No aliases, by which a small text can stand for a huge object, and no nesting that exhausts the stack."""
    depth = nodes = 0
    for event in yaml.parse(data, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not accepted")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise yaml.YAMLError(f"nested deeper than {DEPTH_MAX}")
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > NODES_MAX:
            raise yaml.YAMLError(f"more than {NODES_MAX} values: send it as JSON")


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest("couldn't get version/kind; json parse error: the body is not an object")
    return value


def expect_kind(obj: dict[str, Any], api_version: str, kind: str) -> None:
    """Fill in apiVersion and kind when they are missing; others than expected are refused. Raises BadRequest."""
    if not isinstance(obj.setdefault("metadata", {}), dict):
        raise BadRequest(f"{kind} in version {api_version!r} cannot be handled: metadata is not an object")
    given_kind, given_version = obj.get("kind") or kind, obj.get("apiVersion") or api_version
    if given_version != api_version:
        raise BadRequest(
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )
    if given_kind != kind:
        raise BadRequest(f'{given_kind} in version "{given_version}" cannot be handled as a {kind}')
    obj["kind"], obj["apiVersion"] = given_kind, given_version


def expect_place(obj: dict[str, Any], resource: Resource, namespace: str, name: str) -> None:
    """The body must be about the object in the URL; what it leaves out is filled in. Raises BadRequest."""
    metadata: dict[str, Any] = obj["metadata"]
    if resource.namespaced:
        if metadata.get("namespace") and metadata["namespace"] != namespace:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    if not name:
        return
    if metadata.get("name") and metadata["name"] != name:
        raise BadRequest(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    metadata["name"] = name


def duplicate_fields(data: bytes, content_type: str) -> list[str]:
    """The keys that occur twice in a JSON body, as paths; what comes last counts. Nothing is said about other types."""
    if (media_type(content_type) or JSON) != JSON:
        return []
    try:
        pairs = json.loads(data, object_pairs_hook=_Pairs)
        return list(dict.fromkeys(_repeated(pairs, "")))
    except (ValueError, RecursionError):
        return []  # The first parse has complained, or there is nothing we could say about it.


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every key it was written with."""


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            place = f"{path}.{key}" if path else key
            if key in seen:
                yield place
            seen.add(key)
            yield from _repeated(item, place)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, f"{path}[{index}]")
