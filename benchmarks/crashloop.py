"""From the crash of a bad release to its rollback, with a real agent that runs really crashing packs.

A Deployment runs a good version; a bad one is registered and rolled out. The program of the bad version notes the moment
just before it ends; the clock stops when the Deployment's template is the good one again. In between lie the end of the
process, the agent's report, the crash-loop controller's judgement and its write. The floor is the agent's own report:
from the same moment until the API server shows the pod's failure. First failure to rollback is the whole loop, in which
the agent's pauses between restarts (0, 10 s) count for most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stark.client.api import Client
from stark.client.config import load_kubeconfig
from stark.client.informer import Change, Informer
from stark.crds.annotations import LAST_SUCCESSFUL_VERSION
from stark.crds.apps import Deployment
from stark.crds.meta import decode
from stark.crds.pods import Pod
from stark.crds.templates import pack_of
from tests.support.up import Up, stark_up

ROUNDS, QUICK_ROUNDS = 4, 1
TIMEOUT_S = 90.0
SETTINGS = {"successSeconds": 2, "initialBackoffSeconds": 1}
GOOD = {
    "node": "module.exports.default = async (c) => { await new Promise((r) => c.onShutdown(r)); };",
    "python": "import asyncio\nasync def default(context):\n    await asyncio.Event().wait()\n",
}
BAD = {
    "node": "const fs = require('node:fs');\nmodule.exports.default = async () => {\n"
    "  fs.appendFileSync(%(mark)s, `${Date.now() / 1000}\\n`);\n  process.exit(3);\n};",
    "python": "import os, time\ndef default(context):\n    with open(%(mark)s, 'a') as mark:\n"
    "        mark.write(f'{time.time()}\\n')\n    os._exit(3)\n",
}


@dataclass
class Seen:
    """When what was seen, by the wall clock."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    version: str | None = None
    changed_at: float = 0.0
    held: str | None = None
    reported: dict[tuple[str, int], float] = field(default_factory=dict)
    """(pod uid, restarts so far) -> when the API server showed that it waits for the next one."""

    def deployment(self, change: Change[Deployment]) -> None:
        """A Deployment has changed."""
        now = time.time()
        if change.after is None:
            return
        live = change.after.object
        pack = pack_of(live.spec.template)
        if pack is not None and pack.version != self.version:
            self.version, self.changed_at = pack.version, now
        self.held = live.metadata.annotations.get(LAST_SUCCESSFUL_VERSION)
        self.wake.set()

    def pod(self, change: Change[Pod]) -> None:
        """A pod has changed."""
        now = time.time()
        if change.after is None:
            return
        pod = change.after.object
        for status in pod.status.container_statuses:
            waiting = status.state.waiting
            if waiting is not None and waiting.reason == "CrashLoopBackOff":
                self.reported.setdefault((pod.uid, status.restart_count), now)

    async def until(self, version: str, *, held: bool = False) -> float:
        """When the template became that version, once it is (and has held)."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.version != version or (held and self.held != version):
                self.wake.clear()
                await self.wake.wait()
        return self.changed_at


def web(name: str, image: str) -> Deployment:
    """One pod of a pack."""
    labels = {"app": name}
    body: dict[str, Any] = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"stark.dev/follow-latest": "true", "stark.dev/crash-loop": json.dumps(SETTINGS)},
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": image}], "terminationGracePeriodSeconds": 1},
            },
        },
    }
    return decode(body, Deployment)


def register(up: Up, directory: Path, name: str, version: str, runtime: str, source: str) -> None:
    """A version of a pack."""
    bundle = directory / f"{name}-{version}.{'js' if runtime == 'node' else 'py'}"
    bundle.write_text(source)
    up.starkctl("pack", "register", str(bundle), "--name", name, "--ver", version, "--runtime", runtime)


async def measure(up: Up, api: Client, directory: Path, name: str, runtime: str) -> dict[str, float]:
    """One bad release, in milliseconds."""
    mark = directory / f"{name}.mark"
    mark.touch(mode=0o666)
    mark.chmod(0o666)
    register(up, directory, name, "1.0.0", runtime, GOOD[runtime])
    seen = Seen()
    selector = f"metadata.name={name}"
    deployments, pods = Informer(api, Deployment, "default", field_selector=selector), Informer(api, Pod, "default")
    deployments.subscribe(seen.deployment)
    pods.subscribe(seen.pod)
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(informer.run()) for informer in (deployments, pods)]
        await api.create(web(name, f"pack.stark/{name}:1.0.0"))
        await seen.until("1.0.0", held=True)
        seen.reported.clear()
        bad = BAD[runtime] % {"mark": json.dumps(str(mark))}
        await asyncio.to_thread(register, up, directory, name, "1.1.0", runtime, bad)
        await seen.until("1.1.0")
        went_back = await seen.until("1.0.0")
        for task in watching:
            task.cancel()
    crashes = [float(line) for line in mark.read_text().split()]
    until_back = [at for at in crashes if at < went_back]
    shown = min(at for at in seen.reported.values() if at > until_back[-1])
    await api.delete(Deployment, name, "default")
    return {
        "crashloop_detect_ms": (went_back - until_back[-1]) * 1000,
        "crashloop_report_ms": (shown - until_back[-1]) * 1000,
        "crashloop_first_failure_to_rollback_ms": (went_back - until_back[0]) * 1000,
        "crashloop_failures": float(len(until_back)),
    }


async def run(rounds: int) -> None:
    """Measure both runtimes alternating, and print medians."""
    with tempfile.TemporaryDirectory() as folder, stark_up(Path(folder)) as up:
        directory = Path(folder) / "packs"
        directory.mkdir()
        for place in (Path(folder), directory):
            place.chmod(0o755)  # pods have users of their own, and write their marks here
        found: list[dict[str, float]] = []
        async with Client(load_kubeconfig(up.kubeconfig)) as api:
            for number in range(rounds):
                for runtime in GOOD:
                    found.append(await measure(up, api, directory, f"{runtime}-{number}", runtime))
                    print(runtime, {key: round(value) for key, value in found[-1].items()}, file=sys.stderr)
        for key in found[0]:
            print(f"{key}: {statistics.median(each[key] for each in found):.0f}")
        worst = max(each["crashloop_detect_ms"] for each in found)
        print(f"crashloop_detect_worst_ms: {worst:.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    asyncio.run(run(QUICK_ROUNDS if parser.parse_args().quick else ROUNDS))


if __name__ == "__main__":
    main()
