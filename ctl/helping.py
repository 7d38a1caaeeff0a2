"""How `--help` is laid out: prose as wide as the terminal and never wider than one reads with ease, examples as they stand.

Verbs say what they do in the docstrings of their modules, which are as wide as our source is. Lines that are indented are
examples or tables, and keep their breaks.
"""

from __future__ import annotations

from argparse import Action, RawDescriptionHelpFormatter

WIDTH_MAX = 98
"""Columns. With the two that argparse leaves free it is the width of the reference in the documentation."""
MARGIN = 2


class HelpText(RawDescriptionHelpFormatter):
    """See the module."""

    def __init__(self, prog: str) -> None:
        from shutil import get_terminal_size  # argparse itself imports it no sooner

        super().__init__(prog, width=min(WIDTH_MAX, get_terminal_size().columns - MARGIN))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        from textwrap import fill

        parts: list[str] = []
        prose: list[str] = []
        for line in [*text.strip().splitlines(), ""]:
            if line and not line.startswith(" "):
                prose.append(line)
                continue
            if prose:
                parts.append(fill(" ".join(prose), width, break_long_words=False, break_on_hyphens=False))
                prose = []
            parts.append(line)
        return "\n".join(indent + line for line in "\n".join(parts).rstrip().splitlines())

    def _format_action_invocation(self, action: Action) -> str:
        """`-n, --namespace NAME`: what follows an option is said once."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        what = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {what}"
