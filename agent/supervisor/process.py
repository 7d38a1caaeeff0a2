"""Start one contained process: its own session, limits, identity and clean descriptors, bound to the shim's life.

Everything between fork and exec happens here, in an order that matters: cgroup first (so that nothing runs
unaccounted), namespaces while we have the right to make them, then identity, then the parent-death signal, because a
change of identity clears it. The first process of a PID namespace is forked once more, and is our child all the same.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub; `signal` would drag in enum (0.8 MiB)
import os
import select

from .kernel import PR_SET_PDEATHSIG, clone_beside, prctl
from .sandbox import become_user, confine, filter_calls, furnish, separate

TYPE_CHECKING = False  # `typing` itself would cost the shim a megabyte
if TYPE_CHECKING:
    from typing import Any

TIOCSCTTY = 0x540E  # of every architecture we know
START_FAILED = 128  # exit code of a process that could not be executed, as container runtimes use it
FIRST_FREE_FD = 10  # the shim keeps its own descriptors at 10 and above, so 0-3 can be laid out blindly
OOM_SCORE = b"500"  # half way from an ordinary process to the first victim
IDLE = ["/bin/sleep", "infinity"]  # a process that costs less than a copy of us
KILL_PASSES = 16  # sweeps over a cgroup whose members may fork while being killed


class Launch:
    """A process of ours on the way to its program; what it says on that way comes by `fd`, which ends with it."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        """Another one's once the process we forked has put it in its place, and ended."""
        self.init = 0
        """The first process of its PID namespace if that was made for it, also our child: its end ends all in there."""
        self.why = ""
        """Why it could not be executed; it then exits 128."""
        self.fd = fd
        self._said = b""

    def hear(self) -> bool:
        """Take what it says; whether that is all, since the program runs or cannot. Waits if the descriptor does."""
        try:
            while part := os.read(self.fd, 4096):
                self._said += part
        except BlockingIOError:
            self._understand()
            return False
        self._understand()
        return True

    def _understand(self) -> None:
        why = b""
        for piece in self._said.split(b"\0"):  # between zero bytes are numbers of others
            name, _, number = piece.partition(b"=")
            if name == b"pid" and number.isdigit():
                self.pid = int(number)
            elif name == b"init" and number.isdigit():
                self.init = int(number)
            else:
                why += piece
        self.why = why.decode("utf-8", "replace")


def spawn(
    spec: dict[str, Any],
    streams: tuple[int | None, int, int],
    control: int | None = None,
    *,
    tty: bool = False,
    joined: dict[str, int] | None = None,
) -> Launch:
    """`launch`, and wait until the program runs or cannot."""
    begun = launch(spec, streams, control, tty=tty, joined=joined)
    first = begun.pid
    begun.hear()
    os.close(begun.fd)
    if begun.pid != first:
        os.waitpid(first, 0)
    return begun


def launch(
    spec: dict[str, Any],
    streams: tuple[int | None, int, int],
    control: int | None = None,
    *,
    tty: bool = False,
    joined: dict[str, int] | None = None,
) -> Launch:
    """Fork and exec `spec`. Raises OSError when no process is to be had.

    `spec`: argv, env, cwd, and optionally cgroups (files to enter), rlimits ([number, soft, hard]), uid, gid, groups,
    umask, mounts, sandbox. `streams` become 0, 1, 2 of the process, `control` 3; everything else is closed on exec. With
    `tty` they are one terminal, which the process gets for its own. `joined` are namespaces it shares with others.
    """
    error_r, error_w = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError:
        os.close(error_r)
        os.close(error_w)
        raise
    if pid == 0:
        try:
            os.close(error_r)
            _become(spec, streams, control, error_w, tty, joined or {})
        except BaseException as error:
            os.write(error_w, f"{type(error).__name__}: {error}"[:1000].encode("utf-8", "replace"))
        finally:
            os._exit(START_FAILED)
    os.close(error_w)
    return Launch(pid, error_r)


def _become(
    spec: dict[str, Any],
    streams: tuple[int | None, int, int],
    control: int | None,
    error_w: int,
    tty: bool,
    joined: dict[str, int],
) -> None:
    # Only the child pays for these, and where it is going the interpreter's files may be out of sight.
    import fcntl
    import resource

    for path in spec.get("cgroups", ()):
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"0")
        os.close(fd)
    _offer_to_oom_killer()
    null = os.open("/dev/null", os.O_RDONLY)
    if separate(spec, joined):
        if "pid" not in joined:
            _leave_init(spec, error_w, resource)
        if second := clone_beside():
            os.write(error_w, b"\0pid=%d\0" % second)
            os._exit(0)
    os.setsid()
    for target, source in enumerate(streams):
        os.dup2(null if source is None else source, target)
    if tty:
        fcntl.ioctl(0, TIOCSCTTY, 0)
    if control is not None:
        os.dup2(control, 3)
    # Python ignores these and exec would hand the deafness on.
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, _signal.SIG_DFL)
    _let_go(3 if control is None else 4, error_w, resource)
    _limit(spec, resource)
    os.umask(0o022)
    furnish(spec, joined)
    os.umask(spec.get("umask", 0o022))
    become_user(spec)
    os.chdir(spec["cwd"])  # not as root, who would be let into everything, by /proc/<pid>/root even on the host
    confine(spec)
    prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
    _end_without_shim(error_w)
    filter_calls(spec)
    _execute(spec["argv"], spec["env"])


def _leave_init(spec: dict[str, Any], error_w: int, resource: Any) -> None:
    """Start the first process of our PID namespace, which does nothing but let orphans of the container end.

    Were the program the first, orphans would stay zombies until no more processes can be started, and it would be deaf to
    signals it has no handler for. A parent that ignores the news of a child's end need not wait for it.
    """
    if init := clone_beside():
        os.write(error_w, b"\0init=%d\0" % init)
        return
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for target in range(3):
        os.dup2(null, target)
    _let_go(3, error_w, resource)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    os.chdir("/")
    become_user(spec)
    confine(spec)
    prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
    _end_without_shim(error_w)
    filter_calls(spec)
    try:
        os.execve(IDLE[0], IDLE, {})
    except OSError:
        os.closerange(0, error_w + 1)
        while True:
            _signal.pause()


def _let_go(first: int, error_w: int, resource: Any) -> None:
    """Close what is the shim's now, not at exec: from the change of identity on, others of the same user may reach us."""
    os.closerange(first, error_w)
    os.closerange(error_w + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _end_without_shim(error_w: int) -> None:
    """If the shim died before it was our death, too, nobody would ever kill us: nobody reads the pipe any more."""
    poll = select.poll()
    poll.register(error_w, 0)
    if poll.poll(0):
        os._exit(START_FAILED)


def _execute(argv: list[str], env: dict[str, str]) -> None:
    """Become the program, which a name without a slash is looked for in PATH. Raises OSError in a shell's words."""
    paths = [argv[0]]
    if "/" not in argv[0]:
        paths = [f"{folder}/{argv[0]}" for folder in env.get("PATH", os.defpath).split(":") if folder]
    denied = False
    for path in paths:
        try:
            os.execve(path, argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            denied = True
    if denied:
        raise PermissionError(f'exec: "{argv[0]}": permission denied')
    where = "executable file not found in $PATH" if "/" not in argv[0] else "no such file or directory"
    raise FileNotFoundError(f'exec: "{argv[0]}": {where}')


def _offer_to_oom_killer() -> None:
    """The agent may be protected from the OOM killer and children inherit that: a pod goes before the agent."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, OOM_SCORE)
        os.close(fd)
    except OSError:
        pass  # not this kernel, or not to be lowered: then it is higher already


def _limit(spec: dict[str, Any], resource: Any) -> None:
    for number, soft, hard in spec.get("rlimits", ()):
        ceiling = resource.getrlimit(number)[1]
        if ceiling != resource.RLIM_INFINITY:  # without CAP_SYS_RESOURCE a limit can only be lowered
            hard = ceiling if hard < 0 else min(hard, ceiling)
        resource.setrlimit(number, (min(soft, hard) if hard >= 0 else soft, hard))


def signal_group(pid: int, number: int) -> None:
    """Signal a process group; one that is already gone is as good."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def kill_child(pid: int) -> None:
    """Kill a child of ours, which has not been waited for, with its group if it has made one by now."""
    signal_group(pid, _signal.SIGKILL)
    try:
        os.kill(pid, _signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_session(leader: int) -> None:
    """Kill every process of a session: its leader's group, and the jobs that a shell gave groups of their own."""
    kill_child(leader)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fd = os.open(f"/proc/{name}/stat", os.O_RDONLY)
            text = os.read(fd, 1024)
            os.close(fd)
            # The name, in brackets, may hold anything; after it come state, parent, group and session.
            if int(text[text.rindex(b")") + 2 :].split()[3]) == leader:
                os.kill(int(name), _signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile


def kill_rest(pid: int, cgroups: list[str], execution: str) -> None:
    """Kill whatever a finished container left behind: its group, its cgroup, and strays that were adopted by us."""
    signal_group(pid, _signal.SIGKILL)
    for path in cgroups:
        _sweep(path)
    if not cgroups:
        _kill_adopted(execution)


def _sweep(procs: str) -> None:
    for _ in range(KILL_PASSES):
        try:
            fd = os.open(procs, os.O_RDONLY)
            members = [one for one in os.read(fd, 65536).split() if one != b"0"]  # which is somebody out of our sight
            os.close(fd)
        except OSError:
            return
        if not members:
            return
        for member in members:
            try:
                os.kill(int(member), _signal.SIGKILL)
            except ProcessLookupError:
                pass


def _kill_adopted(execution: str) -> None:
    """Without a cgroup, a daemon that left its group is known by the execution id in its environment."""
    marker = b"STARK_EXECUTION_ID=" + execution.encode() + b"\0"
    for child in children_of(os.getpid()):
        try:
            fd = os.open(f"/proc/{child}/environ", os.O_RDONLY)
            found = marker in os.read(fd, 1 << 20)
            os.close(fd)
            if found:
                os.kill(child, _signal.SIGKILL)
        except OSError:
            continue


def kill_children() -> None:
    """Kill whoever is left, and whom they leave to us: there may be neither a cgroup nor a marker to know them by."""
    for _ in range(KILL_PASSES):
        children = children_of(os.getpid())
        for child in children:
            os.kill(child, _signal.SIGKILL)
            os.waitpid(child, 0)
        if not children:
            return


def children_of(pid: int) -> list[int]:
    """The direct children of `pid`, from /proc; empty where the kernel does not tell."""
    try:
        fd = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY)
    except OSError:
        return []
    data = os.read(fd, 65536)
    os.close(fd)
    return [int(word) for word in data.split()]
