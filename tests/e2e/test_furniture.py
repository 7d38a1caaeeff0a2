"""The account and the authority that every namespace has, against the real server and controllers."""

from __future__ import annotations

from pathlib import Path

from stark.client.errors import NotFound
from stark.controllers.root_ca import NAME
from stark.crds.config import ConfigMap, Secret, ServiceAccount
from stark.crds.meta import ObjectMeta
from stark.crds.namespaces import Namespace
from tests.support.reconciling import Cluster, cluster, controllers


async def furniture(c: Cluster, namespace: str) -> bool:
    authority = c.server.running.authority.certificate_pem.decode()
    try:
        await c.api.get(ServiceAccount, "default", namespace)
        return (await c.api.get(ConfigMap, NAME, namespace)).data == {"ca.crt": authority}
    except NotFound:
        return False


async def test_every_namespace_is_furnished_and_stays_so_until_it_goes(tmp_path: Path) -> None:
    names = ("namespace", "root-ca", "service-account")
    async with cluster(tmp_path, ()) as c, controllers(c.controllers_config, names):
        for namespace in ("default", "kube-system", "mine"):
            if namespace == "mine":
                await c.api.create(Namespace(metadata=ObjectMeta(name="mine")))
            await c.until(f"{namespace} is furnished", lambda where=namespace: furniture(c, where))  # type: ignore[misc]

        await c.api.delete(ServiceAccount, "default", "mine")
        await c.api.patch(ConfigMap, NAME, {"immutable": True, "data": {"ca.crt": "forged"}}, "mine")
        await c.until("it is restored", lambda: furniture(c, "mine"))
        await c.api.patch(ConfigMap, NAME, {"data": {"more": "x"}}, "mine")
        await c.until("it is put right", lambda: furniture(c, "mine"))

        await c.api.delete(Namespace, "mine")

        async def gone() -> bool:
            return "mine" not in {each.metadata.name for each in (await c.api.list_all(Namespace)).items}

        await c.until("the namespace goes, its furniture with it", gone)


async def test_a_token_in_a_secret_comes_and_goes_with_its_account(tmp_path: Path) -> None:
    async with cluster(tmp_path, ()) as c, controllers(c.controllers_config, ("service-account-token",)):
        robot = ServiceAccount(metadata=ObjectMeta(name="robot", namespace="default"))
        await c.api.create(robot)
        annotations = {"kubernetes.io/service-account.name": "robot"}
        # Whose name is not known yet cannot be filled at once: a token names its Secret.
        meta = ObjectMeta(generate_name="kept-", namespace="default", annotations=annotations)
        made = await c.api.create(Secret(metadata=meta, type="kubernetes.io/service-account-token"))
        assert "kubernetes.io/service-account.uid" in made.metadata.annotations

        async def kept() -> Secret | None:
            try:
                return await c.api.get(Secret, made.metadata.name, "default")
            except NotFound:
                return None

        async def filled() -> bool:
            found = await kept()
            return found is not None and bool(found.data.get("token"))

        async def gone() -> bool:
            return await kept() is None

        await c.until("it is filled", filled)
        await c.api.delete(ServiceAccount, "robot", "default")
        await c.until("it went with its account", gone)
