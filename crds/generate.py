"""Write what follows from the models: the schemas in `crds/schema` and the pages in `docs/kinds`.

`python -m stark.crds.generate` writes them, `--check` says which are not current and fails. The API server serves the
built-in kinds from these files as it serves users' kinds from their CustomResourceDefinitions; it loads no model.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .kind_pages import kind_page, overview_page, page_name
from .kinds import COMPUTED_KINDS, KINDS, SUBRESOURCE_KINDS
from .loader import INDEX, SCHEMA_DIR
from .meta import Column, KubeObject, ResourceDef
from .printers import find_printer
from .structural import structural_schema

HEADING = "# Generated from the models by `python -m stark.crds.generate`; do not edit.\n"
DOCS_DIR = Path(__file__).resolve().parent.parent / "docs" / "kinds"
YAML_WIDTH = 120


def definition(kind: type[KubeObject]) -> dict[str, Any]:
    """The kind in CustomResourceDefinition form. `x-stark` says what that form has no word for.

    The core group is "" and its names are plain plurals, which a real CustomResourceDefinition could not be.
    """
    resource = kind.RESOURCE
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": ".".join(part for part in (resource.plural, resource.group) if part)},
        "spec": {
            "group": resource.group,
            "names": _names(resource),
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [_version(kind)],
        },
        "x-stark": {
            "stored": kind in KINDS,
            "verbs": list(resource.verbs),
            "strategicMerge": not resource.group.endswith("stark.dev"),
            "computedColumns": find_printer(resource.group, resource.kind) is not None,
        },
    }


def _names(resource: ResourceDef) -> dict[str, Any]:
    names: dict[str, Any] = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.singular or resource.kind.lower(),
    }
    if resource.short_names:
        names["shortNames"] = list(resource.short_names)
    if resource.categories:
        names["categories"] = list(resource.categories)
    return names


def _version(kind: type[KubeObject]) -> dict[str, Any]:
    resource = kind.RESOURCE
    version: dict[str, Any] = {"name": resource.version, "served": True, "storage": _is_first(kind)}
    if resource.subresources:
        version["subresources"] = {name: dict(resource.extra.get(name, {})) for name in resource.subresources}
    if resource.columns:
        version["additionalPrinterColumns"] = [_column(column) for column in resource.columns]
    if resource.selectable_fields:
        version["selectableFields"] = [{"jsonPath": f".{path}"} for path in resource.selectable_fields]
    version["schema"] = {"openAPIV3Schema": structural_schema(kind)}
    return version


def _column(column: Column) -> dict[str, Any]:
    body = {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
        "jsonPath": column.json_path,
    }
    return {key: value for key, value in body.items() if value}


def file_name(kind: type[KubeObject]) -> str:
    """`core_pods.yaml`, `apps_deployments.yaml`; with the version, when another version of the kind is served before it."""
    resource = kind.RESOURCE
    stem = f"{resource.group or 'core'}_{resource.plural}"
    return f"{stem}.yaml" if _is_first(kind) else f"{stem}_{resource.version}.yaml"


def _is_first(kind: type[KubeObject]) -> bool:
    """Of a kind's versions, the first in the list is the one that is stored."""
    return next(each for each in (*KINDS, *COMPUTED_KINDS, *SUBRESOURCE_KINDS) if _place(each) == _place(kind)) is kind


def _place(kind: type[KubeObject]) -> tuple[str, str]:
    return kind.RESOURCE.group, kind.RESOURCE.plural


def generated() -> Mapping[Path, str]:
    """Every generated file with its text."""
    import yaml

    files: dict[Path, str] = {}
    definitions = []
    for kind in (*KINDS, *COMPUTED_KINDS, *SUBRESOURCE_KINDS):
        body = definition(kind)
        definitions.append(body)
        # Through JSON, so that equal parts are not written as YAML anchors.
        plain = json.loads(json.dumps(body))
        text = yaml.dump(plain, Dumper=yaml.CSafeDumper, sort_keys=False, width=YAML_WIDTH, allow_unicode=True)
        files[SCHEMA_DIR / file_name(kind)] = HEADING + text
        files[DOCS_DIR / page_name(kind.RESOURCE)] = kind_page(kind)
    files[SCHEMA_DIR / INDEX] = json.dumps(definitions, separators=(",", ":"), ensure_ascii=False) + "\n"
    files[DOCS_DIR / "README.md"] = overview_page((*KINDS, *COMPUTED_KINDS, *SUBRESOURCE_KINDS))
    return files


def stale(files: Mapping[Path, str]) -> list[Path]:
    """The files that are missing, differ, or should not be there."""
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    present = [*SCHEMA_DIR.glob("*.yaml"), *SCHEMA_DIR.glob("*.json"), *DOCS_DIR.glob("*.md")]
    return sorted({*wrong, *(path for path in present if path not in files)})


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` only compare them. Exit code 1 when one is not current."""
    files = generated()
    wrong = stale(files)
    for path in wrong:
        if "--check" in arguments:
            sys.stderr.write(f"{path} is not current: run python -m stark.crds.generate\n")
        elif path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()
    return 1 if wrong and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
