"""A machine becomes a node, and stays one: discovery, join, renewal under a clock of our own, a change of authority."""

from __future__ import annotations

import asyncio
import stat
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509

from stark.agent.__main__ import parser
from stark.agent.joining import Credential, IdentityKeeper, IdentityShelf, JoinRefused, JoinSettings, identity_of
from stark.agent.joining.discovery import Untrusted, judge
from stark.agent.joining.keeping import USES, renew_at, succeeds
from stark.agent.joining.options import join_settings
from stark.agent.joining.person import NodeFiles, new_password
from stark.agent.joining.requesting import obtain, request_pem
from stark.agent.joining.shelf import Use, key_pem
from stark.apiserver.auth import authority_rotation
from stark.apiserver.auth.identities import CLOCK_SKEW, node_identity
from stark.apiserver.auth.pki import AgentTls, Authority, PkiError, ServerTls
from stark.client.api import Client
from stark.client.config import ConfigError
from stark.client.errors import Unauthorized
from stark.controllers.bootstrap_tokens import cluster_kubeconfig, wanted_data
from stark.crds.bootstrap_tokens import DEFAULT_GROUP, SIGNING, Token, secret_of
from stark.crds.certificates import CertificateRevocation, CertificateRevocationSpec
from stark.crds.meta import ObjectMeta
from stark.crds.nodes import Node
from stark.crds.pins import pin_of
from tests.support.apiserver import Api, api_server
from tests.support.certificates import CSRS
from tests.support.people import PASSWORD, people_at_a_server
from tests.support.reconciling import config_of, controllers

LOOK_S = 60.0
TOKEN = Token("abcdef", "0123456789abcdef", ("authentication", "signing"), (DEFAULT_GROUP,))
TEXT = "abcdef.0123456789abcdef"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server with what lets machines in, and a token."""
    names = ["certificate-approver", "bootstrap-token"]
    async with api_server(tmp_path / "server") as api, controllers(config_of(api, "controllers"), names):
        (await api.post("/api/v1/namespaces/kube-system/secrets", secret_of(TOKEN))).ok(201)
        async with api.watch("/api/v1/namespaces/kube-public/configmaps") as watch:
            while "jws-kubeconfig-abcdef" not in ((await watch.next())[1].get("data") or {}):
                pass
        yield api


def pins(api: Api) -> tuple[str, ...]:
    return (pin_of(api.running.authority.certificate_pem.decode()),)


def settings(api: Api, **changes: Any) -> JoinSettings:
    return JoinSettings(**{"server": api.running.url, "token": TEXT, "ca_pins": pins(api), **changes})


async def test_a_machine_joins_by_token_and_pin_once_and_then_needs_neither_token_nor_server(
    api: Api, tmp_path: Path
) -> None:
    shelf, files = IdentityShelf(tmp_path / "n1"), NodeFiles(tmp_path / "home")
    gone = api.running.authority.issue(node_identity("n1"), now=datetime.now(UTC) - timedelta(hours=1))
    former = config_of(api, "admin")._replace(
        client_cert_data=gone.certificate_pem,
        client_key_data=gone.key_pem,
        context="a machine that had the name before",
    )
    async with Client(former) as client:
        await client.list(Node, field_selector="metadata.name=n1")
    config = await identity_of("n1", shelf, settings(api), files=files)
    async with Client(config) as client:
        node = await client.create(Node(metadata=ObjectMeta(name="n1")))
    with pytest.raises(Unauthorized):
        async with Client(former) as client:
            await client.get(Node, "n1")
    assert node.metadata.annotations["stark.dev/owner"] == "admin", "tokens are the administrators'"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [shelf.directory, *shelf.directory.iterdir()]}
    assert modes == {"n1": 0o700, "client.pem": 0o600, "serving.pem": 0o600, "ca.crt": 0o600}

    away = JoinSettings(server="https://127.0.0.1:9")
    again = await identity_of("n1", shelf, away, files=files)
    assert again.client_cert_data == config.client_cert_data

    stranger = IdentityShelf(tmp_path / "other")
    with pytest.raises(JoinRefused, match="there is a node"):
        await identity_of("n1", stranger, settings(api), files=files)
    assert stranger.credential("client") is None


async def test_a_machine_that_is_killed_between_question_and_answer_is_taken_for_itself(
    api: Api, tmp_path: Path
) -> None:
    shelf = IdentityShelf(tmp_path / "n1")
    config = config_of(api, "admin")._replace(client_cert_data=None, client_key_data=None, token=TEXT)
    async with Client(config) as client:
        await obtain(client, "n1", "client", shelf.pending_key("client"))
    joined = await identity_of("n1", shelf, settings(api), files=NodeFiles(tmp_path / "home"))
    assert joined.client_cert_data is not None
    with pytest.raises(JoinRefused, match="another machine is joining"):
        await identity_of("n1", IdentityShelf(tmp_path / "other"), settings(api), files=NodeFiles(tmp_path / "home"))


async def test_a_machine_that_cannot_tell_the_cluster_or_itself_does_not_join(api: Api, tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "not the one that --ca-hash names": {"ca_pins": ("sha256:" + "0" * 64,)},
        "could not show that it knows": {"token": "abcdef.aaaaaaaaaaaaaaaa"},
        "pass --ca-hash or --ca-file": {"ca_pins": ()},
        "not of the form": {"ca_pins": ("sha256:short",)},
        "lets nobody register": {"token": ""},
    }
    for number, (why, changes) in enumerate(cases.items()):
        shelf = IdentityShelf(tmp_path / f"n{number}")
        with pytest.raises(JoinRefused, match=why):
            await identity_of("n1", shelf, settings(api, **changes), files=NodeFiles(tmp_path / "home"))
    assert (await api.get(CSRS)).ok()["items"] == []


async def test_certificates_are_renewed_late_in_their_life_and_the_running_client_shows_the_new_one(
    api: Api, tmp_path: Path
) -> None:
    shelf = IdentityShelf(tmp_path / "n1")
    config = await identity_of("n1", shelf, settings(api), files=NodeFiles(tmp_path / "home"))
    now = datetime.now(UTC)
    applied: list[Use] = []
    async with Client(config) as client:
        await client.create(Node(metadata=ObjectMeta(name="n1")))

        def apply(use: Use, credential: Credential, authorities: bytes) -> None:
            applied.append(use)
            if use == "client":
                client.identify(
                    client.config._replace(
                        client_cert_data=credential.certificate_pem, client_key_data=credential.key_pem
                    )
                )

        keeper = IdentityKeeper("n1", shelf, client, apply, clock=lambda: now, look_s=1e9)
        first = shelf.credential("client")
        assert first is not None
        wait_s = await keeper.look()
        assert applied == []
        life_s = (first.certificate.not_valid_after_utc - first.certificate.not_valid_before_utc).total_seconds()
        assert 0.6 * life_s < wait_s < 0.9 * life_s

        # In the second of a join nothing is renewed: its former holder could ask, too.
        begin = first.certificate.not_valid_before_utc + CLOCK_SKEW
        await asyncio.sleep(max(0.0, (begin - datetime.now(UTC)).total_seconds()))
        now = renew_at(first.certificate, 0.95)
        await keeper.look()
        assert applied == ["client", "serving"]
        second = shelf.credential("client")
        assert second is not None
        assert second.certificate.serial_number != first.certificate.serial_number
        serial = f"{first.certificate.serial_number:x}"
        async with Client(config_of(api, "admin")) as admin:
            revoked = CertificateRevocation(
                metadata=ObjectMeta(name="old"), spec=CertificateRevocationSpec(serial_number=serial)
            )
            await admin.create(revoked)
        assert (await client.get(Node, "n1")).metadata.name == "n1"
    async with Client(config) as old:
        with pytest.raises(Unauthorized):
            await old.get(Node, "n1")


async def test_a_refused_renewal_leaves_the_old_certificate_in_force_and_is_tried_again(
    api: Api, tmp_path: Path
) -> None:
    shelf = IdentityShelf(tmp_path / "n1")
    config = await identity_of("n1", shelf, settings(api), files=NodeFiles(tmp_path / "home"))
    kept = shelf.credential("client")
    assert kept is not None
    async with Client(config._replace(server=config.server)) as client:
        keeper = IdentityKeeper(
            "n2", shelf, client, lambda *_: None, clock=lambda: renew_at(kept.certificate, 0.95), look_s=60
        )
        assert await keeper.look() < 60, "asking for another node's name is refused"
    assert shelf.credential("client") == kept


# -- the authority ----------------------------------------------------------------------------------------------------


def test_an_authority_is_replaced_in_steps_each_of_which_everybody_survives(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first = Authority.open(tmp_path)
    tls = ServerTls(first, ["localhost"])
    leaf = tls.certificate_path.read_bytes()
    with pytest.raises(PkiError, match="no successor"):
        authority_rotation.switch(tmp_path)

    authority_rotation.begin(tmp_path, now)
    both = Authority.open(tmp_path)
    assert both.certificates[0] == first.certificates[0], "the successor signs nothing yet"
    assert len(both.certificates) == 2
    ServerTls(both, ["localhost"])
    assert tls.certificate_path.read_bytes() == leaf
    with pytest.raises(PkiError, match="already"):
        authority_rotation.begin(tmp_path, now)
    with pytest.raises(PkiError, match="does not sign yet"):
        authority_rotation.finish(tmp_path)

    authority_rotation.switch(tmp_path)
    after = Authority.open(tmp_path)
    assert after.certificates == (both.certificates[1], both.certificates[0])
    ServerTls(after, ["localhost"])
    assert tls.certificate_path.read_bytes() != leaf, "the server's own certificate is by the successor"
    assert [line.rpartition("  ")[2] for line in authority_rotation.status(tmp_path)] == [
        "signs",
        "going, still trusted",
    ]

    authority_rotation.finish(tmp_path)
    assert Authority.open(tmp_path).certificates == (both.certificates[1],)


def test_what_the_server_shows_to_agents_is_renewed_before_it_ends(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    tls = AgentTls(Authority.open(tmp_path), now=now)
    assert not tls.refresh(now + timedelta(days=300))
    assert tls.refresh(now + timedelta(days=340))
    assert not tls.refresh(now + timedelta(days=341))


def test_a_successor_that_signs_nothing_can_be_given_up(tmp_path: Path) -> None:
    first = Authority.open(tmp_path)
    authority_rotation.begin(tmp_path, datetime.now(UTC))
    authority_rotation.abort(tmp_path)
    assert Authority.open(tmp_path).certificates == first.certificates
    with pytest.raises(PkiError, match="no successor"):
        authority_rotation.abort(tmp_path)


@pytest.mark.slow
async def test_agents_follow_a_change_of_authority_by_themselves(tmp_path: Path) -> None:
    """Three restarts of the server; the agent's keeper looks after each, and is known at every moment."""
    directory, shelf = tmp_path / "server", IdentityShelf(tmp_path / "n1")
    names = ["certificate-approver", "bootstrap-token"]
    config = None
    pki = directory / "pki"
    steps: list[Callable[[], None]] = [
        lambda: None,
        lambda: authority_rotation.begin(pki, datetime.now(UTC)),
        lambda: authority_rotation.switch(pki),
        lambda: authority_rotation.finish(pki),
    ]
    authorities = []
    for step in steps:
        step()
        async with (
            api_server(directory, store="sqlite") as api,
            controllers(config_of(api, "controllers"), names),
        ):
            await _published(api)
            if config is None:
                (await api.post("/api/v1/namespaces/kube-system/secrets", secret_of(TOKEN))).ok(201)
                await _signed(api)
                config = await identity_of("n1", shelf, settings(api), files=NodeFiles(tmp_path / "home"))
            config = config._replace(server=api.running.url)
            async with Client(config) as client:
                keeper = IdentityKeeper("n1", shelf, client, lambda use, *_: _identify(client, shelf), look_s=LOOK_S)
                await _looked(keeper)
                await client.list(Node, field_selector="metadata.name=n1")
                config = client.config
            authorities.append(config.ca_data)
            for use in USES:
                credential = shelf.credential(use)
                assert credential is not None
                assert api.running.authority.signed(credential.certificate)
    assert authorities[0] != authorities[3]
    assert authorities[3] == Authority.open(directory / "pki").certificate_pem


def _identify(client: Client, shelf: IdentityShelf) -> None:
    credential = shelf.credential("client")
    assert credential is not None
    client.identify(
        client.config._replace(
            ca_data=shelf.authorities,
            client_cert_data=credential.certificate_pem,
            client_key_data=credential.key_pem,
        )
    )


async def _looked(keeper: IdentityKeeper) -> None:
    """As it looks by itself: what could not be renewed yet is tried again."""
    while True:
        pause_s = await keeper.look()
        if pause_s >= LOOK_S:
            return
        await asyncio.sleep(pause_s)


async def _published(api: Api) -> None:
    """Wait until what is published is this server's authority."""
    wanted = api.running.authority.certificate_pem
    async with api.watch("/api/v1/namespaces/kube-public/configmaps") as watch:
        while True:
            content = ((await watch.next())[1].get("data") or {}).get("kubeconfig", "{}")
            clusters = orjson.loads(content).get("clusters") or ()
            if clusters and b64decode(clusters[0]["cluster"]["certificate-authority-data"]) == wanted:
                return


async def _signed(api: Api) -> None:
    async with api.watch("/api/v1/namespaces/kube-public/configmaps") as watch:
        while "jws-kubeconfig-abcdef" not in ((await watch.next())[1].get("data") or {}):
            pass


# -- pure -------------------------------------------------------------------------------------------------------------


def test_of_several_authorities_only_those_that_are_pinned_are_trusted(tmp_path: Path) -> None:
    ours, foreign = (Authority.open(tmp_path / name).certificate_pem for name in ("a", "b"))
    content = cluster_kubeconfig("https://x", foreign + ours)
    body = {"data": wanted_data(content, [Token("abcdef", "s" * 16, (SIGNING,))], datetime.now(UTC))}
    pin = pin_of(ours.decode())
    assert judge(body, "", (pin,), believes=False) == ours
    assert judge(body, "abcdef." + "s" * 16, (), believes=True) == foreign + ours
    for token, given, body_ in (("abcdef." + "t" * 16, (pin,), body), ("", (), body), ("", (pin,), {})):
        with pytest.raises(Untrusted):
            judge(body_, token, given, believes=False)


def test_an_authority_that_is_quite_another_is_not_followed(tmp_path: Path) -> None:
    ours, other = (Authority.open(tmp_path / name).certificate_pem for name in ("a", "b"))
    assert succeeds(ours + other, ours)
    assert succeeds(other, ours + other)
    assert not succeeds(other, ours)


def test_what_the_command_line_leaves_out_is_taken_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc\n")
    given = parser().parse_args(["--data-dir", "x", "--token-file", str(path)])
    environment = {"STARK_ORCHESTRATOR_URL": "https://a", "STARK_EMAIL": "e", "STARK_PASSWORD": "p"}
    found = join_settings(given, environment)
    assert found is not None
    assert (found.server, found.token, found.email, found.password) == ("https://a", "abc", "e", "p")
    assert "'p'" not in repr(found)
    assert join_settings(parser().parse_args(["--data-dir", "x"]), {}) is None
    for wrong in (["--server", "http://a"], ["--server", "https://a", "--kubeconfig", "k"]):
        with pytest.raises(ConfigError):
            join_settings(parser().parse_args(["--data-dir", "x", *wrong]), {})


def test_state_files_are_private_and_kept_by_server_and_node(tmp_path: Path) -> None:
    files = NodeFiles(tmp_path / "nodes")
    assert files.entry("f.json", "https://a", "n1") == {}
    files.keep("f.json", "https://a", "n1", {"x": 1})
    files.keep("f.json", "https://a", "n2", {"x": 2})
    files.keep("f.json", "https://b", "n1", {"x": 3})
    assert [files.entry("f.json", server, "n1")["x"] for server in ("https://a", "https://b")] == [1, 3]
    assert stat.S_IMODE((tmp_path / "nodes").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "nodes" / "f.json").stat().st_mode) == 0o600
    password = new_password()
    assert len(password) == 32
    assert all(any(test(sign) for sign in password) for test in (str.isupper, str.islower, str.isdigit))


def test_a_key_that_was_certified_is_not_certified_again_by_an_agent_killed_while_it_cleared_up(tmp_path: Path) -> None:
    shelf = IdentityShelf(tmp_path)
    key = shelf.pending_key("client")
    left_behind = (tmp_path / "client.key").read_bytes()
    shelf.keep("client", Credential(b"-----BEGIN CERTIFICATE-----", key_pem(key)))
    (tmp_path / "client.key").write_bytes(left_behind)
    assert key_pem(shelf.pending_key("client")) != key_pem(key)


def test_a_damaged_certificate_on_disk_counts_as_none(tmp_path: Path) -> None:
    shelf = IdentityShelf(tmp_path)
    key = shelf.pending_key("client")
    assert shelf.pending_key("client").private_numbers() == key.private_numbers(), "the same until it is answered"
    broken = Credential(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key_pem(key))
    shelf.keep("client", broken)
    found = shelf.credential("client")
    assert found is not None
    assert not found.is_good("system:node:n1", datetime.now(UTC))
    assert x509.load_pem_x509_csr(request_pem("n1", key, ())).is_signature_valid


# -- people -----------------------------------------------------------------------------------------------------------


async def test_people_who_may_have_nodes_bring_machines_and_take_back_their_own_alone(tmp_path: Path) -> None:
    async with people_at_a_server(tmp_path / "server", store="memory") as people:
        api = people.api
        async with controllers(config_of(api, "controllers"), ["certificate-approver", "bootstrap-token"]):
            await _published(api)
            await people.add("ann@example.com", "node")
            await people.add("eve@example.com", "node")
            await people.add("vic@example.com", "viewer")
            files = NodeFiles(tmp_path / "home" / "nodes")

            def as_(email: str, password: str = PASSWORD) -> JoinSettings:
                return settings(api, token="", email=email, password=password)

            config = await identity_of("n1", IdentityShelf(tmp_path / "n1"), as_("ann@example.com"), files=files)
            async with Client(config) as client:
                node = await client.create(Node(metadata=ObjectMeta(name="n1")))
                assert node.metadata.annotations["stark.dev/owner"] == "ann@example.com"
            for who, why in (
                (as_("eve@example.com"), "there is a node"),
                (as_("vic@example.com"), "cannot create resource"),
                (as_("ann@example.com", "Wrong1password"), "address or the password is wrong"),
            ):
                with pytest.raises(JoinRefused, match=why):
                    await identity_of("n1", IdentityShelf(tmp_path / "other"), who, files=files)

            again = await identity_of("n1", IdentityShelf(tmp_path / "again"), as_("ann@example.com"), files=files)
            assert again.client_cert_data != config.client_cert_data

            nobody = settings(api, token="")
            (await api.put("/api/config", {"enablePublicRegistration": True})).ok()
            config = await identity_of("n3", IdentityShelf(tmp_path / "n3"), nobody, files=files)
            async with Client(config) as client:
                await client.create(Node(metadata=ObjectMeta(name="n3")))
            made = files.entry("credentials.json", api.running.url, "n3")
            assert made["email"].endswith("@nodes.stark.invalid")
            await identity_of("n3", IdentityShelf(tmp_path / "n3b"), nobody, files=files)
            assert files.entry("credentials.json", api.running.url, "n3") == made, "the same user at the next start"
