"""Labels and annotations of any objects, set and taken off: what `starkctl label` and `starkctl annotate` have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .errors import EXIT_ERROR, EXIT_OK, CommandError, ServerError, UsageError
from .nodes import ATTEMPTS_MAX, MERGE, add_dry_run, dry_run_mark, listed
from .options import Session
from .output import object_name, print_object, visible
from .resources import Kind
from .targets import parse_targets, read_manifests

Object = dict[str, Any]


class Marks(NamedTuple):
    """Which of the two, and the words for it."""

    field: str
    verb: str
    done: str


class Wanted(NamedTuple):
    """What is to be set and what taken off."""

    new: Mapping[str, str]
    gone: Sequence[str]


class Found(NamedTuple):
    """One object, where it is and as it was seen."""

    kind: Kind
    path: str
    seen: Object

    @property
    def label(self) -> str:
        """`pod/web`."""
        return object_name(self.kind, str(self.seen["metadata"]["name"]))


def add_options(parser: argparse.ArgumentParser, marks: Marks) -> None:
    """Declare the options, the same for both."""
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"objects, then {marks.field}: KEY=VALUE, or KEY-")
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="FILE", help="the objects of a manifest"
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="with -f DIRECTORY: its subdirectories too")
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="the objects with these labels")
    parser.add_argument("--field-selector", default="", metavar="FIELDS", help="the objects with these fields")
    parser.add_argument("--all", action="store_true", help="every object of the type in the namespace")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    parser.add_argument("--overwrite", action="store_true", help=f"replace {marks.field} that have another value")
    parser.add_argument(
        "--list", action="store_true", help=f"print the {marks.field}, after the change if there is one"
    )
    parser.add_argument("--resource-version", metavar="VERSION", help="only if the object is still at this version")
    parser.add_argument(
        "--field-manager", default=f"kubectl-{marks.verb}", metavar="NAME", help="who is noted as the writer"
    )
    parser.add_argument("-o", "--output", choices=("name", "yaml", "json"), help="print the objects, or their names")
    add_dry_run(parser)


def mark(args: argparse.Namespace, session: Session, marks: Marks) -> int:
    """Change each object; one that fails does not keep the others from it."""
    words, wanted = split_words(args.words, marks)
    if not (wanted.new or wanted.gone or args.list):
        raise UsageError(f"say which {marks.field}: KEY=VALUE to set one, KEY- to take it off, or --list")
    found = list(_found(args, session, words))
    if args.resource_version and len(found) > 1:
        raise UsageError("--resource-version is for a single object")
    failed = False
    for number, each in enumerate(found):
        try:
            after = _change(args, session, marks, each, wanted)
        except CommandError as error:
            prefix = "" if isinstance(error, ServerError) else f"{each.label}: "
            print(f"{prefix}{error}", file=sys.stderr)
            failed = True
            continue
        _tell(args, marks, each, wanted, after, first=number == 0, alone=len(found) == 1)
    if not found:
        print("No resources found", file=sys.stderr)
    return EXIT_ERROR if failed else EXIT_OK


def split_words(words: Sequence[str], marks: Marks) -> tuple[list[str], Wanted]:
    """The objects, and what comes after them. Raises UsageError."""
    rest = list(words)
    objects: list[str] = []
    while rest and "=" not in rest[0] and not rest[0].endswith("-"):
        objects.append(rest.pop(0))
    new: dict[str, str] = {}
    gone: list[str] = []
    for word in rest:
        key, equals, value = word.partition("=")
        if equals and key:
            new[key] = value
        elif not equals and len(key) > 1 and key.endswith("-"):
            gone.append(key[:-1])
        else:
            raise UsageError(f"{word!r} is neither KEY=VALUE nor KEY-; objects come before {marks.field}")
    both = sorted(new.keys() & set(gone))
    if both:
        raise UsageError(f"{', '.join(both)}: cannot be set and taken off at once")
    return objects, Wanted(new, gone)


def _found(args: argparse.Namespace, session: Session, words: Sequence[str]) -> Iterator[Found]:
    if args.filename:
        if words or args.selector or args.field_selector or args.all:
            raise UsageError("give either types and names, or -f, not both")
        for manifest in read_manifests(args.filename, recursive=args.recursive):
            meta = manifest["metadata"]
            if not meta.get("name"):
                raise CommandError(
                    f"the {manifest['kind']} has only a generateName: it cannot be found by its manifest"
                )
            kind = session.catalog.of_manifest(manifest["apiVersion"], manifest["kind"])
            path = kind.path(str(meta.get("namespace") or session.namespace), str(meta["name"]))
            yield Found(kind, path, session.api.get(path))
        return
    chosen = bool(args.selector or args.field_selector or args.all)
    for kind, names in parse_targets(words, session.catalog):
        if bool(names) == chosen:
            raise UsageError("say which objects: their names, or --selector, --field-selector or --all")
        for name in names:
            path = kind.path(session.namespace, name)
            yield Found(kind, path, session.api.get(path))
        if names:
            continue
        where = kind.path(None if args.all_namespaces else session.namespace)
        for item in listed(session, where, labels=args.selector, fields=args.field_selector):
            meta = item["metadata"]
            whole = {"apiVersion": kind.api_version, "kind": kind.kind, **item}
            yield Found(kind, kind.path(meta.get("namespace"), meta["name"]), whole)


def _change(args: argparse.Namespace, session: Session, marks: Marks, found: Found, wanted: Wanted) -> Object:
    """The object as it is afterwards. Made again when somebody else wrote it since it was seen. Raises CommandError."""
    seen = found.seen
    query = {"fieldManager": args.field_manager, **({"dryRun": "All"} if args.dry_run == "server" else {})}
    for attempt in range(ATTEMPTS_MAX):
        patch = patch_of(marks_of(seen, marks), wanted, overwrite=args.overwrite)
        if not patch and not args.resource_version:
            return seen
        if args.dry_run == "client":
            return _patched(seen, marks, patch)
        meta: Object = {marks.field: patch}
        if args.resource_version or not args.overwrite:
            meta["resourceVersion"] = args.resource_version or seen["metadata"]["resourceVersion"]
        try:
            return session.api.request("PATCH", found.path, query=query, body={"metadata": meta}, content_type=MERGE)
        except ServerError as error:
            if error.reason != "Conflict" or args.resource_version or attempt + 1 == ATTEMPTS_MAX:
                raise
            seen = session.api.get(found.path)
    raise AssertionError(ATTEMPTS_MAX)


def marks_of(obj: Object, marks: Marks) -> dict[str, str]:
    """The labels or the annotations that an object has."""
    return dict(obj["metadata"].get(marks.field) or {})


def patch_of(now: Mapping[str, str], wanted: Wanted, *, overwrite: bool) -> dict[str, str | None]:
    """What has to be written, None for what goes. Raises CommandError where another value stands in the way."""
    for key, value in wanted.new.items():
        if not overwrite and now.get(key, value) != value:
            raise CommandError(f"'{key}' already has a value ({now[key]}), and --overwrite is not given")
    new = {key: value for key, value in wanted.new.items() if now.get(key) != value}
    return {**new, **{key: None for key in wanted.gone if key in now}}


def _patched(seen: Object, marks: Marks, patch: Mapping[str, str | None]) -> Object:
    merged = {**marks_of(seen, marks), **patch}
    left = {key: value for key, value in merged.items() if value is not None}
    return {**seen, "metadata": {**seen["metadata"], marks.field: left}}


def _tell(
    args: argparse.Namespace, marks: Marks, found: Found, wanted: Wanted, after: Object, *, first: bool, alone: bool
) -> None:
    before = marks_of(found.seen, marks)
    if args.list:
        if not alone:
            print(f"Listing {marks.field} for {found.label}:")
        for key, value in sorted(marks_of(after, marks).items()):
            print(f"{'' if alone else ' '}{visible(key)}={visible(value)}")
        return
    if args.output in ("yaml", "json"):
        if args.output == "yaml" and not first:
            print("---")
        print_object(after, args.output)
        return
    if args.output == "name":
        print(found.label)
        return
    for key in wanted.gone if marks.field == "labels" else ():
        if key not in before:
            print(f'label "{key}" not found.')
    print(f"{found.label} {outcome(before, wanted, marks)}{dry_run_mark(args.dry_run)}")


def outcome(before: Mapping[str, str], wanted: Wanted, marks: Marks) -> str:
    """`labeled`, `unlabeled`, `not labeled`: kubectl's words, for scripts; an annotation is always `annotated`."""
    if marks.field == "annotations" or any(before.get(key) != value for key, value in wanted.new.items()):
        return marks.done
    return f"un{marks.done}" if any(key in before for key in wanted.gone) else f"not {marks.done}"
