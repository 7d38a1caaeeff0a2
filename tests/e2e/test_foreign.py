"""An agent on a machine of another architecture: emulated, so that much is not there that an agent makes use of."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.foreign import foreign_agent
from tests.support.up import ready, stark_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ASKED = os.environ.get("STARK_TEST_ARCHITECTURES", "arm64").split(",")
FIRST_START_S = 180.0
"""Modules are compiled by the first run, under emulation; later ones take seconds."""
PROGRAM = """
import platform, time
print({said!r}, platform.machine(), flush=True)
time.sleep(3600)
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: where}
spec:
  nodeSelector: {kubernetes.io/arch: ARCHITECTURE}
  containers: [{name: main, image: "pack.stark/where:1.0.0"}]
"""


@pytest.mark.parametrize("architecture", ASKED)
def test_an_agent_elsewhere_joins_says_what_it_cannot_and_runs_its_bundle_of_a_pack(
    architecture: str, tmp_path: Path
) -> None:
    bundles = {name: tmp_path / f"{name}.py" for name in ("amd64", architecture)}
    for name, path in bundles.items():
        path.write_text(PROGRAM.format(said=f"bundle for {name} on"))
    folder = tmp_path / "node"
    folder.mkdir()
    with stark_up(tmp_path, "sqlite", "--agents", "0") as up:
        words = up.starkctl("token", "create", "--print-join-command").splitlines()[-1].split()
        join = words[words.index("--server") : words.index("--data-dir")]
        with foreign_agent(architecture, folder, *join, "--name", "elsewhere") as said:
            up.until("it joins", lambda: '"ready": true' in said.read_text(), FIRST_START_S)
            node = up.json("node", "elsewhere")
            labels = node["metadata"]["labels"]
            assert labels["kubernetes.io/arch"] == architecture == node["status"]["nodeInfo"]["architecture"]
            # What an emulator of programs has no part of: the kernel's namespaces and filters.
            assert "stark.dev/isolation-trusted" in labels
            assert not {"stark.dev/isolation-process", "stark.dev/isolation-strict"} & labels.keys()
            why = json.loads(node["metadata"]["annotations"]["stark.dev/isolation"])
            assert why["process"]
            assert why["strict"]
            given = [word for name, path in bundles.items() for word in ("--bundle", f"{name}={path}")]
            up.starkctl("pack", "register", *given, "--name", "where", "--ver", "1.0.0", "--runtime", "python")
            up.kubectl("apply", "-f", "-", stdin=POD.replace("ARCHITECTURE", architecture))
            up.until("the pod is ready", lambda: ready(up.json("pod", "where")), FIRST_START_S)
            machine = {"arm64": "aarch64"}.get(architecture, architecture)
            up.until(
                "its log is here", lambda: f"bundle for {architecture} on {machine}" in up.kubectl("logs", "where")
            )
            up.kubectl("delete", "pod", "where", "--now")
            up.until("it is gone", lambda: not up.json("pods")["items"])
