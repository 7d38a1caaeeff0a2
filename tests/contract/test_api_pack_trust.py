"""Packs from the key to the refusal: starkctl signs and verifies, and a real server lets in what a policy trusts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.apiserver import api_server, pod
from tests.support.ctl import Ctl

WEB = "pack.stark/web:1.0.0"


async def test_a_pack_runs_where_it_must_be_signed_once_somebody_has_signed_it(tmp_path: Path) -> None:
    bundle, other = tmp_path / "bundle.js", tmp_path / "other.js"
    bundle.write_text("exports.default = () => {}")
    other.write_text("exports.default = () => 1")
    key, passphrase = str(tmp_path / "release.key"), {"STARK_KEY_PASSPHRASE": "words and words"}
    register = ("pack", "register", str(bundle), "--name", "web", "--runtime", "node")
    async with api_server(tmp_path / "data") as api:
        ctl = Ctl(api, tmp_path / "home")

        (await ctl.admin("pack", "keygen", str(tmp_path / "release"), **passphrase)).ok()
        assert (tmp_path / "release.key").stat().st_mode & 0o777 == 0o600
        assert "ENCRYPTED" in (tmp_path / "release.key").read_text()
        again = await ctl.admin("pack", "keygen", str(tmp_path / "release"), **passphrase)
        assert (again.code, "no key is ever overwritten" in again.err) == (1, True)

        (await ctl.admin(*register, "--ver", "1.0.0")).ok()
        public = {"name": "release", "publicKey": (tmp_path / "release.pub").read_text()}
        policy = {"apiVersion": "stark.dev/v1", "kind": "PackTrustPolicy", "metadata": {"name": "release"}}
        spec = {"keys": [public], "namespaceSelector": {"matchLabels": {"env": "prod"}}}
        (await api.post("/apis/stark.dev/v1/packtrustpolicies", {**policy, "spec": spec})).ok(201)
        (await api.get("/apis/stark.dev/v1/packtrustpolicies")).ok()  # a list waits until the caches have heard of it
        prod = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "labels": {"env": "prod"}}}
        (await api.post("/api/v1/namespaces", prod)).ok(201)
        container: dict[str, Any] = {"containers": [{"name": "main", "image": WEB}]}
        pods = "/api/v1/namespaces/prod/pods"
        told = (await api.post(pods, pod("a", namespace="prod", **container))).refused(403, "Forbidden")
        assert 'pack "web" version 1.0.0 is not trusted in namespace "prod" by PackTrustPolicy "release"' in told
        (await api.post("/api/v1/namespaces/default/pods", pod("a", **container))).ok(201)

        sign = ("pack", "sign", "web:1.0.0", "--key", key)
        assert (await ctl.admin(*sign, **passphrase)).code == 2
        assert "is no bundle of pack web 1.0.0" in (await ctl.admin(*sign, "--bundle", str(other), **passphrase)).err
        assert "passphrase is wrong" in (await ctl.admin(*sign, "--as-registered", STARK_KEY_PASSPHRASE="x")).err
        verify = ("pack", "verify", "web:1.0.0", "--namespace", "prod")
        assert (await ctl.admin(*verify)).code == 1
        assert "signed by" in (await ctl.admin(*sign, "--bundle", str(bundle), **passphrase)).ok()
        assert "was signed already" in (await ctl.admin(*sign, "--as-registered", **passphrase)).ok()
        assert "verified" in (await ctl.admin(*verify, "--download", "--key", str(tmp_path / "release.pub"))).ok()
        assert "PackTrustPolicy release: met" in (await ctl.admin(*verify)).ok()
        assert "nobody asks for signatures" in (await ctl.admin("pack", "verify", "web:1.0.0")).ok()
        (await api.post(pods, pod("a", namespace="prod", **container))).ok(201)

        (await api.patch("/apis/stark.dev/v1/packs/web.1.0.0", {"spec": {"metadata": {"env": {"A": "b"}}}})).ok()
        assert (await ctl.admin(*verify)).code == 1
        (await ctl.admin(*register, "--ver", "1.1.0", "--sign-key", key, **passphrase)).ok()
        (await ctl.admin("pack", "verify", "web:1.1.0", "--namespace", "prod")).ok()
