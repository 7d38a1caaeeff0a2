"""ConfigMaps and Secrets that the node's pods name: read from the API server, and remembered while it is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from stark.client.api import Client
from stark.client.errors import ApiError, NotFound
from stark.crds.config import ConfigMap, Secret
from stark.crds.podcontainers import every_container
from stark.crds.pods import Container, Pod
from stark.crds.volumes import named_sources

from .environment import ConfigError, Sources, references

Found = TypeVar("Found", ConfigMap, Secret)


class Configs(Protocol):
    """Who can be asked for them."""

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """A ConfigMap; None when there is none. Raises ConfigError when nobody can tell."""
        ...

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret; None when there is none. Raises ConfigError when nobody can tell."""
        ...


class ConfigSource:
    """Asks the API server each time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._maps: dict[tuple[str, str], ConfigMap] = {}
        self._secrets: dict[tuple[str, str], Secret] = {}

    async def read(self, namespace: str, container: Container) -> Sources:
        """Everything the container's environment mentions. Raises ConfigError when nobody can tell."""
        wanted = references(container)
        return Sources(
            {name: found for name in wanted.config_maps if (found := await self.config_map(namespace, name))},
            {name: kept for name in wanted.secrets if (kept := await self.secret(namespace, name))},
        )

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """A ConfigMap; None when there is none. Raises ConfigError when nobody can tell."""
        return await self._get(ConfigMap, self._maps, (namespace, name))

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret; None when there is none. Raises ConfigError when nobody can tell."""
        return await self._get(Secret, self._secrets, (namespace, name))

    def keep_only(self, pods: Iterable[Pod]) -> None:
        """Forget what none of these pods names: whoever is gone from the node has no more secrets on it."""
        maps: set[tuple[str, str]] = set()
        secrets: set[tuple[str, str]] = set()
        for pod in pods:
            namespace = pod.metadata.namespace or ""
            for container in every_container(pod.spec):
                wanted = references(container)
                maps |= {(namespace, name) for name in wanted.config_maps}
                secrets |= {(namespace, name) for name in wanted.secrets}
            for kind, name, _ in named_sources(pod.spec.volumes):
                (maps if kind == "configmap" else secrets).add((namespace, name))
        for key in self._maps.keys() - maps:
            del self._maps[key]
        for key in self._secrets.keys() - secrets:
            del self._secrets[key]

    def immutable(self, kind: type[Any], namespace: str, name: str) -> Any:
        """What was read and can never change."""
        kept: dict[tuple[str, str], Any] = self._maps if kind is ConfigMap else self._secrets
        found = kept.get((namespace, name))
        return found if found is not None and found.immutable else None

    async def _get(self, kind: type[Found], kept: dict[tuple[str, str], Found], key: tuple[str, str]) -> Found | None:
        namespace, name = key
        try:
            kept[key] = await self._client.get(kind, name, namespace)
        except NotFound:
            kept.pop(key, None)
        except ApiError as error:
            if key not in kept:
                raise ConfigError(f"{kind.__name__} {name} cannot be read: {error.message}") from error
        return kept.get(key)


class ConfigRound:
    """One look at many pods: each object is asked for once, one that was not answered for not again, and one that is
    immutable not at all. Who deletes that and makes another is heard when a container starts."""

    def __init__(self, source: ConfigSource) -> None:
        self._source = source
        self._known: dict[tuple[str, str, str], Any] = {}

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """As the source's."""
        return await self._once(ConfigMap, self._source.config_map, namespace, name)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """As the source's."""
        return await self._once(Secret, self._source.secret, namespace, name)

    async def _once(
        self, kind: type[Found], ask: Callable[[str, str], Awaitable[Found | None]], namespace: str, name: str
    ) -> Found | None:
        key = kind.__name__, namespace, name
        if key not in self._known:
            try:
                self._known[key] = self._source.immutable(kind, namespace, name) or await ask(namespace, name)
            except ConfigError as error:
                self._known[key] = error
        answer: Any = self._known[key]
        if isinstance(answer, ConfigError):
            raise answer
        found: Found | None = answer
        return found
