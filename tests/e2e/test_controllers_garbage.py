"""Owner references of every kind, also of kinds that come while the garbage collector runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from stark.client.errors import ApiError
from stark.client.kinds import Kind, unstructured
from stark.crds.config import ConfigMap
from stark.crds.extensions import CustomResourceDefinition
from stark.crds.meta import ObjectMeta, OwnerReference, ResourceDef, decode
from tests.support.reconciling import Cluster, cluster, controllers

SHOP = unstructured(ResourceDef("example.com", "v1", "Shop", "shops", namespaced=True))


def config_map(name: str, *owners: OwnerReference, finalizers: tuple[str, ...] = ()) -> ConfigMap:
    meta = ObjectMeta(name=name, namespace="default", owner_references=list(owners), finalizers=list(finalizers))
    return ConfigMap(metadata=meta)


def owner(kind: str, name: str, uid: str, api_version: str = "v1") -> OwnerReference:
    return OwnerReference(api_version=api_version, kind=kind, name=name, uid=uid, block_owner_deletion=True)


async def names(c: Cluster) -> set[str]:
    items = (await c.api.list(ConfigMap, "default")).items
    return {each.metadata.name for each in items} - {"kube-root-ca.crt"}


async def left_are(c: Cluster, *expected: str) -> None:
    async def look() -> bool:
        return await names(c) == set(expected)

    await c.until(f"only {expected} are left", look)


async def test_what_has_no_owner_left_goes_and_what_has_one_stays(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=()) as c, controllers(c.controllers_config, ("garbage",)):
        one = await c.api.create(config_map("one"))
        two = await c.api.create(config_map("two"))
        refs = [owner("ConfigMap", each.metadata.name, each.uid) for each in (one, two)]
        await c.api.create(config_map("of-one", refs[0]))
        await c.api.create(config_map("of-both", *refs))
        await c.api.create(config_map("of-a-ghost", owner("ConfigMap", "one", "no-such-uid")))
        await c.api.create(config_map("of-an-unknown-kind", owner("Thing", "x", "u", "nowhere.example/v1")))
        await left_are(c, "one", "two", "of-one", "of-both", "of-an-unknown-kind")
        await c.api.delete(ConfigMap, "one", "default")
        await left_are(c, "two", "of-both", "of-an-unknown-kind")

        async def forgot_one() -> bool:
            live = await c.api.get(ConfigMap, "of-both", "default")
            return [each.uid for each in live.metadata.owner_references] == [two.uid]

        await c.until("the owner that went is taken off", forgot_one)


async def test_foreground_deletion_keeps_the_owner_until_what_blocks_it_is_gone(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=()) as c, controllers(c.controllers_config, ("garbage",)):
        top = await c.api.create(config_map("top"))
        held = config_map("held", owner("ConfigMap", "top", top.uid), finalizers=("example.com/hold",))
        await c.api.create(held)
        await c.api.delete(ConfigMap, "top", "default", propagation="Foreground")

        async def going() -> bool:
            live = await c.api.get(ConfigMap, "held", "default")
            return live.metadata.deletion_timestamp is not None

        await c.until("the dependent is asked to go", going)
        await asyncio.sleep(0.3)
        assert await names(c) == {"top", "held"}
        await c.api.patch(ConfigMap, "held", {"metadata": {"finalizers": []}}, "default")
        await left_are(c)


async def test_a_circle_of_owners_in_foreground_deletion_comes_to_an_end(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=()) as c, controllers(c.controllers_config, ("garbage",)):
        a = await c.api.create(config_map("a"))
        b = await c.api.create(config_map("b", owner("ConfigMap", "a", a.uid)))
        reference = owner("ConfigMap", "b", b.uid).model_dump(by_alias=True, exclude_none=True)
        await c.api.patch(ConfigMap, "a", {"metadata": {"ownerReferences": [reference]}}, "default")
        await c.api.delete(ConfigMap, "a", "default", propagation="Foreground")
        await left_are(c)


async def test_kinds_that_come_and_go_are_followed(tmp_path: Path) -> None:
    async with cluster(tmp_path, nodes=()) as c, controllers(c.controllers_config, ("garbage",)):
        await c.api.create(config_map("bystander"))
        await c.api.create(decode(definition(), CustomResourceDefinition))
        shop = await c.until("the kind is served", lambda: _try_create(c, SHOP))
        uid = shop["metadata"]["uid"]
        await c.api.create(config_map("of-the-shop", owner("Shop", "s", uid, "example.com/v1")))
        await asyncio.sleep(0.3)
        assert await names(c) == {"bystander", "of-the-shop"}
        await c.api.delete(SHOP, "s", "default")
        await left_are(c, "bystander")


async def _try_create(c: Cluster, kind: Kind[dict[str, Any]]) -> dict[str, Any] | None:
    try:
        return await c.api.create({"metadata": {"name": "s", "namespace": "default"}}, kind=kind)
    except ApiError:  # not served yet
        return None


def definition() -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "metadata": {"name": "shops.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "shops", "singular": "shop", "kind": "Shop", "listKind": "ShopList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
