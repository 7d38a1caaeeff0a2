"""Bad input gets a clear sentence and the right code, nothing is lost, and the server keeps serving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_main_job import config_map, register
from tests.support.etcd import free_port
from tests.support.up import Up, stark_up

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def up(on_sqlite: Up) -> Up:
    return on_sqlite


def deployment(**spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "bad"}},
        "spec": {"containers": [{"name": "bad", "image": "pack.stark/bad:1.0.0"}]},
    }
    whole = {"replicas": 1, "selector": {"matchLabels": {"app": "bad"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"}, "spec": whole}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        pytest.param(
            "apiVersion: v1\nkind: [unclosed", ("standard input, line 3", "correct the YAML"), id="malformed YAML"
        ),
        pytest.param('{"apiVersion": "v1",', ("standard input, line 1", "correct the JSON"), id="malformed JSON"),
        pytest.param("just text", ("expected an object",), id="not an object"),
        pytest.param("kind: Pod\nmetadata: {name: a}", ("no apiVersion",), id="no apiVersion"),
        pytest.param("apiVersion: v1\nkind: Pod\nmetadata: {}", ("no metadata.name",), id="no name"),
        pytest.param(
            "apiVersion: v1\nkind: Pood\nmetadata: {name: a}", ('no matches for kind "Pood"',), id="unknown kind"
        ),
        pytest.param(
            "apiVersion: v9\nkind: Pod\nmetadata: {name: a}", ('in version "v9"', "in v1"), id="unknown version"
        ),
        pytest.param(json.dumps(deployment(replicas="three")), ("spec.replicas", "integer"), id="wrong type"),
        pytest.param(
            json.dumps(deployment(replicas=-1)), ("spec.replicas", "greater than or equal to 0"), id="out of range"
        ),
        pytest.param(json.dumps(deployment(replcas=3)), ('unknown field "spec.replcas"',), id="unknown field"),
        pytest.param(json.dumps({**config_map("A_B")}), ("metadata.name", "lowercase RFC 1123"), id="bad name"),
        pytest.param(
            json.dumps({**config_map("big"), "data": {"x": "x" * (2 << 20)}}), ("large",), id="an object of two MiB"
        ),
    ],
)
def test_a_bad_manifest_is_refused_with_a_sentence(up: Up, manifest: str, said: tuple[str, ...]) -> None:
    answer = up.starkctl("apply", "-f", "-", stdin=manifest, ok=False)
    assert answer.startswith("error: ")
    for part in said:
        assert part in answer
    assert len(answer.strip().splitlines()) == 1, answer
    assert "ok" in up.kubectl("get", "--raw", "/readyz")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["gte", "pods"], 2, "did you mean `get`?", id="a misspelt command"),
        pytest.param(["get", "pods", "--bogus"], 2, "unrecognized arguments: --bogus", id="an unknown option"),
        pytest.param(["get", "pdos"], 1, "did you mean", id="a misspelt type"),
        pytest.param(["get", "pod", "absent"], 1, 'pods "absent" not found', id="an absent object"),
        pytest.param(["scale", "pod/x", "--replicas", "1"], 1, "cannot be scaled", id="scaling a pod"),
        pytest.param(["apply", "-f", "absent.yaml"], 1, "cannot read absent.yaml: No such file", id="an absent file"),
        pytest.param(
            ["--kubeconfig", "absent", "get", "pods"], 1, "absent: no such kubeconfig", id="an absent kubeconfig"
        ),
        pytest.param(
            ["--server", "https://127.0.0.1:1", "get", "pods"], 1, "nothing answers at 127.0.0.1:1", id="no server"
        ),
        pytest.param(
            ["pack", "register", "absent.js", "--name", "a", "--ver", "1.0.0", "--runtime", "node"],
            1,
            "cannot read the bundle",
            id="an absent bundle",
        ),
        pytest.param(
            ["pack", "register", "README.md", "--name", "a", "--ver", "one", "--runtime", "node"],
            1,
            "spec.version",
            id="a version that is none",
        ),
    ],
)
def test_a_wrong_command_line_gets_one_sentence_and_the_documented_code(
    up: Up, words: list[str], code: int, said: str
) -> None:
    done = subprocess.run(
        ["starkctl", *words], env=up.environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_an_anonymous_request_gets_401(up: Up) -> None:
    url = f"https://127.0.0.1:{_port(up)}/api/v1/pods"
    answer = up.run("curl", "-sk", url)
    assert json.loads(answer)["code"] == 401


def _port(up: Up) -> int:
    config = json.loads(up.run("kubectl", "config", "view", "-o", "json"))
    return int(config["clusters"][0]["cluster"]["server"].rpartition(":")[2])


def test_a_missing_pack_is_a_warning_and_a_waiting_pod_until_it_is_registered(up: Up, tmp_path: Path) -> None:
    bundle = tmp_path / "late.js"
    bundle.write_text("module.exports.default = () => new Promise(() => setInterval(() => {}, 1000));")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "late"},
        "spec": {"containers": [{"name": "late", "image": "pack.stark/late:1.0.0"}]},
    }
    assert "Warning" in up.starkctl("apply", "-f", "-", stdin=json.dumps(pod))
    try:
        up.until("the pod says why it waits", lambda: "late" in _waiting(up, "late"))
        register(up, "late", "1.0.0", str(bundle), "node")
        up.until("it runs", lambda: up.json("pod", "late")["status"].get("phase") == "Running")
    finally:
        up.starkctl("delete", "pod", "late", "--now")
    untagged = json.loads(json.dumps(pod).replace("late:1.0.0", "never"))
    assert "never" in up.starkctl("apply", "-f", "-", stdin=json.dumps(untagged), ok=False)


def _waiting(up: Up, name: str) -> str:
    conditions = up.json("pod", name).get("status", {}).get("conditions", ())
    return " ".join(
        f"{c['reason']} {c['message']}" for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"
    )


def test_another_bundle_under_the_same_version_is_refused(up: Up, tmp_path: Path) -> None:
    first, second = tmp_path / "a.js", tmp_path / "b.js"
    first.write_text("module.exports.default = () => 1;")
    second.write_text("module.exports.default = () => 2;")
    register(up, "fixed", "1.0.0", str(first), "node")
    words = ("pack", "register", str(second), "--name", "fixed", "--ver", "1.0.0", "--runtime", "node")
    assert "choose the next version" in up.starkctl(*words, ok=False)


def test_bytes_that_do_not_match_the_digest_are_refused(up: Up, tmp_path: Path) -> None:
    digest = "0" * 64
    spec = {
        "name": "liar",
        "version": "1.0.0",
        "runtime": "node",
        "bundles": [{"architecture": "any", "sha256": digest, "size": 3}],
    }
    pack = {"apiVersion": "stark.dev/v1", "kind": "Pack", "metadata": {"name": "liar.1.0.0"}, "spec": spec}
    up.starkctl("apply", "-f", "-", stdin=json.dumps(pack))
    (tmp_path / "bytes").write_text("abc")
    answer = up.kubectl(
        "replace",
        "--raw",
        f"/apis/stark.dev/v1/packs/liar.1.0.0/bundles/{digest}",
        "-f",
        str(tmp_path / "bytes"),
        ok=False,
    )
    assert "sha256" in answer
    assert up.json("pack", "liar.1.0.0").get("status", {}).get("phase", "Pending") == "Pending"


def test_a_pack_that_throws_on_load_is_told_apart_and_backs_off(up: Up, tmp_path: Path) -> None:
    bundle = tmp_path / "broken.js"
    bundle.write_text("throw new Error('the spoon is bent');")
    register(up, "broken", "1.0.0", str(bundle), "node")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "broken"},
        "spec": {"containers": [{"name": "broken", "image": "pack.stark/broken:1.0.0"}]},
    }
    up.starkctl("apply", "-f", "-", stdin=json.dumps(pod))
    try:
        up.until("it backs off", lambda: "CrashLoopBackOff" in up.starkctl("get", "pod", "broken"))
        terminated = up.json("pod", "broken")["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert terminated["reason"] == "PackLoadError"
        assert "the spoon is bent" in terminated["message"] + up.starkctl("logs", "broken", "--previous")
        assert "BackOff" in up.starkctl("describe", "pod", "broken")
    finally:
        up.starkctl("delete", "pod", "broken", "--now")


def start(*words: str, directory: Path) -> tuple[int, str]:
    """`starkctl up` that is expected to give up by itself."""
    environment = {**os.environ, "HOME": str(directory)}
    command = ["starkctl", "up", "--agents", "0", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.fixture(autouse=True)
def programs_on_the_path(monkeypatch: pytest.MonkeyPatch, on_sqlite: Up) -> None:
    monkeypatch.setenv("PATH", on_sqlite.environment["PATH"])


def test_a_port_in_use_is_said(up: Up, tmp_path: Path) -> None:
    code, said = start("--data-dir", str(tmp_path / "d"), "--port", str(_port(up)), directory=tmp_path)
    assert code == 1
    assert "in use" in said
    assert str(_port(up)) in said


def test_a_data_dir_in_use_is_said(up: Up, tmp_path: Path) -> None:
    code, said = start("--data-dir", str(up.data_dir), "--port", "0", directory=tmp_path)
    assert code == 1
    assert f"pid {up.pid}" in said


def test_a_store_locked_by_another_server_is_said(up: Up) -> None:
    command = ["stark-apiserver", "--data-dir", str(up.data_dir), "--listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "another" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_dir_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, said = start("--data-dir", str(blocked / "data"), "--port", "0", directory=tmp_path)
    assert code == 1
    assert "--data-dir" in said


@pytest.mark.slow
def test_an_etcd_that_is_away_at_the_start_is_said(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, said = start("--data-dir", str(tmp_path / "d"), "--port", "0", "--store", f"etcd={url}", directory=tmp_path)
    assert code == 1
    assert url in said


def test_a_command_line_server_address_that_is_no_url_is_said(up: Up) -> None:
    assert "is not a URL" in up.starkctl("--server", "localhost", "get", "pods", ok=False)


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_deletes_still_work(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    assert mounted.returncode == 0, "this test mounts a small tmpfs: run it as root"
    try:
        with stark_up(disk, "sqlite", "--agents", "0") as up:
            up.kubectl("create", "configmap", "before", "--from-literal=a=b")
            with (disk / "ballast").open("wb") as ballast:
                while True:
                    try:
                        ballast.write(b"\0" * (1 << 20))
                        ballast.flush()
                    except OSError:
                        break
                refused = ""
                for index in range(200):
                    big = {**config_map(f"big-{index}"), "data": {"x": "x" * 500_000}}
                    done = subprocess.run(
                        ["kubectl", "create", "-f", "-"],
                        env=up.environment,
                        input=json.dumps(big),
                        capture_output=True,
                        text=True,
                        check=False,
                        timeout=60,
                    )
                    if done.returncode:
                        refused = done.stderr
                        break
                assert "disk" in refused or "space" in refused.lower(), refused
                stored = {c["metadata"]["name"] for c in up.json("configmaps")["items"]}
                assert {"before", *(f"big-{i}" for i in range(index))} <= stored
                up.kubectl("delete", "configmap", "before", "--wait=false")
            (disk / "ballast").unlink()
            again = ["kubectl", "create", "configmap", "after", "--from-literal=a=b"]
            # The audit log looks again whether there is room; until then writes are refused.
            up.until("writes work again", lambda: not subprocess.run(again, env=up.environment, check=False).returncode)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_a_second_signal_is_not_needed(tmp_path: Path) -> None:
    with stark_up(tmp_path, "sqlite", "--agents", "0") as up:
        assert up.stop(signal.SIGINT) == 0
