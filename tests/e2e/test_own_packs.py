"""From nothing to a running pack of one's own: `pack init`, and the commands of the README that it writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.up import Up, ready

WROTE = {"node": "listening", "python": "listening", "binary": "tick 2", "universal": "tick 2"}
NUXT = {
    "package.json": '{"name": "page", "private": true, "type": "module", "dependencies": {"nuxt": "4.4.5"}}',
    "nuxt.config.ts": "export default defineNuxtConfig({ssr: false, telemetry: false, compatibilityDate: '2025-01-01'})",
    "app/app.vue": "<template><NuxtPage/></template>",
    "app/pages/index.vue": (
        "<template><h1>Hello</h1><img src='/dot.svg'></template>\n<style scoped>h1 { color: rebeccapurple }</style>"
    ),
    "public/dot.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.slow
@pytest.mark.parametrize("runtime", WROTE)
def test_what_init_makes_runs_by_the_commands_it_names(on_sqlite: Up, tmp_path: Path, runtime: str) -> None:
    up, name = on_sqlite, f"try-{runtime}"
    folder = tmp_path / name
    up.starkctl("pack", "init", name, "--runtime", runtime, "--dir", str(folder))
    commands = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[0]
    up.run("sh", "-ec", f"cd {folder}\n{commands}", timeout=120)
    up.until("it runs", lambda: [pod for pod in up.pods(f"app={name}") if ready(pod)])
    up.until("it says so", lambda: WROTE[runtime] in up.kubectl("logs", f"deployment/{name}"))
    up.starkctl("delete", "-f", str(folder / "deployment.yaml"))
    up.until("it has stopped", lambda: not up.json("pods", "-l", f"app={name}")["items"])
    assert "is there already" in up.starkctl("pack", "init", name, "--dir", str(folder), ok=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_nuxt_project_becomes_one_page_that_needs_no_server(tmp_path: Path) -> None:
    up = Up(tmp_path)
    for name, text in NUXT.items():
        path = tmp_path / "page" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    out = tmp_path / "page.js"
    said = up.run("starkctl", "pack", "bundle", str(tmp_path / "page"), "--out", str(out), timeout=500)
    assert "--name page --ver 1.0.0 --runtime universal" in said
    html = up.run("node", "-e", f"process.stdout.write(require({str(out)!r}).default({{}}))")
    assert "rebeccapurple" in html.replace("#639", "rebeccapurple")
    assert '"/dot.svg": "data:image/svg+xml;base64,' in html
    assert not re.search(r"<script[^>]* src=|<link[^>]* rel=.?stylesheet", html)
    meta = up.run("node", "-p", f"JSON.stringify(require({str(out)!r}).meta)")
    assert '"framework":"nuxt","requiresDOM":true' in meta
