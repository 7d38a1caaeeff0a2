"""The filter of system calls: nothing that reaches for the kernel itself, for other processes, or for new namespaces.

A list of what is refused, as programs are many and dangers few; and all that is newer than this list is refused as well, so
that what nobody has looked at yet is not let through. A refusal looks like an old kernel or a lack of rights, which
libraries know how to live with. A program for another architecture is killed: its numbers mean something else.
"""

from __future__ import annotations

import os
import sys
from errno import EAFNOSUPPORT, ENOSYS, EPERM

from .kernel import PR_SET_SECCOMP, address_of, call

X86_64, AARCH64, RISCV64 = 0xC000_003E, 0xC000_00B7, 0xC000_00F3
ARCHITECTURES = {"x86_64": (X86_64, 0), "aarch64": (AARCH64, 1), "riscv64": (RISCV64, 1)}
"""What the kernel calls them, and which of two numberings they have: its own, or that of all newer ones."""
LAST = 469
"""The newest system call that was looked at (file_setattr, Linux 6.17). The numbers of x32 lie above, too."""
REFUSED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, -1),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, -1),
    "get_mempolicy": (239, 236),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, -1),
    "iopl": (172, -1),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, -1),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, -1),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysctl": (156, -1),
    "sysfs": (139, -1),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, -1),
    "userfaultfd": (323, 282),
    "ustat": (136, -1),
    "vhangup": (153, 58),
}
"""Numbers by name: on x86_64, and everywhere else; -1 where there is none."""
PERSONALITY = (135, 92)
HARMLESS_PERSONALITIES = (0x0000_0000, 0x0000_0008, 0xFFFF_FFFF)
"""The ordinary one, that of 32-bit programs, and the question which it is."""
IOCTL, SOCKET, CLONE, CLONE3 = (16, 29), (41, 198), (56, 220), (435, 435)
TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX, by which a program types into a terminal it shares."""
AF_UNIX = 1
FAMILIES = (AF_UNIX, 2, 10, 16, 17)
"""Of sockets: local, IPv4, IPv6, netlink, packet. Others have holes, or lead past every network namespace (AF_VSOCK)."""
PRLIMIT = (302, 261)
SHARED_WITH_USER = {
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "msgctl": (71, 187),
    "msgget": (68, 186),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmget": (29, 194),
}
"""What all processes of a user have in common where there is no namespace for it."""
NEW_NAMESPACES = 0x7E02_0000
"""The flags of clone that make them."""

SECCOMP_MODE_FILTER = 2
LOAD, EQUAL, GREATER, ANY_OF, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06  # BPF: ld abs, jeq, jgt, jset, ret
NUMBER, ARCHITECTURE, FIRST, SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data; of arguments the lower halves
ALLOW, ERRNO, KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000


def compose(machine: str, *, alone: bool = False) -> bytes:
    """The filter for a machine, as the kernel takes it. Raises OSError for one we have no numbers of.

    `alone` is for who shares a user with others, and has no namespaces of its own: no local sockets but in pairs, nobody
    else's limits, and nothing that all processes of the user have in common.
    """
    if machine not in ARCHITECTURES:
        raise OSError(f"no filter of system calls for {machine}")
    architecture, column = ARCHITECTURES[machine]
    lines = [_line(LOAD, ARCHITECTURE), _line(EQUAL, architecture, 1, 0), _line(RETURN, KILL), _line(LOAD, NUMBER)]
    lines += [_line(GREATER, LAST, 0, 1), _line(RETURN, ERRNO | ENOSYS)]
    lines += [_line(EQUAL, CLONE3[column], 0, 1), _line(RETURN, ERRNO | ENOSYS)]  # its flags cannot be looked at
    refused = REFUSED | SHARED_WITH_USER if alone else REFUSED
    for numbers in refused.values():
        if numbers[column] >= 0:
            lines += [_line(EQUAL, numbers[column], 0, 1), _line(RETURN, ERRNO | EPERM)]
    lines += _looked_at(CLONE[column], FIRST, [_line(ANY_OF, NEW_NAMESPACES, 0, 1), _line(RETURN, ERRNO | EPERM)])
    lines += _looked_at(IOCTL[column], SECOND, _among(TERMINAL_INPUT))
    families = tuple(each for each in FAMILIES if not (alone and each == AF_UNIX))
    lines += _looked_at(SOCKET[column], FIRST, _none_but(families, EAFNOSUPPORT))
    lines += _looked_at(PERSONALITY[column], FIRST, _none_but(HARMLESS_PERSONALITIES, EPERM))
    if alone:
        lines += _looked_at(PRLIMIT[column], FIRST, _none_but((0,), EPERM))
    return b"".join([*lines, _line(RETURN, ALLOW)])


def install(*, alone: bool = False) -> None:
    """Filter the calls of this process and of all it starts, for good; it must have given up new rights before."""
    program = compose(os.uname().machine, alone=alone)
    head = (len(program) // 8).to_bytes(8, sys.byteorder)  # a 16-bit count and padding
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head + address_of(program).to_bytes(8, sys.byteorder), 0, 0)


def _line(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    head = code.to_bytes(2, sys.byteorder) + bytes([if_so, if_not])
    return head + value.to_bytes(4, sys.byteorder)


def _among(values: tuple[int, ...]) -> list[bytes]:
    lines = []
    for each in values:
        lines += [_line(EQUAL, each, 0, 1), _line(RETURN, ERRNO | EPERM)]
    return lines


def _none_but(values: tuple[int, ...], error: int) -> list[bytes]:
    """Go on with these, and refuse all others."""
    lines = [_line(EQUAL, each, len(values) - at, 0) for at, each in enumerate(values)]
    return [*lines, _line(RETURN, ERRNO | error)]


def _looked_at(number: int, offset: int, lines: list[bytes]) -> list[bytes]:
    """For one call: load an argument, judge it by the lines, and allow what they let through."""
    judged = [_line(LOAD, offset), *lines, _line(RETURN, ALLOW)]
    return [_line(EQUAL, number, 0, len(judged)), *judged]
