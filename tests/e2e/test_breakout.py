"""Programs that try to break out of their pod, each in its own way, against a real cluster; and what they must not get."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.agents import workload_of
from tests.support.up import Up, stark_up

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="users of their own take root")]
SECRET = "the-victims-secret"
HOLD = b"""import asyncio, os
async def default(context):
    open('private', 'w').write(os.environ.get('SECRET', ''))
    stop = asyncio.Event()
    context.on_shutdown(stop.set)
    await stop.wait()
"""
CONFINED = ["process", "strict"]
LOG_BYTES_MAX = 6 * (10 << 20)
"""Five files of ten MiB, and what the last lines are beyond."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("breakout")
    with stark_up(folder) as running:
        (folder / "hold.py").write_bytes(HOLD)
        register(running, "hold", folder / "hold.py")
        create(running, "victim", env=[{"name": "SECRET", "value": SECRET}])
        for kind in CONFINED:
            create(running, kind, kind)
        yield running


def register(up: Up, name: str, path: Path) -> None:
    up.starkctl(
        "pack", "register", str(path), "--name", name, "--ver", "1.0.0", "--runtime", "python", "--visibility", "public"
    )


def create(up: Up, name: str, isolation: str = "", *, wait: bool = True, pack: str = "hold", **container: Any) -> None:
    annotations = {"stark.dev/isolation": isolation} if isolation else {}
    main = {"name": "main", "image": f"pack.stark/{pack}:1.0.0", **container}
    others = main.pop("others", [])
    spec = {"containers": [main, *others], "terminationGracePeriodSeconds": 1}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations}, "spec": spec}
    up.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    if wait:
        up.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def attempt(up: Up, pod: str, script: str, *arguments: object) -> Any:
    """What a Python program in the pod finds out: it prints JSON."""
    command = ["kubectl", "exec", pod, "--", "/usr/bin/python3", "-I", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=up.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (pod, done.stdout, done.stderr)
    return json.loads(done.stdout)


def status(up: Up, pod: str, container: str = "main") -> dict[str, Any]:
    found: list[dict[str, Any]] = up.json("pod", pod)["status"]["containerStatuses"]
    return next(one for one in found if one["name"] == container)


def pid_of(up: Up, pod: str) -> int:
    return int(workload_of(up.json("pod", pod)["metadata"]["uid"])[0].pid)


def unharmed(up: Up, pod: str = "victim") -> bool:
    return bool(status(up, pod)["ready"]) and status(up, pod)["restartCount"] == 0


@pytest.mark.parametrize("kind", CONFINED)
def test_the_class_is_reported(up: Up, kind: str) -> None:
    described = up.kubectl("describe", "pod", kind)
    assert f"stark.dev/effective-isolation: {kind}" in described
    assert "stark.dev/effective-isolation: process" in up.kubectl("describe", "pod", "victim")
    node = up.json("nodes")["items"][0]["metadata"]["labels"]
    assert node[f"stark.dev/isolation-{kind}"] == "true"


@pytest.mark.parametrize("kind", CONFINED)
def test_other_pods_files_are_not_there(up: Up, kind: str) -> None:
    victim = next(path for path in up.data_dir.rglob("work/main/private") if path.read_text() == SECRET)
    script = """import json, os, sys
def tried(path):
    try: return open(path).read()
    except OSError as error: return type(error).__name__
path, process = sys.argv[1], '/proc/' + sys.argv[2]
print(json.dumps([tried(path), tried(process + '/cwd/private'), tried(process + '/root' + path)]))
"""
    assert set(attempt(up, kind, script, victim, pid_of(up, "victim"))) <= {"FileNotFoundError", "PermissionError"}


@pytest.mark.parametrize("kind", CONFINED)
def test_no_stranger_s_process_nor_environment_can_be_seen(up: Up, kind: str) -> None:
    script = """import json, os
seen, users = [], set()
for name in filter(str.isdigit, os.listdir('/proc')):
    try:
        users.add(os.stat('/proc/' + name).st_uid)
        seen.append(open(f'/proc/{name}/environ').read())
    except OSError: pass
print(json.dumps([''.join(seen), sorted(users - {os.getuid()})]))
"""
    environment, strangers = attempt(up, kind, script)
    assert SECRET not in environment
    assert "STARK_POD_ID" in environment
    assert strangers == []


@pytest.mark.parametrize("kind", CONFINED)
def test_what_proves_the_agent_s_identity_is_out_of_reach(up: Up, kind: str) -> None:
    wanted = [
        path for path in up.data_dir.rglob("*") if path.suffix in (".key", ".kubeconfig", ".pem", ".crt", ".sock")
    ]
    wanted = [path for path in wanted if path.parent.name != "serviceaccount"]
    assert len(wanted) > 5
    script = """import json, socket, sys
def tried(path):
    try:
        if path.endswith('.sock'): socket.socket(socket.AF_UNIX).connect(path)
        else: open(path).read()
        return path
    except OSError: return None
print(json.dumps([path for path in map(tried, json.loads(sys.argv[1])) if path]))
"""
    assert attempt(up, kind, script, json.dumps([str(path) for path in wanted])) == []


@pytest.mark.parametrize("kind", CONFINED)
def test_nobody_else_can_be_signalled_or_traced(up: Up, kind: str) -> None:
    strangers = [pid_of(up, "victim"), up.child("stark.agent").pid, up.pid, os.getpid()]
    strangers += [
        one.pid for one in psutil.process_iter(["cmdline"]) if "supervisor.shim" in " ".join(one.info["cmdline"] or ())
    ]
    script = """import ctypes, json, os, sys
trace = ctypes.CDLL(None, use_errno=True).ptrace
def tried(pid):
    reached = []
    try: os.kill(pid, 9); reached.append('signal')
    except OSError: pass
    if trace(16, pid, 0, 0) == 0: reached.append('trace')
    try: open(f'/proc/{pid}/mem', 'rb'); reached.append('memory')
    except OSError: pass
    return reached
print(json.dumps([tried(pid) for pid in json.loads(sys.argv[1]) if pid > 400]))
"""
    assert not any(attempt(up, kind, script, json.dumps(strangers)))
    assert unharmed(up)
    assert unharmed(up, kind)


@pytest.mark.parametrize("kind", CONFINED)
def test_nothing_of_the_host_can_be_written(up: Up, kind: str) -> None:
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob("stark*/**/cgroup.procs")][:8]
    paths = ["/etc/stark-test", "/usr/bin/stark-test", "/usr/local/bin/stark-test", "/var/lib/stark-test", "/stark-test",
             "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/etc/passwd", "/dev/vda", "/dev/sda", "/dev/mem",
             str(Path(__file__)), str(up.data_dir / "stark-test"), *groups]  # fmt: skip
    script = """import json, sys
def tried(path):
    try: open(path, 'a').close(); return path
    except OSError: return None
print(json.dumps([path for path in map(tried, json.loads(sys.argv[1])) if path]))
"""
    assert attempt(up, kind, script, json.dumps(paths)) == []


@pytest.mark.parametrize("kind", CONFINED)
def test_a_program_with_a_setuid_bit_gains_nothing(up: Up, kind: str) -> None:
    program = next(
        path for path in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount") if os.stat(path).st_mode & 0o4000
    )
    script = """import ctypes, json, os, subprocess, sys, time
ids = lambda pid: next(line for line in open(f'/proc/{pid}/status') if line.startswith('Uid:')).split()[1:]
read, write = os.pipe()
process = subprocess.Popen([sys.argv[1]], stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try: users = ids(process.pid)
except OSError: users = []
process.kill()
print(json.dumps([sorted(set(users) - {str(os.getuid())}), open('/proc/self/status').read()]))
"""
    others, own = attempt(up, kind, script, program)
    assert others == []
    assert "NoNewPrivs:\t1" in own
    assert "CapEff:\t0000000000000000" in own
    assert "CapBnd:\t0000000000000000" in own


def test_a_user_namespace_of_its_own_uncovers_nothing(up: Up) -> None:
    script = """import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
entered = libc.unshare(0x10000000 | 0x20000) == 0
uncovered = [path for path in ('/home', '/root', '/tmp', '/proc') if libc.umount2(path.encode(), 2) == 0]
print(json.dumps([uncovered, os.path.isdir('/home') and os.listdir('/home')]))
"""
    assert attempt(up, "process", script) == [[], []]


@pytest.mark.parametrize("kind", CONFINED)
def test_no_descriptor_of_the_supervisor_is_inherited(up: Up, kind: str) -> None:
    pid = pid_of(up, kind)
    links = {number: os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
    assert not [target for target in links.values() if "shim" in target or "state.jsonl" in target or "/ns/" in target]
    assert [links[number].partition(":")[0] for number in ("1", "2", "3")] == ["pipe", "pipe", "socket"]


def test_memory_over_the_limit_ends_one_container_and_no_other(up: Up, tmp_path: Path) -> None:
    source = "async def default(context):\n    hoard = []\n    while True: hoard.append(bytearray(b'x' * (4 << 20)))\n"
    (tmp_path / "hog.py").write_text(source)
    register(up, "hog", tmp_path / "hog.py")
    limit = {"limits": {"memory": "48Mi"}}
    sibling = {"name": "sibling", "image": "pack.stark/hold:1.0.0"}
    create(up, "hog", wait=False, pack="hog", resources=limit, others=[sibling])

    def ended() -> bool:
        found = status(up, "hog")
        states = [found.get("state", {}), found.get("lastState", {})]
        return any((state.get("terminated") or {}).get("reason") == "OOMKilled" for state in states)

    up.until("the hog was killed", ended)
    assert status(up, "hog", "sibling")["restartCount"] == 0
    assert "running" in status(up, "hog", "sibling")["state"]
    assert unharmed(up)
    up.kubectl("delete", "pod", "hog", "--wait=false")


@pytest.mark.parametrize("kind", CONFINED)
def test_a_fork_bomb_ends_at_its_bound(up: Up, kind: str) -> None:
    script = """import json, os, signal
children = []
try:
    while len(children) < 3000:
        pid = os.fork()
        if pid == 0: signal.pause()
        children.append(pid)
except OSError as error: why = error.errno
else: why = 0
for pid in children: os.kill(pid, 9)
print(json.dumps([len(children), why]))
"""
    count, why = attempt(up, kind, script)
    assert (count < 1024, why) == (True, 11)
    assert unharmed(up)
    assert unharmed(up, kind)


def test_cpu_over_the_limit_is_not_given(up: Up) -> None:
    create(up, "busy", resources={"limits": {"cpu": "200m"}})
    script = """import json, time
begun = time.monotonic()
while time.monotonic() < begun + 2: pass
print(json.dumps(time.process_time() / (time.monotonic() - begun)))
"""
    assert attempt(up, "busy", script) < 0.5
    up.kubectl("delete", "pod", "busy", "--wait=false")


@pytest.mark.parametrize("kind", CONFINED)
def test_open_files_end_at_their_bound(up: Up, kind: str) -> None:
    script = """import json, os
held = []
try:
    while len(held) < 70000: held.append(os.dup(0))
except OSError as error: print(json.dumps(error.errno))
"""
    assert attempt(up, kind, script) == 24


def test_a_flood_of_output_does_not_fill_the_disk(up: Up, tmp_path: Path) -> None:
    lines = "for _ in range(1200): sys.stdout.write(('y' * 99 + chr(10)) * 1000)"
    source = f"import sys\nasync def default(context):\n    {lines}\n"
    (tmp_path / "flood.py").write_text(source)
    register(up, "flood", tmp_path / "flood.py")
    create(up, "flood", wait=False, pack="flood")
    up.until(
        "all is written",
        lambda: status(up, "flood")["restartCount"] > 0 or "terminated" in status(up, "flood")["state"],
    )
    folder = next(path for path in up.data_dir.rglob("logs/*_flood_*/main"))
    first = [path for path in folder.iterdir() if path.name.startswith("0.log")]
    assert sum(path.stat().st_size for path in first) < LOG_BYTES_MAX
    assert unharmed(up)
    up.kubectl("delete", "pod", "flood", "--wait=false")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            """os.write(3, b'{"type":"failed","message":"half \\\\ud800"}\\n'); os._exit(1)""", id="half a character"
        ),
        pytest.param("[(os.mkdir('d'), os.chdir('d')) for _ in range(3000)]; os._exit(1)", id="folders without end"),
        pytest.param("os.write(3, b'[' * 200000 + b'\\n'); os._exit(1)", id="a report without end"),
    ],
)
def test_the_agent_survives_its_pods(up: Up, tmp_path: Path, body: str, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id.split()[-1].replace("end", "deep")
    (tmp_path / "foe.py").write_text(f"import os\nasync def default(context):\n    {body}\n")
    pack = f"{name}-{len(body)}"
    register(up, pack, tmp_path / "foe.py")
    agent = up.child("stark.agent").pid
    create(up, pack, wait=False, pack=pack)
    up.until("it is started again", lambda: status(up, pack)["restartCount"] > 0)
    up.kubectl("delete", "pod", pack, "--timeout=60s")
    assert up.child("stark.agent").pid == agent
    assert unharmed(up)


def test_nothing_of_the_host_is_reached_by_a_working_directory(up: Up, tmp_path: Path) -> None:
    (tmp_path / "leave.py").write_text("import os\ndef default(context): print(os.listdir('.'))\n")
    register(up, "leave", tmp_path / "leave.py")
    create(up, "leave", wait=False, pack="leave", workingDir=f"/proc/{up.pid}/root/root")

    def message() -> str:
        found = status(up, "leave")
        states = [found.get("state", {}), found.get("lastState", {})]
        return "".join((state.get("terminated") or {}).get("message", "") for state in states)

    assert "No such file or directory" in up.until("it says why", message)
    up.kubectl("delete", "pod", "leave", "--wait=false")


def test_a_strict_pod_reaches_nobody(up: Up) -> None:
    server = up.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").strip()
    address, port = urlsplit(server).hostname, urlsplit(server).port
    script = """import json, socket, sys
def tried(address, port):
    try: socket.create_connection((address, port), 2).close(); return address
    except OSError: return None
found = [tried(sys.argv[1], int(sys.argv[2])), tried('127.0.0.1', int(sys.argv[2])), tried('192.0.2.1', 80)]
print(json.dumps([[name for _, name in socket.if_nameindex()], found]))
"""
    assert attempt(up, "strict", script, address, port) == [["lo"], [None, None, None]]
    assert attempt(up, "process", script, address, port)[1][0] == address


def test_a_strict_pod_sees_programs_and_nothing_else_of_the_machine(up: Up) -> None:
    script = """import json, os
processes = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())
people = os.path.exists('/etc/passwd')
print(json.dumps([sorted(os.listdir('/')), sorted(os.listdir('/dev')), people, os.access('/', os.W_OK), processes]))
"""
    roots, devices, has_people, may_write, processes = attempt(up, "strict", script)
    assert set(roots).isdisjoint({"home", "root", "boot", "sys", "run", "opt", "srv", "mnt"})
    assert set(devices) == {"fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
                            "urandom", "zero"}  # fmt: skip
    assert (has_people, may_write) == (False, False)
    assert (len(processes), processes[:2]) == (3, [1, 2])


def test_a_strict_pod_cannot_call_what_reaches_for_the_kernel(up: Up) -> None:
    script = """import ctypes, json, platform
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == 'x86_64'
numbers = {'ptrace': (101, 117), 'mount': (165, 40), 'unshare': (272, 97), 'bpf': (321, 280), 'setns': (308, 268),
           'keyctl': (250, 219), 'io_uring_setup': (425, 425), 'userfaultfd': (323, 282),
           'perf_event_open': (298, 241), 'clone3': (435, 435)}
said = {}
for name, pair in numbers.items():
    ctypes.set_errno(0)
    libc.syscall(pair[0 if x86 else 1], 0, 0, 0, 0, 0)
    said[name] = ctypes.get_errno()
print(json.dumps(said))
"""
    said = attempt(up, "strict", script)
    assert said.pop("clone3") == 38
    assert set(said.values()) == {1}


def test_a_root_that_is_read_only_is_not_written(up: Up) -> None:
    context = {"readOnlyRootFilesystem": True, "runAsUser": 1234, "runAsGroup": 4321, "runAsNonRoot": True}
    (still := up.directory / "still.py").write_text(
        "import asyncio\nasync def default(context): await asyncio.sleep(600)\n"
    )
    register(up, "still", still)
    create(up, "sealed", pack="still", securityContext=context)
    script = """import json, os
def tried(path):
    try: open(path, 'w').close(); return path
    except OSError: return None
print(json.dumps([os.getuid(), os.getgid(), *map(tried, ('here', '/tmp/there', '/dev/shm/x'))]))
"""
    assert attempt(up, "sealed", script) == [1234, 4321, None, None, "/dev/shm/x"]
    assert psutil.Process(pid_of(up, "sealed")).uids().real > 1_000_000
    up.kubectl("delete", "pod", "sealed", "--wait=false")


def test_a_pod_that_must_not_be_root_is_not_started_as_root(up: Up) -> None:
    create(up, "rooted", wait=False, securityContext={"runAsNonRoot": True, "runAsUser": 0})
    waiting = up.until("it says why", lambda: status(up, "rooted")["state"].get("waiting", {}).get("message"))
    assert "breaks non-root policy" in waiting
    assert status(up, "rooted")["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    up.kubectl("delete", "pod", "rooted", "--wait=false")


def test_the_trusted_are_the_agent_and_only_who_may_makes_them(up: Up) -> None:
    create(up, "trusted", "trusted")
    assert attempt(up, "trusted", "import json, os; print(json.dumps(os.getuid()))") == os.geteuid()
    up.kubectl("create", "serviceaccount", "clerk")
    up.kubectl("create", "rolebinding", "clerk", "--clusterrole=edit", "--serviceaccount=default:clerk")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sly", "annotations": {"stark.dev/isolation": "trusted"}},
           "spec": {"containers": [{"name": "main", "image": "pack.stark/hold:1.0.0"}]}}  # fmt: skip
    said = up.run(
        "kubectl", "create", "--as=system:serviceaccount:default:clerk", "-f", "-", stdin=json.dumps(pod), ok=False
    )
    assert 'takes the right to "use" isolationclasses.stark.dev' in said
