"""Try out whether this machine lets us confine a process in certain ways: by doing so.

Run as `python -I -S` with a folder to work in and a line of JSON for each specification as arguments; prints a line of JSON
with why not, empty when it works, for each.
"""

from __future__ import annotations

import os
import sys

from .mounts import STAGING
from .process import spawn
from .wire import decode, encode


def main(folder: str, *specs: str) -> None:
    """Run each to its end."""
    os.chdir(folder)
    os.umask(0o077)
    os.makedirs(STAGING, exist_ok=True)
    null = os.open("/dev/null", os.O_RDWR)
    for spec in specs:
        begun = spawn(decode(spec.encode()), (None, null, null))
        why = begun.why
        code = os.waitstatus_to_exitcode(os.waitpid(begun.pid, 0)[1])
        if not why and code != 0:
            why = f"a program in it ended with code {code}"
        sys.stdout.buffer.write(encode({"why": why}))
