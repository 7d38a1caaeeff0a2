"""How objects are shown: the server's tables as text, YAML, JSON, names.

Tables are the server's own (meta.k8s.io Table), so every kind shows the columns its maker chose. Column widths, upper
case heads and three spaces between columns are kubectl's, since scripts and eyes know them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import UsageError
from .resources import Kind

FORMATS = ("table", "wide", "plain", "yaml", "json", "name")
GAP = "   "
_CARETS = {code: f"^{chr(code ^ 64)}" for code in (*range(32), 127) if chr(code) not in "\t\n"}
_SHOWN = {**_CARETS, **{code: f"\\x{code:x}" for code in range(0x80, 0xA0)}}
"""What stands for signs that a terminal takes for orders."""


def check_format(text: str) -> str:
    """The output format, or UsageError with the list of them."""
    if text not in FORMATS:
        raise UsageError(f"unknown output format {text!r}: choose one of {', '.join(FORMATS)}")
    return text


def print_object(obj: Mapping[str, Any], form: str) -> None:
    """One object or List as YAML or JSON."""
    if form == "json":
        sys.stdout.write(json.dumps(obj, indent=4, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(to_yaml(obj))


def to_yaml(obj: Any) -> str:
    """The object as block-style YAML, keys in the order given; several lines of text as a literal block."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # chosen at run time
        """Safe, and readable where text has several lines."""

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return str(
        yaml.dump(obj, Dumper=Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=10_000)
    )


class TablePrinter:
    """Prints server tables one after the other: the heading once, then rows, as a watch brings them."""

    def __init__(
        self,
        *,
        wide: bool = False,
        plain: bool = False,
        namespace_column: bool = False,
        labels_column: bool = False,
        headings: bool = True,
    ) -> None:
        self._wide = wide
        self._plain = plain
        self._namespace_column = namespace_column
        self._labels_column = labels_column
        self._headings = headings
        self._columns: list[Mapping[str, Any]] = []
        self._widths: list[int] = []
        self._headed = False

    def print(self, table: Mapping[str, Any], *, prefix: str = "") -> int:
        """Write the table's rows; `prefix` goes before each name. Returns how many rows there were."""
        self._columns = list(table.get("columnDefinitions") or self._columns)
        rows = [self._cells(row, prefix) for row in table.get("rows") or ()]
        if rows:
            self._write(rows)
        return len(rows)

    def _write(self, rows: list[list[str]]) -> None:
        if self._plain:
            sys.stdout.write(_plain(rows))
            sys.stdout.flush()
            return
        heading = self._heading()
        lines = [heading, *rows] if self._headings and not self._headed else rows
        self._headed = True
        measured = [
            max(len(line[i]) for line in [*lines, *([heading] if self._headings else [])]) for i in range(len(heading))
        ]
        self._widths = [max(pair) for pair in zip(measured, self._widths or measured, strict=True)]
        for line in lines:
            padded = GAP.join(cell.ljust(width) for cell, width in zip(line, self._widths, strict=True))
            sys.stdout.write(padded.rstrip() + "\n")
        sys.stdout.flush()

    def _shown(self) -> list[int]:
        return [i for i, column in enumerate(self._columns) if self._wide or not column.get("priority")]

    def _heading(self) -> list[str]:
        names = [str(self._columns[i]["name"]).upper() for i in self._shown()]
        return [
            *(["NAMESPACE"] if self._namespace_column else []),
            *names,
            *(["LABELS"] if self._labels_column else []),
        ]

    def _cells(self, row: Mapping[str, Any], prefix: str) -> list[str]:
        values = row.get("cells") or []
        cells = [_cell(values[i]) for i in self._shown()]
        if cells and prefix:
            cells[0] = prefix + cells[0]
        metadata = (row.get("object") or {}).get("metadata") or {}
        if self._namespace_column:
            cells.insert(0, str(metadata.get("namespace") or ""))
        if self._labels_column:
            labels = metadata.get("labels") or {}
            cells.append(",".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>")
        return cells


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "<none>" if value is None else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(visible(str(value)).split("\n"))


def visible(text: str) -> str:
    """The text as it can do nothing to a terminal: others have written it. ESC is shown as `^[`, as kubectl does."""
    return text if text.isprintable() else text.translate(_SHOWN)


def _plain(rows: Sequence[Sequence[str]]) -> str:
    """For scripts: a line a row, a tab between columns, no heading."""
    return "".join("\t".join(cell.replace("\t", " ") for cell in row) + "\n" for row in rows)


def text_table(
    heading: Sequence[str], rows: Sequence[Sequence[str]], *, headings: bool = True, plain: bool = False
) -> str:
    """A table of ours, aligned like the server's; `plain` for scripts."""
    cells = [[_cell(value) for value in row] for row in rows]
    if plain:
        return _plain(cells)
    lines = [list(heading), *cells] if headings else cells
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(len(heading))]
    return "".join(GAP.join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)


def object_name(kind: Kind, name: str) -> str:
    """`pod/web`, `deployment.apps/web`: what `-o name` prints and every command accepts back."""
    return f"{kind.label}/{name}"
