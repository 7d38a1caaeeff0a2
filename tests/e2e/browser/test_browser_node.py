"""A real Chromium is a node of a real Stark: what its user and kubectl's user see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.support.chromium import chromium
from tests.support.up import REPO, Up, stark_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SHOWING = """module.exports.default = (context) => {
  context.root.textContent = 'shown by a pack';
  let reach = [];
  try { parent.document.title; reach.push('page'); } catch {}
  try { indexedDB.open('stark-agent'); reach.push('storage'); } catch {}
  try { localStorage.length; reach.push('localStorage'); } catch {}
  console.log(JSON.stringify({ origin: self.origin, reach }));
  setInterval(() => console.log('tick'), 200);
};
"""


FLOOD_LINES = 200
FLOOD = """module.exports.default = () => {
  for (let n = 1; n <= LINES; n += 1) console.log(`${n} ${'\\u00fc'.repeat(4000)}`);
};
""".replace("LINES", str(FLOOD_LINES))
"""More at once than the server takes in one piece."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("up")
    assert (REPO / "apiserver" / "agentpage" / "dist" / "index.html").exists(), "not built: run `make browser`"
    with stark_up(directory) as up:
        conformance = str(REPO / "tests" / "support" / "bundles" / "conformance.js")
        (directory / "showing.js").write_text(SHOWING)
        (directory / "flood.js").write_text(FLOOD)
        for bundle, name, runtime in (
            (str(directory / "flood.js"), "flood", "browser"),
            (conformance, "conformance", "universal"),
            (str(directory / "showing.js"), "showing", "browser"),
        ):
            up.starkctl("pack", "register", bundle, "--name", name, "--ver", "1.0.0", "--runtime", runtime)
        yield up


def pod(name: str, image: str, kind: str, *args: str, **annotations: str) -> str:
    container = {"name": "main", "image": f"pack.stark/{image}:1.0.0", "args": list(args)}
    spec: dict[str, Any] = {"nodeSelector": {"stark.dev/node-type": kind}, "containers": [container]}
    if not args and not annotations:
        spec["restartPolicy"] = "Never"
    marks = {f"stark.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": marks}, "spec": spec}
    )


def phase(up: Up, name: str) -> str:
    return up.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")


def status(up: Up, name: str) -> dict[str, Any]:
    found: dict[str, Any] = up.json("pod", name)["status"]["containerStatuses"][0]
    return found


def checks(log: str) -> list[str]:
    return [one["check"] for one in map(json.loads, log.splitlines()) if "check" in one]


async def is_ready(page: Page) -> None:
    await page.wait_for_selector("#state[data-state=ready]", timeout=30_000)


async def test_a_browser_joins_runs_packs_survives_a_reload_and_leaves(up: Up, tmp_path: Path) -> None:
    link = up.starkctl("token", "create", "--browser").strip()
    async with chromium(tmp_path / "profile") as browser:
        page = await browser.new_page()
        await page.goto(f"{link}&name=tab-one")
        await is_ready(page)
        assert "#" not in page.url, "the token stays in no address"
        await asyncio.to_thread(runs_packs, up)
        frame = page.frame_locator(".surface iframe")
        assert await frame.locator("#root").inner_text() == "shown by a pack"
        await page.reload()
        await is_ready(page)
        await asyncio.to_thread(came_back, up)
        second = await browser.new_page()
        await second.goto(page.url)
        await second.wait_for_selector("#state[data-state=held]")
        await second.close()
        await asyncio.to_thread(stops_in_order, up)
        await page.click("#leave")
        await page.wait_for_selector("#state[data-state=left]", timeout=45_000)
        annotations = up.json("node", "tab-one")["metadata"]["annotations"]
        assert "stark.dev/agent" not in annotations


def runs_packs(up: Up) -> None:
    for manifest in (
        pod("here", "conformance", "browser"),
        pod("there", "conformance", "server"),
        pod("stopping", "conformance", "browser", "shutdown"),
        pod("showing", "showing", "browser", browser_surface="dom"),
        pod("flood", "flood", "browser"),
    ):
        up.kubectl("apply", "-f", "-", stdin=manifest)
    up.until("both runtimes have run it", lambda: phase(up, "here") == phase(up, "there") == "Succeeded")
    here, there = (up.kubectl("logs", name) for name in ("here", "there"))
    assert checks(here) == checks(there)
    assert '"failed":0' in here
    up.until("the others run", lambda: phase(up, "stopping") == phase(up, "showing") == "Running")
    up.until("it has said something", lambda: "tick" in up.kubectl("logs", "showing"))
    assert up.kubectl("logs", "showing").splitlines()[0] == '{"origin":"null","reach":[]}'
    assert up.kubectl("logs", "showing", "--tail=1") == "tick\n"
    up.until("the flood is over", lambda: phase(up, "flood") == "Succeeded")
    numbers = [line.split()[0] for line in up.kubectl("logs", "flood").splitlines()]
    assert numbers == [str(number) for number in range(1, FLOOD_LINES + 1)]
    assert "is a browser" in up.kubectl("exec", "showing", "--", "ls", ok=False)


def came_back(up: Up) -> None:
    up.until(
        "it runs again", lambda: status(up, "stopping")["restartCount"] == 1 and phase(up, "stopping") == "Running"
    )
    up.until("with a process", lambda: "running" in status(up, "stopping")["state"])
    assert status(up, "stopping")["lastState"]["terminated"]["reason"] == "AgentRestarted"
    assert up.kubectl("logs", "stopping", "--previous") == '{"waiting":true}\n'
    assert phase(up, "here") == "Succeeded", "what has ended is not run again"


def stops_in_order(up: Up) -> None:
    up.until("it waits", lambda: "waiting" in up.kubectl("logs", "stopping"))
    up.kubectl("delete", "pod", "stopping", "--timeout=30s")
    shelf = next((up.data_dir).rglob("browser-logs"))
    said = "".join(path.read_text() for path in shelf.rglob("1.log"))
    assert "handlers are called newest first" in said
    assert '"failed":0' in said


def policy(key: str) -> str:
    spec = {"packs": ["sealed"], "keys": [{"name": "release", "publicKey": key}], "action": "Enforce"}
    named = {"apiVersion": "stark.dev/v1", "kind": "PackTrustPolicy", "metadata": {"name": "release"}}
    return json.dumps({**named, "spec": spec})


async def test_a_login_is_as_good_as_a_token_and_signatures_are_verified_in_the_browser(up: Up, tmp_path: Path) -> None:
    secret = "Correct-horse-7-battery"
    server = up.kubectl("config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server}")
    async with chromium(tmp_path / "profile") as browser:
        page = await browser.new_page()
        await page.goto(f"{server}/agent/")
        body = {"email": "ada@example.com", "password": secret, "displayName": "Ada \u00fc"}
        made = await page.request.post(f"{server}/auth/setup", data=body)
        assert made.ok, await made.text()
        await page.fill("[name=email]", "ada@example.com")
        await page.fill("[name=password]", "wrong")
        await page.fill("[name=name]", "tab-two")
        await page.click("button[type=submit]")
        await page.wait_for_selector("#trouble:not([hidden])")
        await page.fill("[name=password]", secret)
        await page.click("button[type=submit]")
        await is_ready(page)
        await asyncio.to_thread(runs_signed, up)


def runs_signed(up: Up) -> None:
    assert up.json("node", "tab-two")["metadata"]["annotations"]["stark.dev/owner"] == "ada@example.com"
    key = up.directory / "release"
    up.starkctl("pack", "keygen", "--no-passphrase", str(key))
    public = next(path for path in up.directory.glob("release*") if "PUBLIC" in path.read_text())
    private = next(path for path in up.directory.glob("release*") if "PRIVATE" in path.read_text())
    bundle = up.directory / "sealed.js"
    bundle.write_text("module.exports.default = async (c) => console.log('sealed', c.env.WORD);")
    words = ("--name", "sealed", "--ver", "1.0.0", "--runtime", "browser", "--sign-key", str(private))
    up.starkctl("pack", "register", str(bundle), *words, "--env", "WORD=gr\u00fc\u00dfe \U0001f331")
    up.kubectl("apply", "-f", "-", stdin=policy(public.read_text()))
    up.kubectl("apply", "-f", "-", stdin=pod("sealed", "sealed", "browser"))
    up.until("it has run", lambda: phase(up, "sealed") == "Succeeded")
    assert up.kubectl("logs", "sealed") == "sealed gr\u00fc\u00dfe \U0001f331\n"


async def test_pods_run_on_while_the_server_is_away_and_nothing_they_say_is_lost(up: Up, tmp_path: Path) -> None:
    link = up.starkctl("token", "create", "--browser").strip()
    counting = "module.exports.default = () => { let n = 0; setInterval(() => console.log(String(++n)), 200); };"
    (up.directory / "counting.js").write_text(counting)
    words = ("--name", "counting", "--ver", "1.0.0", "--runtime", "browser")
    up.starkctl("pack", "register", str(up.directory / "counting.js"), *words)
    async with chromium(tmp_path / "profile") as browser:
        page = await browser.new_page()
        await page.goto(f"{link}&name=tab-three")
        await is_ready(page)
        manifest = pod("counting", "counting", "browser")
        await asyncio.to_thread(up.kubectl, "apply", "-f", "-", stdin=manifest)
        await page.wait_for_selector("pre:has-text('3')")
        await browser.set_offline(True)
        await page.wait_for_selector("#state[data-state=away]", timeout=30_000)
        before = int((await page.inner_text("pre")).split()[-1])
        await page.wait_for_selector(f"pre:has-text('{before + 5}')")
        await browser.set_offline(False)
        await is_ready(page)
        said = await asyncio.to_thread(
            up.until, "it has caught up", lambda: (log := up.kubectl("logs", "counting").split())[before + 10 :] and log
        )
    assert said == [str(number) for number in range(1, len(said) + 1)]
    assert status(up, "counting")["restartCount"] == 0
