"""Volumes: what their files say, how they come to the disk, and what becomes of them while a pod runs."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.agent.accounts import AccountFiles
from stark.agent.configs import ConfigSource
from stark.agent.environment import Surroundings
from stark.agent.records import PodNote, PodRecords
from stark.agent.volumes import FailedMount, Found, VolumeError, VolumeKeeper, container_mounts, owner_of
from stark.agent.volumes.folders import make_sub_path
from stark.agent.volumes.keeper import is_due
from stark.agent.volumes.payload import File, payload_of
from stark.agent.volumes.writer import Owner, write
from stark.client.api import Client
from stark.crds.config import ConfigMap, Secret
from stark.crds.meta import ObjectMeta, decode
from stark.crds.pods import Pod
from tests.support.agent_api import AgentApi, agent_api

AROUND = Surroundings("10.0.0.1", {"cpu": "4", "memory": "8Gi"})
IS_ROOT = os.geteuid() == 0


def pod(*volumes: dict[str, Any], mounts: list[dict[str, Any]] | None = None, **spec: Any) -> Pod:
    meta = {"name": "web", "namespace": "team", "uid": "u-1", "labels": {"b": 'say "hi"', "a": "1"}}
    resources = {"limits": {"cpu": "1500m"}, "requests": {"memory": "100Mi"}}
    main = {"name": "main", "resources": resources, "volumeMounts": mounts or []}
    whole = {"containers": [main], "serviceAccountName": "default", "volumes": list(volumes), **spec}
    return decode(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": whole}).encode(), Pod)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FOUND = Found(
    {"c": ConfigMap(metadata=ObjectMeta(name="c"), data={"k": "v", "l": "w"}, binary_data={"b": b64("x")})},
    {"s": Secret(metadata=ObjectMeta(name="s"), data={"k": b64("hush")})},
    {("v", "token"): "t-1"},
)


def downward(*items: dict[str, Any]) -> dict[str, Any]:
    return {"name": "v", "downwardAPI": {"items": list(items)}}


def told(path: str, resource: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "resourceFieldRef": {"containerName": "main", "resource": resource, **more}}


@pytest.mark.parametrize(
    ("volume", "files"),
    [
        pytest.param(
            {"name": "v", "configMap": {"name": "c"}},
            {"k": (b"v", 0o644), "l": (b"w", 0o644), "b": (b"x", 0o644)},
            id="every key of a ConfigMap",
        ),
        pytest.param(
            {"name": "v", "configMap": {"name": "c", "defaultMode": 0o600, "items": [{"key": "k", "path": "a/b"}]}},
            {"a/b": (b"v", 0o600)},
            id="the items that are named",
        ),
        pytest.param(
            {"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "p", "mode": 0o400}]}},
            {"p": (b"hush", 0o400)},
            id="a Secret with a mode of its own",
        ),
        pytest.param({"name": "v", "secret": {"secretName": "none", "optional": True}}, {}, id="nothing, if optional"),
        pytest.param(
            {"name": "v", "configMap": {"name": "c", "optional": True, "items": [{"key": "none", "path": "p"}]}},
            {},
            id="no optional key",
        ),
        pytest.param(
            downward(
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}},
                told("cpu", "limits.cpu"),
                told("milli", "limits.cpu", divisor="1m"),
                told("memory", "limits.memory", divisor="1Mi"),
                told("asked", "requests.memory"),
                told("none", "requests.cpu"),
            ),
            {
                "labels": (b'a="1"\nb="say \\"hi\\""', 0o644),
                "uid": (b"u-1", 0o644),
                "cpu": (b"2", 0o644),
                "milli": (b"1500", 0o644),
                "memory": (b"8192", 0o644),
                "asked": (b"104857600", 0o644),
                "none": (b"0", 0o644),
            },
            id="the pod itself",
        ),
        pytest.param(
            {
                "name": "v",
                "projected": {
                    "defaultMode": 0o440,
                    "sources": [
                        {"configMap": {"name": "c", "items": [{"key": "k", "path": "k"}]}},
                        {"secret": {"name": "s", "items": [{"key": "k", "path": "deep/k", "mode": 0o400}]}},
                        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
                    ],
                },
            },
            {"k": (b"v", 0o440), "deep/k": (b"hush", 0o400), "token": (b"t-1", 0o440)},
            id="several sources",
        ),
    ],
)
def test_the_files_of_a_volume(volume: dict[str, Any], files: dict[str, tuple[bytes, int]]) -> None:
    one = pod(volume)
    assert payload_of(one.spec.volumes[0], one, FOUND, AROUND) == {path: File(*file) for path, file in files.items()}


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"name": "v", "configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"name": "v", "secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"name": "v", "configMap": {"name": "c", "items": [{"key": "none", "path": "p"}]}},
            "configmap references non-existent config key: none",
        ),
        (
            {"name": "v", "secret": {"secretName": "s", "items": [{"key": "none", "path": "p"}]}},
            "references non-existent secret key: none",
        ),
        ({"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../p"}]}}, "does not lie within"),
    ],
)
def test_why_a_volume_cannot_be_filled(volume: dict[str, Any], message: str) -> None:
    one = pod(volume)
    with pytest.raises(VolumeError, match=message):
        payload_of(one.spec.volumes[0], one, FOUND, AROUND)


def files_in(folder: Path) -> dict[str, bytes]:
    """What a user of the volume sees."""
    found: dict[str, bytes] = {}
    for entry in folder.iterdir():
        if not entry.name.startswith(".."):
            paths = [path for path in entry.rglob("*") if path.is_file()] if entry.is_dir() else [entry]
            found |= {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return found


def is_in_memory(folder: Path) -> bool:
    """Whether a file system of its own is mounted there."""
    return os.path.ismount(folder)


def test_files_are_replaced_together_and_nothing_old_is_left(tmp_path: Path) -> None:
    assert write(tmp_path, {"a": File(b"1", 0o644), "d/b": File(b"2", 0o400)}, Owner())
    first = os.readlink(tmp_path / "..data")
    assert files_in(tmp_path) == {"a": b"1", "d/b": b"2"}
    assert stat.S_IMODE((tmp_path / "d/b").stat().st_mode) == 0o400
    assert not write(tmp_path, {"a": File(b"1", 0o644), "d/b": File(b"2", 0o400)}, Owner())
    assert os.readlink(tmp_path / "..data") == first
    (tmp_path / "..2020_killed").mkdir()
    reader = os.open(tmp_path / "a", os.O_RDONLY)
    assert write(tmp_path, {"a": File(b"3", 0o600), "c": File(b"4", 0o644)}, Owner())
    assert files_in(tmp_path) == {"a": b"3", "c": b"4"}
    assert os.read(reader, 10) == b"1"
    os.close(reader)
    now = os.readlink(tmp_path / "..data")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a", "c", "..data", now}
    assert write(tmp_path, {}, Owner())
    assert files_in(tmp_path) == {}


def test_a_group_that_shares_a_volume_can_read_it(tmp_path: Path) -> None:
    write(tmp_path, {"a": File(b"1", 0o400)}, Owner(shared=True))
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o440


@pytest.fixture
async def api() -> AsyncIterator[AgentApi]:
    async with agent_api() as server:
        yield server


@pytest.fixture
async def keeper(api: AgentApi, tmp_path: Path) -> AsyncIterator[VolumeKeeper]:
    records = PodRecords(tmp_path)
    async with Client(api.config) as client:
        made = VolumeKeeper(
            records, ConfigSource(client), AccountFiles(client, api.config, records), "10.0.0.1", {"cpu": "4"}
        )
        yield made
        made.clear("u-1")
    records.close()


async def test_what_no_pod_of_the_node_names_any_more_is_forgotten(api: AgentApi) -> None:
    put(api, "ConfigMap", "mounted", {"k": "1"}, immutable=True)
    put(api, "Secret", "told", {"k": b64("1")}, immutable=True)
    variable = {"name": "V", "valueFrom": {"secretKeyRef": {"name": "told", "key": "k"}}}
    early = [{"name": "early", "env": [variable]}]
    one = pod({"name": "c", "configMap": {"name": "mounted"}}, initContainers=early)
    async with Client(api.config) as client:
        source = ConfigSource(client)
        await source.config_map("team", "mounted")
        await source.secret("team", "told")
        source.keep_only([one])
        assert source.immutable(ConfigMap, "team", "mounted") is not None
        assert source.immutable(Secret, "team", "told") is not None
        source.keep_only([])
        assert source.immutable(ConfigMap, "team", "mounted") is None
        assert source.immutable(Secret, "team", "told") is None


def put(api: AgentApi, kind: str, name: str, data: dict[str, str], **more: Any) -> None:
    meta = {"name": name, "namespace": "team", "uid": f"{kind}-{name}"}
    body = {"apiVersion": "v1", "kind": kind, "metadata": meta, "data": data, **more}
    api.others[f"api/v1/namespaces/team/{kind.lower()}s/{name}"] = body


async def made(keeper: VolumeKeeper, one: Pod) -> None:
    keeper.make(one, await keeper.read(one, 0.0), owner_of(one, PodNote()))


async def test_volumes_follow_what_they_are_made_of(api: AgentApi, keeper: VolumeKeeper) -> None:
    put(api, "ConfigMap", "c", {"k": "1"})
    put(api, "ConfigMap", "fixed", {"k": "1"}, immutable=True)
    put(api, "Secret", "s", {"k": b64("1")})
    one = pod(
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "fixed", "configMap": {"name": "fixed"}},
        {"name": "s", "secret": {"secretName": "s"}},
        downward({"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}),
    )
    await made(keeper, one)
    folder = keeper.folder("u-1")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert is_in_memory(folder / "s") == IS_ROOT
    put(api, "ConfigMap", "c", {"k": "2"})
    put(api, "ConfigMap", "fixed", {"k": "2"}, immutable=True)
    put(api, "Secret", "s", {"k": b64("2")})
    one.metadata.labels.clear()
    one.metadata.labels["a"] = "2"
    await keeper.refresh([one], 0.0)
    assert [(folder / name / "k").read_bytes() for name in ("c", "fixed", "s")] == [b"2", b"1", b"2"]
    assert (folder / "v" / "labels").read_text() == 'a="2"'
    # What has been there once stays, whatever becomes of the object or of the server.
    api.others.clear()
    await keeper.refresh([one], 0.0)
    await made(keeper, one)
    assert files_in(folder / "c") == {"k": b"2"}
    await api.stop()
    await keeper.refresh([one], 0.0)
    assert files_in(folder / "s") == {"k": b"2"}
    keeper.clear("u-1")
    assert not is_in_memory(folder / "s")
    if IS_ROOT:
        assert files_in(folder / "s") == {}


async def test_a_volume_waits_for_what_is_missing(api: AgentApi, keeper: VolumeKeeper) -> None:
    one = pod({"name": "c", "configMap": {"name": "c"}})
    with pytest.raises(FailedMount, match=r'MountVolume\.SetUp failed for volume "c" : configmap "c" not found'):
        await made(keeper, one)
    put(api, "ConfigMap", "c", {"k": "1"})
    await made(keeper, one)
    assert files_in(keeper.folder("u-1") / "c") == {"k": b"1"}


async def test_a_token_is_for_whom_it_says_and_is_asked_for_once(api: AgentApi, keeper: VolumeKeeper) -> None:
    source = {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}}
    one = pod({"name": "t", "projected": {"sources": [source]}})
    await made(keeper, one)
    (asked,) = api.token_requests
    assert (asked["spec"]["audiences"], asked["spec"]["expirationSeconds"]) == (["vault"], 600)
    assert asked["spec"]["boundObjectRef"]["uid"] == "u-1"
    assert (keeper.folder("u-1") / "t" / "token").read_text() == "token-1"
    assert is_in_memory(keeper.folder("u-1") / "t") == IS_ROOT


@pytest.mark.parametrize(
    ("lasts_s", "age_s", "due"),
    [
        (600, 0, False),
        (600, 465, False),
        (600, 475, True),
        (600, -60, True),
        (7 * 86_400, 86_300, False),
        (7 * 86_400, 86_400, True),
    ],
)
def test_a_token_is_renewed_when_four_fifths_of_its_time_or_a_day_are_over(lasts_s: int, age_s: int, due: bool) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"iat": 1_000, "exp": 1_000 + lasts_s}).encode()).rstrip(b"=")
    assert is_due(b"e30." + claims + b".x", 1_000 + age_s) is due


async def test_an_empty_folder_is_empty_once(keeper: VolumeKeeper) -> None:
    one = pod({"name": "e", "emptyDir": {}}, securityContext={"fsGroup": 2_000})
    await made(keeper, one)
    folder = keeper.folder("u-1") / "e"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
    (folder / "kept").touch()
    await made(keeper, one)
    assert (folder / "kept").exists()


async def test_memory_has_the_size_that_was_asked_for(keeper: VolumeKeeper) -> None:
    one = pod({"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})
    if not IS_ROOT:
        with pytest.raises(FailedMount, match="medium Memory takes an agent that is root"):
            await made(keeper, one)
        return
    await made(keeper, one)
    folder = keeper.folder("u-1") / "m"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777
    with pytest.raises(OSError, match="No space left"):
        (folder / "big").write_bytes(bytes(2 << 20))


@pytest.mark.parametrize(
    ("kind", "is_fine", "message"),
    [
        ("", ("folder", "file", "socket", "missing"), ""),
        ("Directory", ("folder",), "is not a directory"),
        ("DirectoryOrCreate", ("folder", "missing"), "is not a directory"),
        ("File", ("file",), "is not a file"),
        ("FileOrCreate", ("file", "missing"), "is not a file"),
        ("Socket", ("socket",), "is not a socket file"),
        ("CharDevice", (), "is not a character device"),
        ("BlockDevice", (), "is not a block device"),
    ],
)
async def test_a_host_path_is_what_was_asked_for(
    keeper: VolumeKeeper, tmp_path: Path, kind: str, is_fine: tuple[str, ...], message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("folder", "file", "socket", "missing"):
            one = pod({"name": "h", "hostPath": {"path": str(tmp_path / name), "type": kind}})
            if name in is_fine:
                await made(keeper, one)
                assert (tmp_path / name).exists()
            else:
                with pytest.raises(FailedMount, match=f"{message}|No such file"):
                    await made(keeper, one)


def test_a_container_finds_its_volumes(tmp_path: Path) -> None:
    one = pod(
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "e", "emptyDir": {}},
        {"name": "h", "hostPath": {"path": "/dev"}},
        mounts=[
            {"name": "c", "mountPath": "/etc/web/k", "subPath": "k"},
            {"name": "e", "mountPath": "data", "subPathExpr": "$(POD)/x"},
            {"name": "e", "mountPath": "/all", "readOnly": True},
            {"name": "h", "mountPath": "/host"},
        ],
    )
    (tmp_path / "e").mkdir()
    mounts = container_mounts(one, one.spec.containers[0], {"POD": "web-0"}, tmp_path, Owner())
    assert mounts == [
        {"source": "k", "within": f"{tmp_path}/c", "target": "/etc/web/k", "read_only": True},
        {"source": "web-0/x", "within": f"{tmp_path}/e", "target": "/data", "read_only": False},
        {"source": f"{tmp_path}/e", "target": "/all", "read_only": True},
        {"source": "/dev", "target": "/host", "read_only": False, "devices": True},
    ]
    assert (tmp_path / "e/web-0/x").is_dir()
    for env, message in (({}, 'missing value for "POD"'), ({"POD": "../.."}, "must be a relative path")):
        with pytest.raises(VolumeError, match=message):
            container_mounts(one, one.spec.containers[0], env, tmp_path, Owner())


def test_nothing_is_made_behind_a_link_that_a_pod_has_laid(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "volume/link").symlink_to(tmp_path / "outside")
    make_sub_path(tmp_path / "volume", "link/made", Owner())
    assert not list((tmp_path / "outside").iterdir())


def test_what_cannot_be_written_leaves_nothing_however_often_it_is_tried(tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(OSError, match="exists"):
            write(tmp_path, {"a": File(b"1", 0o644), "a/b": File(b"2", 0o644)}, Owner())
    assert not list(tmp_path.iterdir())
