"""An operator as people write them with kopf: run by `kopf run` in a process of its own, it tends Gardens.

What it does can be seen from outside: the status, a ConfigMap, events, and the finalizer that it sets and takes away.
"""

from __future__ import annotations

import asyncio
from typing import Any

import kopf
import kubernetes

GROUP = "clients.example.org"
GARDENS = (GROUP, "v1", "gardens")


def configure(settings: Any, **_: Any) -> None:
    """Quick, and alone."""
    settings.persistence.finalizer = f"{GROUP}/gardener"
    settings.posting.level = 0
    settings.scanning.disabled = False
    settings.peering.standalone = True
    kubernetes.config.load_kube_config()


def plant(spec: Any, name: str, namespace: str, body: Any, patch: Any, **_: Any) -> dict[str, int]:
    """A ConfigMap that belongs to the garden."""
    core = kubernetes.client.CoreV1Api()
    bed = {"metadata": {"name": f"bed-{name}"}, "data": {"size": str(spec["size"])}}
    kopf.adopt(bed, owner=body)
    core.create_namespaced_config_map(namespace, bed)
    patch.status["replicas"] = spec["size"]
    kopf.info(body, reason="Planted", message="a bed was planted")
    return {"planted": spec["size"]}


def replant(spec: Any, name: str, namespace: str, old: Any, new: Any, patch: Any, body: Any, **_: Any) -> None:
    """Its size follows the garden's."""
    core = kubernetes.client.CoreV1Api()
    core.patch_namespaced_config_map(f"bed-{name}", namespace, {"data": {"size": str(new)}})
    patch.status["replicas"] = new
    kopf.event(body, type="Normal", reason="Replanted", message=f"from {old} to {new}")


def clear(name: str, namespace: str, spec: Any, retry: int, **_: Any) -> None:
    """Says that it was here; the first try fails, as deletions do."""
    if retry == 0:
        raise kopf.TemporaryError("the gate sticks", delay=0.2)
    core = kubernetes.client.CoreV1Api()
    core.create_namespaced_config_map(namespace, {"metadata": {"name": f"compost-{name}"}})


def water(patch: Any, status: Any, **_: Any) -> None:
    """Every now and then."""
    patch.status["watered"] = min(int(status.get("watered", 0)) + 1, 3)


async def guard(stopped: Any, name: str, namespace: str, body: Any, **_: Any) -> None:
    """As long as there is a garden."""
    core = kubernetes.client.CoreV1Api()
    post = {"metadata": {"name": f"guard-{name}"}}
    kopf.adopt(post, owner=body)
    await asyncio.to_thread(core.create_namespaced_config_map, namespace, post)
    await stopped.wait()


kopf.on.startup()(configure)
kopf.on.create(*GARDENS)(plant)
kopf.on.update(*GARDENS, field="spec.size")(replant)
kopf.on.delete(*GARDENS)(clear)
kopf.timer(*GARDENS, interval=0.5)(water)
kopf.daemon(*GARDENS, cancellation_timeout=2.0)(guard)
