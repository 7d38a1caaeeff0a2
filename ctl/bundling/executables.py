"""Static executables: which machine an ELF file is for, and whether it needs anything that the machine may not have.

Source of the layout: the System V ABI, "Object Files", and elf(5).
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from ..errors import CommandError
from .bundled import Bundled, Wishes

MAGIC = b"\x7fELF"
MACHINES = {62: "amd64", 183: "arm64", 243: "riscv64"}
"""e_machine: EM_X86_64, EM_AARCH64, EM_RISCV."""
EXECUTABLE_TYPES = (2, 3)
"""ET_EXEC, and ET_DYN for executables that may be loaded anywhere."""
CLASS_64, LITTLE_ENDIAN, LINUX = 2, 1, (0, 3)
PT_INTERP = 3
HEADER_BYTES, PROGRAM_HEADERS_MAX = 64, 1024


def is_executable(path: Path) -> bool:
    """Whether the file begins as ELF files do."""
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def architecture_of(path: Path) -> str:
    """Go's name of the machine that a static executable is for. Raises CommandError with what is wrong with it."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        if len(head) < HEADER_BYTES or head[:4] != MAGIC:
            raise CommandError(f"{path} is not an executable for Linux (ELF)")
        if head[4] != CLASS_64 or head[5] != LITTLE_ENDIAN or head[7] not in LINUX:
            raise CommandError(f"{path} is not for a 64-bit little-endian Linux machine")
        kind, machine, table, entry_bytes, entries = struct.unpack_from("<HH12xQ14xHH", head, 16)
        if kind not in EXECUTABLE_TYPES:
            raise CommandError(f"{path} is a library or an object file: give the executable")
        if machine not in MACHINES:
            raise CommandError(f"{path} is for a machine that packs do not know (e_machine {machine})")
        file.seek(table)
        headers = file.read(entry_bytes * min(entries, PROGRAM_HEADERS_MAX))
    for at in range(0, len(headers) - entry_bytes + 1, entry_bytes or 1):
        if struct.unpack_from("<I", headers, at)[0] == PT_INTERP:
            raise CommandError(
                f"{path} is linked dynamically, so it would need the libraries of this machine elsewhere: "
                "link it statically (Go: CGO_ENABLED=0; Rust: a -musl target; C: -static)"
            )
    return MACHINES[machine]


def bundle_executable(source: Path, wishes: Wishes) -> Bundled:
    """Check it; with another `out`, copy it there. An executable is a bundle as it is."""
    architecture = architecture_of(source)
    out = wishes.out.absolute() if wishes.out else source
    if out != source:
        shutil.copyfile(source, out)
        out.chmod(0o755)
    made = Bundled(out, "binary", wishes.name or source.stem, architecture)
    made.included.append((source.name, made.size))
    return made
