"""A whole Stark whose bundles are in a real object storage, through everything that breaks on the way."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.object_storage import object_storage
from tests.support.up import BIN, REPO, ready, stark_up

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

BUNDLE_BYTES = 50 << 20
PATIENCE_S = 60.0
PROGRAM = b"""module.exports.default = async (context) => {
  console.log('started');
  await new Promise((done) => context.onShutdown(done));
};
// """


def test_an_upload_whose_server_is_killed_goes_on_and_a_pod_runs_from_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "big.js"
    bundle.write_bytes(PROGRAM + os.urandom((BUNDLE_BYTES - len(PROGRAM)) // 2).hex().encode())
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    with object_storage(tmp_path / "swift") as storage:
        assert storage.process is not None
        for name, value in {**storage.keys, "AWS_ENDPOINT_URL": storage.url}.items():
            monkeypatch.setenv(name, value)
        with stark_up(tmp_path, "sqlite", "--blobs", f"s3://{storage.bucket}/cluster") as up:

            def begun(part: int) -> int:
                return sum(f"/{part * (16 << 20):012}-" in line and "?uploads=" in line for line in storage.requests())

            registering = subprocess.Popen(
                [BIN / "starkctl", "pack", "register", bundle, "-n", "big", "-V", "1.0.0", "-r", "node"],
                env=up.environment,
                cwd=REPO,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            deadline = time.monotonic() + PATIENCE_S
            while not begun(1):  # the first part is in the bucket, the second on its way
                assert time.monotonic() < deadline
                assert registering.poll() is None
                time.sleep(0.002)
            storage.process.send_signal(signal.SIGSTOP)
            up.child("stark.apiserver").kill()
            storage.process.send_signal(signal.SIGCONT)
            said, _ = registering.communicate(timeout=PATIENCE_S)
            assert registering.returncode == 0, said
            assert begun(0) == 1, "what the bucket had was not sent again"

            up.kubectl("run", "big", "--image=pack.stark/big:1.0.0", "--restart=Never")
            up.until("it runs", lambda: [pod for pod in up.pods("run=big") if ready(pod)])
            assert up.kubectl("logs", "big") == "started\n"
            for word in ("stark.agent", "stark.controllers"):
                assert not [name for name in up.child(word).environ() if name.startswith("AWS_")]
            assert sum(digest in line and "X-Amz-Signature" in line for line in storage.requests()) == 1

            storage.stop()
            out = tmp_path / "out"
            refused = up.starkctl("pack", "download", "big:1.0.0", "--out", str(out), ok=False)
            assert "the storage of bundles does not answer as it should: try again" in refused
            up.kubectl("run", "again", "--image=pack.stark/big:1.0.0", "--restart=Never")  # the node has it
            up.until("it runs", lambda: [pod for pod in up.pods("run=again") if ready(pod)])
            storage.start()
            up.starkctl("pack", "download", "big:1.0.0", "--out", str(out))
            assert hashlib.sha256(out.read_bytes()).hexdigest() == digest
            kept = b"".join(path.read_bytes() for path in up.data_dir.glob("logs/*"))
            assert storage.secret.encode() not in kept
            assert b"X-Amz-Signature" not in kept
