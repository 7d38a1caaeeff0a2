"""The pages about kinds in `docs/kinds`: every field with its type, its default and what it means.

They are the supported subset: what is not on a page is answered as an unknown field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .meta import Column, KubeObject, Model, ResourceDef
from .printers import find_printer
from .structural import Schema, field_docs, models, structural_schema

NOTE = "Generated from the models by `python -m stark.crds.generate`; do not edit.\n"


NAMESAKES = frozenset({("events.k8s.io", "v1", "Event"), ("autoscaling", "v1", "HorizontalPodAutoscaler")})
"""Kinds that share their name with one of another group or version: their pages say the group and the version, too."""


def page_name(resource: ResourceDef) -> str:
    """The file of a kind's page: `Pod.md`, `Event.events.k8s.io.v1.md`."""
    is_namesake = (resource.group, resource.version, resource.kind) in NAMESAKES
    return f"{resource.kind}.{resource.group}.{resource.version}.md" if is_namesake else f"{resource.kind}.md"


def overview_page(kinds: Sequence[type[KubeObject]]) -> str:
    """The list of all kinds."""
    rows = [
        f"| [{r.kind}]({page_name(r)}) | `{r.api_version}` | `{r.plural}`{_names(r.short_names)} "
        f"| {'namespace' if r.namespaced else 'cluster'} | {', '.join(r.subresources) or '-'} |"
        for r in (kind.RESOURCE for kind in kinds)
    ]
    return "\n".join(
        [
            "# Kinds",
            "",
            NOTE,
            "What the API accepts, Stark does. Of Kubernetes' kinds these pages list exactly the fields that are",
            "implemented. Any other field is dropped and answered as an unknown one: with a `Warning` header, or with an",
            "error under `fieldValidation=Strict`.",
            "",
            "| Kind | apiVersion | Resource | Scope | Subresources |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def kind_page(kind: type[KubeObject]) -> str:
    """The page of one kind."""
    resource = kind.RESOURCE
    lines = [
        f"# {resource.kind}",
        "",
        NOTE,
        " ".join((kind.__doc__ or "").split()),
        "",
        f"- apiVersion: `{resource.api_version}`",
        f"- resource: `{resource.plural}`{_names(resource.short_names)}",
        f"- scope: {'namespace' if resource.namespaced else 'cluster'}",
    ]
    if resource.verbs:
        lines.append(f"- verbs: {_code(resource.verbs)}")
    if resource.subresources:
        lines.append(f"- subresources: {_code(resource.subresources)}")
    if resource.selectable_fields:
        lines.append(
            f"- field selectors: {_code(('metadata.name', 'metadata.namespace', *resource.selectable_fields))}"
        )
    lines += ["", *_columns(kind)]
    for title, text, schema in _sections(kind):
        lines += [f"## {title}", "", text, "", *_table(schema)]
    return "\n".join(lines)


def _names(names: Sequence[str]) -> str:
    return f" ({', '.join(f'`{name}`' for name in names)})" if names else ""


def _code(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _columns(kind: type[KubeObject]) -> Iterator[str]:
    printer = find_printer(kind.RESOURCE.group, kind.RESOURCE.kind)
    columns: tuple[Column, ...] = printer.columns if printer else kind.RESOURCE.columns
    if not columns:
        return
    yield "| Column | Shows |"
    yield "|---|---|"
    for column in columns:
        yield f"| {column.name.upper()}{' (wide)' if column.priority else ''} | {column.description} |"
    yield ""


def _sections(kind: type[KubeObject]) -> Iterator[tuple[str, str, Schema]]:
    """Title, text and schema of the kind and of every model below it, each once, in reading order."""
    names = {frozenset(field_docs(model).items()): model for model in models().values()}
    seen: set[type[Model]] = set()
    waiting: list[tuple[type[Model], Schema]] = [(kind, structural_schema(kind))]
    while waiting:
        model, schema = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        yield model.__name__, " ".join((model.__doc__ or "").split()), schema
        below = []
        for field in schema["properties"].values():
            inner = _object_in(field)
            texts = frozenset((name, item["description"]) for name, item in inner.get("properties", {}).items())
            if texts in names:
                below.append((names[texts], inner))
        waiting = [*below, *waiting]


def _object_in(schema: Schema) -> Schema:
    """The schema below lists and free maps."""
    while True:
        inner = schema.get("items") or schema.get("additionalProperties")
        if not isinstance(inner, dict):
            return schema
        schema = inner


def _table(schema: Schema) -> Iterator[str]:
    yield "| Field | Type | Default | Meaning |"
    yield "|---|---|---|---|"
    for name, field in schema["properties"].items():
        default = f"`{_shown(field['default'])}`" if "default" in field else ""
        required = " (required)" if name in schema.get("required", ()) else ""
        yield f"| `{name}`{required} | {_type(field)} | {default} | {field['description']}{_bounds(field)} |"
    yield ""


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else '""' if value == "" else str(value)


def _type(field: Schema) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "quantity" if "pattern" in field else "integer or string"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map of {_type(field['additionalProperties'])}"
    return str(field.get("format") or field.get("type", "any"))


def _bounds(field: Schema) -> str:
    words = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
        "maxProperties": "at most {} keys",
    }
    found = [text.format(field[word]) for word, text in words.items() if word in field]
    if "pattern" in field and "x-kubernetes-int-or-string" not in field:
        found.append("`" + field["pattern"].replace("|", "\\|") + "`")
    return f" ({'; '.join(found)})" if found else ""
