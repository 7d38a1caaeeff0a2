"""What stock kubectl prints against Stark, minor by minor: every claim of the Markdown files in this folder.

A file is a subject and reads as a terminal session (`tests/support/transcripts.py` has the grammar). A new case is a
sentence and a command with its output; write what Kubernetes would answer. One server and one agent serve everybody; a
claim has its own namespace, directory and kubeconfig.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.kubectl import kubectl_of
from tests.support.transcripts import Claim, check, claims
from tests.support.up import Up, stark_up

HERE = Path(__file__).parent
NEWEST = "1.33"
OLDER = ("1.30", "1.31", "1.32")
QUICK = ("What is there already is not made again", "A value that cannot be is refused with its field")
"""Claims that are also proven in the fast suite, with the newest minor: the two that fail first when something is wrong."""
COMMAND_LINES_MIN = 120
AT_ONCE = 3
"""Claims of a subject that are tried at the same time: most of the time is kubectl's start and waiting."""

ONCE = "module.exports.default = async () => console.log('done');\n"
PACKS = (("hello", "1.0.0", None), ("hello", "1.1.0", None), ("once", "1.0.0", ONCE))

CLAIMS = [claim for file in sorted(HERE.glob("*.md")) for claim in claims(file)]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory = tmp_path_factory.mktemp("transcripts")
    with stark_up(directory) as running:
        for name, version, source in PACKS:
            bundle = directory / f"{name}.js"
            if source is not None:
                bundle.write_text(source)
            path = "examples/hello-node/bundle.js" if source is None else str(bundle)
            running.starkctl("pack", "register", path, "--name", name, "--ver", version, "--runtime", "node")
        yield running


@dataclass
class Desk:
    """Where a claim is tried: one kubectl and what belongs to it alone."""

    minor: str
    environment: dict[str, str]
    directory: Path


def desk(up: Up, minor: str, place: Path, namespace: str) -> Desk:
    """A directory with a kubeconfig for a namespace that is made here, and that `kubectl` first on the PATH."""
    binary, programs = kubectl_of(minor), place / "bin"
    programs.mkdir(parents=True)
    (programs / "kubectl").symlink_to(binary)
    config = yaml.safe_load(up.kubeconfig.read_text())
    for context in config["contexts"]:
        context["context"]["namespace"] = namespace
    (place / "config").write_text(yaml.safe_dump(config))
    (place / "config").chmod(0o600)
    (place / "work").mkdir()
    # What kubectl keeps about the server's kinds is shared by all claims of a minor, as a user's is.
    home = up.directory / f"home-{minor}"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "KUBECONFIG": str(place / "config"),
        "NS": namespace,
        "NODE": up.json("nodes")["items"][0]["metadata"]["name"],
        "SERVER": config["clusters"][0]["cluster"]["server"],
        "MINOR": minor,
    }
    up.run(str(binary), "create", "namespace", namespace)
    return Desk(minor, environment, place / "work")


def cases() -> list[object]:
    """Every subject with every minor, for the slow suite, and the quick claims with the newest."""
    quick = [claim for claim in CLAIMS if claim.title in QUICK]
    found = [pytest.param(quick, NEWEST, id=f"{NEWEST}-quick")]
    for minor in (NEWEST, *OLDER):
        for file in sorted({claim.file for claim in CLAIMS}):
            subject = [claim for claim in CLAIMS if claim.file == file]
            found.append(pytest.param(subject, minor, marks=pytest.mark.slow, id=f"{minor}-{file.stem}"))
    return list(found)


@pytest.mark.parametrize(("subject", "minor"), cases())
async def test_kubectl_says(up: Up, subject: list[Claim], minor: str, tmp_path: Path) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def prove(claim: Claim) -> str:
        async with places:
            return await proven(up, claim, minor, tmp_path)

    found = [text for text in await asyncio.gather(*map(prove, subject)) if text]
    assert not found, "\n\n".join(found)


async def proven(up: Up, claim: Claim, minor: str, directory: Path) -> str:
    """What is wrong with the claim; empty when nothing is."""
    namespace = f"c-{secrets.token_hex(3)}"
    at = desk(up, minor, directory / namespace, namespace)
    wrong = [await check(case, minor, at.environment, at.directory) for case in claim.cases]
    up.kubectl("delete", "namespace", namespace, "--wait=false")
    return "".join(f"{claim.id}, {text}\n\n" for text in wrong if text)


def test_the_transcripts_cover_a_users_command_lines() -> None:
    lines = {case.command for claim in CLAIMS for case in claim.cases if "kubectl" in case.command}
    assert len(lines) >= COMMAND_LINES_MIN
    assert {claim.title for claim in CLAIMS} >= set(QUICK)
