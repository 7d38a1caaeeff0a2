"""A real S3-compatible object storage on a free loopback port, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

from stark.apiserver.settings import BlobPlace

from .etcd import free_port

SYSTEM_PYTHON = "/usr/bin/python3"
"""The one for which Debian's python3-swift is there."""
PROGRAM = Path(__file__).with_name("swift_server.py")
ACCESS_KEY = "stark:packs"
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass
class ObjectStorage:
    """One that can be stopped and started again on the same data, and a bucket in it."""

    folder: Path
    port: int = field(default_factory=free_port)
    bucket: str = "packs"
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(20))
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> Mapping[str, str]:
        """The environment of who may use it."""
        return dict(zip(VARIABLES, (ACCESS_KEY, self.secret), strict=True))

    def place(self, prefix: str = "", *, direct: bool = True, download: str = "") -> BlobPlace:
        """Settings of a server that keeps its bundles here."""
        return BlobPlace(f"s3://{self.bucket}/{prefix}", self.url, download_endpoint=download, direct_downloads=direct)

    def store(self, prefix: str = "", secret: str = "") -> S3Store:
        """The bucket without anything of ours."""
        return S3Store(
            self.bucket,
            prefix=prefix or None,
            config={
                "endpoint": self.url,
                "access_key_id": ACCESS_KEY,
                "secret_access_key": secret or self.secret,
                "region": "us-east-1",
            },
            client_options={"allow_http": True},
        )

    def requests(self) -> list[str]:
        """What it was asked for, a line each."""
        return (self.folder / "requests.log").read_text().splitlines()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, str(PROGRAM), str(self.folder), str(self.port), ACCESS_KEY],
            env={"PATH": os.environ["PATH"], "SECRET_KEY": self.secret},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            _, said = self.process.communicate()
            raise AssertionError(f"the tests need OpenStack Swift: apt-get install python3-swift\n{said}")

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def make_bucket(self) -> None:
        """Make the bucket, which no server of ours does."""
        url = obstore.sign(self.store(), "PUT", "", timedelta(minutes=1))
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=20) as answer:
            assert answer.status == 200


@contextmanager
def object_storage(folder: Path) -> Iterator[ObjectStorage]:
    """One with a bucket. Whoever uses it needs its `keys` in the environment."""
    storage = ObjectStorage(folder)
    storage.start()
    try:
        storage.make_bucket()
        yield storage
    finally:
        storage.stop()
