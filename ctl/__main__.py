"""starkctl: finds the command, runs it, and turns every failure into one sentence and an exit code.

Only the module of the command that was asked for is imported: a cold `starkctl get` is mostly Python starting.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .commands import COMMANDS, GROUP_ALIASES, GROUPS, HELP_HEADING, resolve
from .errors import EXIT_INTERRUPTED, EXIT_OK, CommandError, UsageError
from .helping import HelpText
from .options import Parser, Session, add_global_options, split_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        return run(sys.argv[1:] if argv is None else argv)
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough of it, as in `starkctl get pods | head`. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def run(argv: Sequence[str]) -> int:
    """As `main`, with failures as exceptions. Raises CommandError."""
    if argv and argv[0] == "__complete":
        from .complete import candidates

        print(*candidates(argv[1:]), sep="\n")
        return EXIT_OK
    name, rest = split_command(argv)
    if name is None:
        return _without_command(rest)
    if name == "help":
        name, rest = (rest[0], [*rest[1:], "--help"]) if rest else (None, ["--help"])
        if name is None:
            return _without_command(rest)
    name = GROUP_ALIASES.get(name, name)
    if name in GROUPS:
        return _in_group(name, rest)
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}{_suggestion(name)}")
    return run_command(name, rest)


def _in_group(group: str, rest: Sequence[str]) -> int:
    """Find the second word of a two-word command such as `pack register`."""
    word, arguments = split_command(rest)
    if word is None:
        if arguments and arguments[0] not in ("-h", "--help"):
            raise UsageError(f"say what to do: one of {', '.join(GROUPS[group])}; see `starkctl {group} --help`")
        print(group_overview(group))
        return EXIT_OK
    name = resolve(group, word)
    if name not in COMMANDS:
        raise UsageError(f"unknown command '{group} {word}'; `{group}` has {', '.join(GROUPS[group])}")
    return run_command(name, arguments)


def parser_of(name: str) -> Parser:
    """The complete parser of one command; the documentation and the completion are made from it too."""
    module = import_module(f".verbs.{COMMANDS[name].module}", __package__)
    parser = Parser(
        prog=f"starkctl {name}",
        description=module.__doc__,
        allow_abbrev=False,
        formatter_class=HelpText,
    )
    module.configure(parser)
    if getattr(module, "CONNECTS", True):
        add_global_options(parser, short_namespace=getattr(module, "NAMESPACED", True))
    return parser


def run_command(name: str, rest: Sequence[str]) -> int:
    """Parse the arguments of a known command and run it."""
    parser = parser_of(name)
    module = import_module(f".verbs.{COMMANDS[name].module}", __package__)
    rest, command = list(rest), []
    if getattr(module, "TAKES_COMMAND", False) and "--" in rest:
        dashes = rest.index("--")
        rest, command = rest[:dashes], rest[dashes + 1 :]
    try:
        args = parser.parse_intermixed_args(rest, argparse.Namespace(command=command))
    except SystemExit as leave:  # argparse leaves this way after it has printed the help
        return leave.code if isinstance(leave.code, int) else EXIT_OK
    session = Session(args)
    try:
        result: int = module.run(args, session)
        return result
    finally:
        session.close()


def _without_command(rest: Sequence[str]) -> int:
    if "--version" in rest or "-v" in rest:
        from stark.crds.version import VERSION

        print(f"starkctl {VERSION}")
        return EXIT_OK
    wants_help = not rest or rest[0] in ("-h", "--help")
    if not wants_help:
        raise UsageError(f"unknown option {rest[0]!r} before a command; see `starkctl --help`")
    print(overview())
    return EXIT_OK


def overview() -> str:
    """What `starkctl --help` prints: the commands by subject."""
    lines = [HELP_HEADING, ""]
    subjects = dict.fromkeys(command.subject for command in COMMANDS.values())
    width = max(map(len, COMMANDS))
    for subject in subjects:
        lines.append(f"{subject}:")
        lines.extend(f"  {name:<{width}}  {c.summary}" for name, c in COMMANDS.items() if c.subject == subject)
        lines.append("")
    lines.append("`starkctl COMMAND --help` tells more.")
    lines.append("Exit codes: 0 done, 1 failed, 2 wrong command line, 130 interrupted.")
    return "\n".join(lines)


def group_overview(group: str) -> str:
    """What `starkctl pack --help` prints."""
    names = [f"{group} {word}" for word in GROUPS[group]]
    width = max(map(len, names))
    lines = [f"Usage: starkctl {group} COMMAND [ARGUMENTS] [OPTIONS]", ""]
    lines.extend(f"  {name:<{width}}  {COMMANDS[name].summary}" for name in names)
    return "\n".join(lines)


def _suggestion(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, [*COMMANDS, *GROUPS], n=1)
    return f"; did you mean `{close[0]}`?" if close else "; see `starkctl --help`"


if __name__ == "__main__":
    sys.exit(main())
