"""Roll out a workload when a ConfigMap or Secret that its containers read has changed, if it asks for that.

Reads Deployments, DaemonSets, StatefulSets, and the metadata alone of ConfigMaps and Secrets: a version is an object's uid
and its metadata.generation, which counts changes of the data and nothing else, so that neither a label nor a new encryption
key moves a pod, and nothing that is written here tells of the data. Writes two annotations: on the workload, which versions
its pods were started with, and on the template, a checksum of them, which is what the workload's own controller rolls out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeAlias

from stark.client.errors import NotFound
from stark.client.informer import Informer
from stark.client.kinds import PartialObject, metadata_only
from stark.crds.annotations import CONFIG_CHECKSUM, CONFIG_VERSIONS, ROLLOUT_ON_CHANGE
from stark.crds.apps import DaemonSet, Deployment, StatefulSet
from stark.crds.config import ConfigMap, Secret
from stark.crds.podcontainers import every_container
from stark.crds.pods import PodSpec
from stark.crds.volumes import named_sources

from .kit import DONE, Context, Controller, Outcome, Source

Workload: TypeAlias = Deployment | DaemonSet | StatefulSet
Versions: TypeAlias = Mapping[str, str]
"""By `configmap/<name>` or `secret/<name>`: the object's version; empty when an optional one is absent."""

CHECKSUM_DIGITS: Final = 16
KINDS: Final[Mapping[str, type[Workload]]] = {
    "deployments": Deployment,
    "daemonsets": DaemonSet,
    "statefulsets": StatefulSet,
}


@dataclass(frozen=True, slots=True)
class Step:
    """What to write. `changed` names what the pods must be replaced for; nothing: the versions are only remembered."""

    versions: Versions
    changed: Sequence[str]

    def patch(self, resource_version: str | None) -> dict[str, Any]:
        """A merge patch that fails when the workload has changed meanwhile."""
        seen = json.dumps(self.versions, sort_keys=True, separators=(",", ":"))
        metadata = {"resourceVersion": resource_version, "annotations": {CONFIG_VERSIONS: seen}}
        if not self.changed:
            return {"metadata": metadata}
        checksum = sha256(seen.encode()).hexdigest()[:CHECKSUM_DIGITS]
        template = {"metadata": {"annotations": {CONFIG_CHECKSUM: checksum}}}
        return {"metadata": metadata, "spec": {"template": template}}


def references(spec: PodSpec) -> dict[str, bool]:
    """What environment and volumes are read from, and whether all of them do without it."""
    found: dict[str, bool] = {}
    for kind, name, optional in named_sources(spec.volumes):
        found[f"{kind}/{name}"] = found.get(f"{kind}/{name}", True) and optional
    for container in every_container(spec):
        named: list[tuple[str, Any]] = []
        for source in container.env_from:
            named += [("configmap", source.config_map_ref), ("secret", source.secret_ref)]
        for variable in container.env:
            origin = variable.value_from
            if origin is not None:
                named += [("configmap", origin.config_map_key_ref), ("secret", origin.secret_key_ref)]
        for kind, reference in named:
            if reference is not None:
                name = f"{kind}/{reference.name}"
                found[name] = found.get(name, True) and bool(reference.optional)
    return found


def plan(workload: Workload, version_of: Callable[[str], str]) -> Step | None:
    """What to write; None when nothing is asked for, nothing has changed, or a required object is missing.

    A workload that is new to us, or refers to something new, has pods that are new as well: that is only remembered.
    """
    meta = workload.metadata
    if meta.annotations.get(ROLLOUT_ON_CHANGE) != "true" or meta.deletion_timestamp is not None:
        return None
    wanted = references(workload.spec.template.spec)
    versions = {name: version_of(name) for name in sorted(wanted)}
    if any(not version and not wanted[name] for name, version in versions.items()):
        return None
    seen = _seen(meta.annotations.get(CONFIG_VERSIONS))
    if seen == versions or (seen is None and not versions):
        return None
    before = seen or {}
    changed = [name for name, version in versions.items() if before.get(name, version) != version]
    return Step(versions, changed)


def _seen(text: str | None) -> dict[str, str] | None:
    """What was remembered; None for nothing, or for what somebody else has written there."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class ConfigRollout(Controller):
    """See the module. Keys are `<plural>/<namespace>/<name>`."""

    name = "config-rollout"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._workloads: dict[str, Informer[Any]] = {
            plural: context.informers.of(kind) for plural, kind in KINDS.items()
        }
        self._configs: dict[str, Informer[PartialObject]] = {
            "configmap": context.informers.of(metadata_only(ConfigMap.RESOURCE)),
            "secret": context.informers.of(metadata_only(Secret.RESOURCE)),
        }

    def sources(self) -> Sequence[Source[Any]]:
        """The workloads that ask for it, and what they refer to."""
        return (
            *(Source(informer, _key_of(plural)) for plural, informer in self._workloads.items()),
            *(Source(informer, self._readers(kind)) for kind, informer in self._configs.items()),
        )

    def _readers(self, kind: str) -> Callable[[PartialObject], Iterable[str]]:
        def readers(config: PartialObject) -> Iterable[str]:
            name = f"{kind}/{config.metadata.name}"
            for plural, informer in self._workloads.items():
                for workload in informer.list(config.metadata.namespace):
                    is_asked = ROLLOUT_ON_CHANGE in workload.metadata.annotations
                    if is_asked and name in references(workload.spec.template.spec):
                        yield f"{plural}/{workload.key}"

        return readers

    async def reconcile(self, key: str) -> Outcome:
        """Remember what the pods have, or have them replaced."""
        plural, _, place = key.partition("/")
        workload = self._workloads[plural].get(place)
        if workload is None:
            return DONE
        meta = workload.metadata
        step = plan(workload, lambda name: self._version(meta.namespace or "", name))
        if step is None:
            return DONE
        try:
            await self._context.api.patch(KINDS[plural], meta.name, step.patch(meta.resource_version), meta.namespace)
        except NotFound:
            return DONE
        if step.changed:
            text = f"Rolling out because {', '.join(step.changed)} changed"
            self._context.recorder.event(workload, "Normal", "ConfigChanged", text)
        return DONE

    def _version(self, namespace: str, name: str) -> str:
        kind, _, plain = name.partition("/")
        found = self._configs[kind].get(f"{namespace}/{plain}")
        if found is None or found.metadata.deletion_timestamp is not None:
            return ""
        return f"{found.metadata.uid}:{found.metadata.generation or 0}"


def _key_of(plural: str) -> Callable[[Any], Iterable[str]]:
    def key(workload: Any) -> Iterable[str]:
        return (f"{plural}/{workload.key}",)

    return key


def build(context: Context) -> Controller:
    """For the catalog."""
    return ConfigRollout(context)
