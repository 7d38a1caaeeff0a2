"""Strategic merge patch: lists whose items have a name are merged by it; and the three-way merge of `apply`.

Which list merges by which key comes as `MergeKeys` (see `loader.merge_keys`), not from types, so that starkctl and the
API server need no models. The semantics are those of Kubernetes' strategic merge patch, directives included:
`$patch` (replace, delete; merge), `$retainKeys`, `$deleteFromPrimitiveList/<list>` and `$setElementOrder/<list>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .json_patches import DEPTH_MAX, PatchMalformed, PatchTooLarge, same

MergeKeys = Mapping[str, str]
"""Dotted path of a field -> the key by which its items are known, e.g. `spec.containers.env` -> `name`.

A path runs through lists without a mark (`spec.containers.env`) and through free maps with `*`. Instead of a key there
may be MERGE_SCALARS, for a list of scalars that merges as a set, or RETAIN_KEYS, for a map that `apply` replaces.
"""
MERGE_SCALARS = ""
RETAIN_KEYS = "$retainKeys"

DIRECTIVE = "$patch"
DELETE_SCALARS = "$deleteFromPrimitiveList/"
ELEMENT_ORDER = "$setElementOrder/"

Object = dict[str, Any]


@dataclass(slots=True)
class _Shape:
    """What is known about one place in the object and the places below it."""

    key: str | None = None
    fields: dict[str, _Shape] = field(default_factory=dict)

    def below(self, name: str) -> _Shape:
        """What is known about the field of that name."""
        return self.fields.get(name) or self.fields.get("*") or _PLAIN


_PLAIN = _Shape()


def _shape_of(merge_keys: MergeKeys) -> _Shape:
    root = _Shape()
    for path, key in merge_keys.items():
        place = root
        for part in path.split("."):
            place = place.fields.setdefault(part, _Shape())
        place.key = key
    return root


def strategic_merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any], merge_keys: MergeKeys) -> Object:
    """The target with the patch merged in. Raises PatchMalformed with a path, PatchTooLarge when nested too deep."""
    return _merge_map(dict(target), dict(patch), _shape_of(merge_keys), ())


Path = tuple[str, ...]


def _at(path: Path) -> str:
    return ".".join(path)


def _merge_map(target: Object, patch: Object, shape: _Shape, path: Path) -> Object:
    if len(path) > DEPTH_MAX:
        raise PatchTooLarge(f"more than {DEPTH_MAX} levels deep")
    if DIRECTIVE in patch:
        return _whole_map(target, patch, shape, path)
    result = _retained(target, patch, path)
    for name, value in patch.items():
        if name == RETAIN_KEYS or name.startswith((DELETE_SCALARS, ELEMENT_ORDER)):
            continue
        if value is None:
            result.pop(name, None)
        elif name not in result:
            result[name] = _plain(value, path)
        else:
            result[name] = _merge_value(result[name], value, shape.below(name), (*path, name))
    _delete_scalars(result, patch, path)
    _order_elements(target, result, patch, shape, path)
    return result


def _whole_map(target: Object, patch: Object, shape: _Shape, path: Path) -> Object:
    directive = patch[DIRECTIVE]
    rest = {name: value for name, value in patch.items() if name != DIRECTIVE}
    if directive == "replace":
        return dict(_plain(rest, path))
    if directive == "delete":
        return {}
    if directive == "merge":
        return _merge_map(target, rest, shape, path)
    raise PatchMalformed(f"unknown patch type '{directive}' in map", _at(path))


def _retained(target: Object, patch: Object, path: Path) -> Object:
    """The target without what `$retainKeys` does not name."""
    if RETAIN_KEYS not in patch:
        return dict(target)
    keep = patch[RETAIN_KEYS]
    if not isinstance(keep, list) or not all(isinstance(name, str) for name in keep):
        raise PatchMalformed("$retainKeys must be a list of names", _at(path))
    named = [name for name, value in patch.items() if value is not None and not name.startswith("$")]
    if not set(named) <= set(keep):
        raise PatchMalformed("$retainKeys must name every field that the patch sets", _at(path))
    return {name: value for name, value in target.items() if name in keep}


def _merge_value(old: Any, value: Any, shape: _Shape, path: Path) -> Any:
    if isinstance(old, dict) and isinstance(value, dict):
        return _merge_map(old, value, shape, path)
    if isinstance(old, list) and isinstance(value, list) and shape.key is not None and shape.key != RETAIN_KEYS:
        return _merge_list(old, value, shape, path)
    return _plain(value, path)


def _merge_list(old: list[Any], patch: list[Any], shape: _Shape, path: Path) -> list[Any]:
    assert shape.key is not None, path
    if shape.key == MERGE_SCALARS:
        merged = _unique([*old, *patch])
        return _ordered(merged, patch, old, _scalar)
    kept, items = _list_directives(old, patch, shape.key, path)
    if kept is None:
        return [_plain(item, path) for item in items]
    places = {_freeze(item.get(shape.key)): index for index, item in enumerate(kept) if isinstance(item, dict)}
    result = list(kept)
    for item in items:
        identity = _freeze(_identity(item, shape.key, path))
        if identity in places:
            result[places[identity]] = _merge_map(result[places[identity]], item, shape, path)
        else:
            places[identity] = len(result)
            result.append(_plain(item, path))
    key = shape.key
    return _ordered(result, items, old, lambda item: _key_of(item, key))


def _list_directives(old: list[Any], patch: list[Any], key: str, path: Path) -> tuple[list[Any] | None, list[Object]]:
    """What is left of the old list (None: it is replaced) and the items of the patch that are no directives."""
    kept: list[Any] | None = list(old)
    items: list[Object] = []
    replace = False
    for item in patch:
        if not isinstance(item, dict):
            raise PatchMalformed("the items of this list are objects", _at(path))
        directive = item.get(DIRECTIVE)
        if DIRECTIVE not in item:
            items.append(item)
        elif directive == "delete":
            gone = _identity(item, key, path)
            kept = [one for one in kept or () if not (isinstance(one, dict) and same(one.get(key), gone))]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            items.append({name: value for name, value in item.items() if name != DIRECTIVE})
        else:
            raise PatchMalformed(f"unknown patch type '{directive}' in list", _at(path))
    return (None if replace else kept), items


def _identity(item: Object, key: str, path: Path) -> Any:
    if item.get(key) is None:
        raise PatchMalformed(f"map: {item} does not contain declared merge key: {key}", _at(path))
    return item[key]


def _delete_scalars(result: Object, patch: Object, path: Path) -> None:
    for directive, gone in patch.items():
        if not directive.startswith(DELETE_SCALARS):
            continue
        name = directive.removeprefix(DELETE_SCALARS)
        if not isinstance(gone, list):
            raise PatchMalformed("must be a list", _at((*path, directive)))
        if isinstance(result.get(name), list):
            result[name] = [item for item in result[name] if not any(same(item, one) for one in gone)]


def _order_elements(target: Object, result: Object, patch: Object, shape: _Shape, path: Path) -> None:
    for directive, order in patch.items():
        if not directive.startswith(ELEMENT_ORDER):
            continue
        name = directive.removeprefix(ELEMENT_ORDER)
        if not isinstance(order, list):
            raise PatchMalformed("must be a list", _at((*path, directive)))
        merged, key = result.get(name), shape.below(name).key
        if not isinstance(merged, list) or key is None or key == RETAIN_KEYS:
            continue
        before = target.get(name) if isinstance(target.get(name), list) else []
        identify = _scalar if key == MERGE_SCALARS else lambda item, key=key: _key_of(item, key)  # type: ignore[misc]
        result[name] = _ordered(merged, order, before or [], identify)


def _scalar(item: Any) -> Any:
    return _freeze(item)


def _key_of(item: Any, key: str) -> Any:
    return _freeze(item.get(key)) if isinstance(item, dict) else None


def _freeze(value: Any) -> Any:
    """A hashable stand-in with JSON's idea of equality."""
    if isinstance(value, dict | list):
        return repr(value)
    return (type(value) is bool, value)


def _ordered(merged: Sequence[Any], order: Sequence[Any], before: Sequence[Any], identify: Any) -> list[Any]:
    """The merged items: those in `order` as it says, the others where the old list had them, as far as both can be."""
    wanted = {identify(item): index for index, item in reversed(list(enumerate(order)))}
    was = {identify(item): index for index, item in reversed(list(enumerate(before)))}
    named = sorted((item for item in merged if identify(item) in wanted), key=lambda item: wanted[identify(item)])
    others = sorted(
        (item for item in merged if identify(item) not in wanted), key=lambda item: was.get(identify(item), len(was))
    )
    # Interleave: an item that only the server has goes before the first named one that stood behind it.
    result: list[Any] = []
    for item in named:
        place = was.get(identify(item))
        while others and place is not None and was.get(identify(others[0]), len(was)) < place:
            result.append(others.pop(0))
        result.append(item)
    return result + others


def _unique(items: Sequence[Any]) -> list[Any]:
    seen: set[Any] = set()
    result = []
    for item in items:
        if _freeze(item) not in seen:
            seen.add(_freeze(item))
            result.append(item)
    return result


def _plain(value: Any, path: Path) -> Any:
    """A value that is new to the target: without directives, and without the nulls that would have removed something."""
    if len(path) > DEPTH_MAX:
        raise PatchTooLarge(f"more than {DEPTH_MAX} levels deep")
    if isinstance(value, dict):
        return {
            name: _plain(item, (*path, name))
            for name, item in value.items()
            if item is not None and name not in (DIRECTIVE, RETAIN_KEYS)
            if not name.startswith((DELETE_SCALARS, ELEMENT_ORDER))
        }
    if isinstance(value, list):
        return [_plain(item, (*path, "[]")) for item in value if not _is_instruction(item)]
    return value


def _is_instruction(item: Any) -> bool:
    """Whether a list's item only says what to do with the others."""
    return isinstance(item, dict) and item.get(DIRECTIVE) in ("delete", "replace")


def three_way_merge(
    original: Mapping[str, Any] | None,
    modified: Mapping[str, Any],
    current: Mapping[str, Any],
    merge_keys: MergeKeys | None,
) -> Object:
    """The patch that `apply` sends: `modified` over `current`, and without what `original` had and `modified` has not.

    `original` is what was applied last. What only `current` has is left alone. With `merge_keys` the patch is a strategic
    merge patch, with None a JSON merge patch in which lists are replaced. Empty when there is nothing to change.
    """
    shape = _PLAIN if merge_keys is None else _shape_of(merge_keys)
    return _diff_map(dict(original or {}), dict(modified), dict(current), shape, ())


def _diff_map(original: Object, modified: Object, current: Object, shape: _Shape, path: Path) -> Object:
    if len(path) > DEPTH_MAX:
        raise PatchTooLarge(f"more than {DEPTH_MAX} levels deep")
    patch: Object = {name: None for name in original if name in current and modified.get(name) is None}
    for name, value in modified.items():
        if value is None:
            patch.update({name: None} if name in current else {})
        elif name not in current:
            patch[name] = value
        elif isinstance(value, dict) and isinstance(current[name], dict):
            _diff_field(patch, name, _dict(original.get(name)), value, current[name], shape.below(name), path)
        elif isinstance(value, list) and isinstance(current[name], list):
            patch.update(_diff_list(name, _list(original.get(name)), value, current[name], shape.below(name), path))
        elif not same(value, current[name]):
            patch[name] = value
    return patch


def _diff_field(
    patch: Object, name: str, original: Object, modified: Object, current: Object, shape: _Shape, path: Path
) -> None:
    changes = _diff_map(original, modified, current, shape, (*path, name))
    if not changes:
        return
    if shape.key == RETAIN_KEYS:
        changes = {key: value for key, value in changes.items() if value is not None}
        changes[RETAIN_KEYS] = sorted(key for key, value in modified.items() if value is not None)
    patch[name] = changes


def _diff_list(
    name: str, original: list[Any], modified: list[Any], current: list[Any], shape: _Shape, path: Path
) -> Object:
    if shape.key is None or shape.key == RETAIN_KEYS:
        return {} if same(modified, current) else {name: modified}
    if shape.key == MERGE_SCALARS:
        return _diff_scalars(name, original, modified, current)
    everything = (original, modified, current)
    if not all(_has_identities(items, shape.key) for items in everything):
        # Two ports of one number with different protocols have the same key; merging by it would lose one of them.
        return {} if _covers(current, modified, original) else {name: [*modified, {DIRECTIVE: "replace"}]}
    return _diff_items(name, original, modified, current, shape, path)


def _diff_scalars(name: str, original: list[Any], modified: list[Any], current: list[Any]) -> Object:
    has, wants = {_freeze(item) for item in current}, {_freeze(item) for item in modified}
    patch: Object = {}
    added = [item for item in _unique(modified) if _freeze(item) not in has]
    gone = [item for item in _unique(original) if _freeze(item) in has and _freeze(item) not in wants]
    if added:
        patch[name] = added
    if gone:
        patch[DELETE_SCALARS + name] = gone
    if modified and (patch or not _in_order(modified, current, _scalar)):
        patch[ELEMENT_ORDER + name] = _unique(modified)
    return patch


def _diff_items(
    name: str, original: list[Any], modified: list[Any], current: list[Any], shape: _Shape, path: Path
) -> Object:
    assert shape.key is not None, path
    key = shape.key
    was, has, wants = ({_key_of(item, key): item for item in items} for items in (original, current, modified))
    changes: list[Object] = []
    for identity, item in wants.items():
        if identity not in has:
            changes.append(item)
            continue
        change = _diff_map(was.get(identity, {}), item, has[identity], shape, (*path, name))
        if change:
            changes.append({key: item[key], **change})
    for identity, item in was.items():
        if identity in has and identity not in wants:
            changes.append({DIRECTIVE: "delete", key: item[key]})
    patch: Object = {name: changes} if changes else {}
    if modified and (changes or not _in_order(modified, current, lambda item: _key_of(item, key))):
        patch[ELEMENT_ORDER + name] = [{key: item[key]} for item in modified]
    return patch


def _in_order(modified: Sequence[Any], current: Sequence[Any], identify: Any) -> bool:
    place = {identify(item): index for index, item in enumerate(current)}
    places = [place[identify(item)] for item in modified if identify(item) in place]
    return places == sorted(places)


def _has_identities(items: Sequence[Any], key: str) -> bool:
    identities = [_key_of(item, key) for item in items if isinstance(item, dict) and item.get(key) is not None]
    return len(identities) == len(items) == len(set(identities))


def _covers(current: Sequence[Any], modified: Sequence[Any], original: Sequence[Any]) -> bool:
    """Whether each current item says what the modified one at its place says, with nothing taken away since."""
    return len(current) == len(modified) and all(
        not _diff_map(_dict(was), wants, has, _PLAIN, ())
        if isinstance(wants, dict) and isinstance(has, dict)
        else same(wants, has)
        for was, wants, has in zip(_padded(original, len(modified)), modified, current, strict=True)
    )


def _padded(items: Sequence[Any], length: int) -> list[Any]:
    return [*items[:length], *({} for _ in range(length - len(items)))]


def _dict(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
