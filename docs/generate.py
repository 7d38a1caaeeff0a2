"""Write the pages of commands and settings from the programs themselves, so that they cannot disagree.

`python docs/generate.py` writes docs/commands.md, docs/settings.md and docs/cis.md; with `--check` it only says whether
they are current.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
ROOTS = ("apiserver", "client", "controllers", "agent", "ctl")


def commands_page() -> str:
    """Every starkctl command with its --help."""
    from stark.ctl.__main__ import overview, parser_of
    from stark.ctl.commands import COMMANDS

    os.environ["COLUMNS"] = "100"
    parts = [
        "# Commands",
        "",
        "Generated from the programs; `make docs` writes it anew.",
        "",
        "```text",
        overview(),
        "```",
        "",
    ]
    for name in COMMANDS:
        parts += [f"## starkctl {name}", "", "```text", parser_of(name).format_help().rstrip(), "```", ""]
    return "\n".join(parts)


def settings_page() -> str:
    """Every field of every *Settings dataclass with its default and the reasoning beside it."""
    parts = ["# Settings", "", "Generated from the declarations; `make docs` writes it anew.", ""]
    for path in sorted(path for root in ROOTS for path in (REPO / root).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Settings"):
                parts += [f"## {node.name} (`{path.relative_to(REPO)}`)", "", ast.get_docstring(node) or "", ""]
                for name, default, text in settings_of(node):
                    parts += [f"- `{name}`{f' = `{default}`' if default else ''}: {text}"]
                parts.append("")
    return "\n".join(parts)


def settings_of(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """(name, default, documentation) of each field; the documentation is the string that follows it."""
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        text = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = " ".join(str(following.value.value).split())
        yield statement.target.id, ast.unparse(statement.value) if statement.value else "", text


def cis_page() -> str:
    """The items of the CIS benchmark, as `starkctl audit cis` has them."""
    from stark.ctl.cis.items import ITEMS

    parts = [
        "# The CIS Kubernetes Benchmark",
        "",
        "Version 1.9, sections 1, 2, 3 and 5: what Stark meets as it comes, and why. *Yours*: only whoever runs the",
        "cluster can see to it. *Looked at*: `starkctl audit cis` finds it out on a running server.",
        "",
        "Generated from the program; `make docs` writes it anew.",
        "",
        "| item | asks for | | because | looked at |",
        "|---|---|---|---|---|",
    ]
    parts += [
        f"| {item.id} | {item.asks} | {item.status} | {item.reason} | {'yes' if item.check else ''} |" for item in ITEMS
    ]
    return "\n".join([*parts, ""])


PAGES = {"docs/commands.md": commands_page, "docs/settings.md": settings_page, "docs/cis.md": cis_page}


def main() -> int:
    """Write, or with --check compare; 1 when a page is out of date."""
    stale = []
    for name, make in PAGES.items():
        path, text = REPO / name, make()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"out of date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
