"""OpenStack Swift in one process, with its S3 interface: a real object storage, which verifies every signature.

Run by the system's Python, since Debian's `python3-swift` is there: `swift_server.py FOLDER PORT ACCESS_KEY`, with the
secret in the environment variable SECRET_KEY. Account, container, object and proxy server are Swift's own; only the
memcached that the proxy asks for is a dict here. Prints `ready` when it serves.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
# No stubs, and another Python's packages: imported by name.
eventlet: Any = importlib.import_module("eventlet")
importlib.import_module("eventlet.wsgi")
eventlet.monkey_patch()
utils: Any = importlib.import_module("swift.common.utils")
ring: Any = importlib.import_module("swift.common.ring")
wsgi: Any = importlib.import_module("swift.common.wsgi")

BACKENDS = ("account", "container", "object")
DEFAULTS = (
    "[DEFAULT]\nswift_dir={folder}\ndevices={folder}/devices\nmount_check=false\nlog_level=CRITICAL\nlog_address=\n"
)
PROXY = """[pipeline:main]
pipeline=catch_errors s3api tempauth bulk copy slo proxy-server
[app:proxy-server]
use=egg:swift#proxy
account_autocreate=true
[filter:catch_errors]
use=egg:swift#catch_errors
[filter:s3api]
use=egg:swift#s3api
location=us-east-1
auth_pipeline_check=false
[filter:tempauth]
use=egg:swift#tempauth
user_{account}_{user}={secret} .admin
[filter:bulk]
use=egg:swift#bulk
[filter:copy]
use=egg:swift#copy
[filter:slo]
use=egg:swift#slo
"""


class Remembering:
    """An application around another that gives it a cache."""

    def __init__(self, beneath: Any) -> None:
        self.beneath = beneath
        self.kept: dict[str, Any] = {}

    def __call__(self, environment: dict[str, Any], start: Any) -> Any:
        environment["swift.cache"] = self
        return self.beneath(environment, start)

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        return self.kept.get(key)

    def set(self, key: str, value: Any, *_: object, **__: object) -> None:
        self.kept[key] = value

    def delete(self, key: str, *_: object, **__: object) -> None:
        self.kept.pop(key, None)

    def incr(self, key: str, delta: int = 1, time: int = 0) -> int:
        self.kept[key] = self.kept.get(key, 0) + delta
        return int(self.kept[key])


class Log:
    """What is asked of the proxy, into a file; eventlet's own chatter to nowhere."""

    def __init__(self, path: Path | None) -> None:
        self.file = path.open("a", buffering=1) if path is not None else None

    def info(self, line: str, *_: object) -> None:
        if self.file is not None:
            self.file.write(line + "\n")

    def debug(self, *_: object) -> None:
        return


def main() -> None:
    folder, port, (account, _, user) = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].partition(":")
    (folder / "devices" / "one").mkdir(parents=True, exist_ok=True)
    utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX, utils.validate_hash_conf = b"a", b"b", lambda: None
    for name in BACKENDS:
        listener = eventlet.listen(("127.0.0.1", 0))
        builder = ring.RingBuilder(3, 1, 0)
        place = {"ip": "127.0.0.1", "port": listener.getsockname()[1], "device": "one"}
        builder.add_dev({**place, "region": 1, "zone": 1, "weight": 1})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))
        server = f"[pipeline:main]\npipeline={name}-server\n[app:{name}-server]\nuse=egg:swift#{name}\n"
        eventlet.spawn(serve, listener, loaded(folder, name, server), Log(None))
    proxy = loaded(folder, "proxy", PROXY.format(account=account, user=user, secret=os.environ["SECRET_KEY"]))
    listener = eventlet.listen(("127.0.0.1", port))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    serve(listener, Remembering(proxy), Log(folder / "requests.log"))


def loaded(folder: Path, name: str, text: str) -> Any:
    path = folder / f"{name}.conf"
    path.write_text(DEFAULTS.format(folder=folder) + text)
    return wsgi.loadapp(str(path))


def serve(listener: Any, application: Any, log: Log) -> None:
    eventlet.wsgi.server(listener, application, log, protocol=wsgi.SwiftHttpProtocol)


if __name__ == "__main__":
    main()
