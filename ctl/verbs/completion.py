"""Print a script that completes starkctl's commands, options, types and names in your shell.

Examples:
  source <(starkctl completion bash)
  starkctl completion zsh > "${fpath[1]}/_starkctl"
  starkctl completion fish > ~/.config/fish/completions/starkctl.fish
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK
from ..options import Session

CONNECTS = False
BASH = r"""# bash completion for starkctl
_starkctl() {
    local IFS=$'\n'
    COMPREPLY=($(starkctl __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    if [ ${#COMPREPLY[@]} -eq 0 ]; then compopt -o default 2>/dev/null; fi
}
complete -F _starkctl starkctl
"""
ZSH = r"""#compdef starkctl
_starkctl() {
    local -a found
    found=("${(@f)$(starkctl __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [ -n "${found[1]}" ]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _starkctl starkctl
"""
FISH = r"""# fish completion for starkctl
function __starkctl_complete
    set -l words (commandline -opc) (commandline -ct)
    starkctl __complete $words[2..-1] 2>/dev/null
end
complete -c starkctl -a '(__starkctl_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="which shell")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print the script; it asks starkctl itself for candidates, so it never goes out of date."""
    print(SCRIPTS[args.shell], end="")
    return EXIT_OK
