"""The environment of a container: clean, and made of exactly what the pod, its pack and the agent say.

Later sources overrule earlier ones: the base, the pack's env, envFrom, env, then what the agent alone knows. Pure:
ConfigMaps and Secrets are handed in.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING

from stark.crds.config import ConfigMap, Secret
from stark.crds.podcontainers import container_named
from stark.crds.pods import Container, EnvVarSource, KeySelector, Pod
from stark.crds.quantity import parse_quantity
from stark.crds.volumes import ResourceFieldSelector

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")


class ConfigError(Exception):
    """Something the environment needs is missing or wrong; the container waits for it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod is told of its node."""

    node_ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """What the node has for pods, as quantities by resource."""


@dataclass(frozen=True, slots=True)
class References:
    """Names of the ConfigMaps and Secrets that a container's environment mentions."""

    config_maps: frozenset[str]
    secrets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sources:
    """What was found under those names in the pod's namespace."""

    config_maps: Mapping[str, ConfigMap] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)


def references(container: Container) -> References:
    """What must be read before `resolve`."""
    maps: set[str] = set()
    secrets: set[str] = set()
    for source in container.env_from:
        if source.config_map_ref:
            maps.add(source.config_map_ref.name)
        if source.secret_ref:
            secrets.add(source.secret_ref.name)
    for variable in container.env:
        origin = variable.value_from
        if origin and origin.config_map_key_ref:
            maps.add(origin.config_map_key_ref.name)
        if origin and origin.secret_key_ref:
            secrets.add(origin.secret_key_ref.name)
    return References(frozenset(maps), frozenset(secrets))


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value, `$$` becomes `$`, and an unknown name stays as it is written."""

    def one(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(one, text)


def resolve(
    pod: Pod,
    container: Container,
    sources: Sources,
    around: Surroundings,
    base: Mapping[str, str],
    last: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment: `base`, the container's own, and `last`, which nobody overrules. Raises ConfigError."""
    env = dict(base)
    for source in container.env_from:
        prefix = source.prefix or ""
        if source.config_map_ref:
            config_map = sources.config_maps.get(source.config_map_ref.name)
            if config_map is None and not source.config_map_ref.optional:
                raise ConfigError(f'configmap "{source.config_map_ref.name}" not found')
            env.update({prefix + key: value for key, value in (config_map.data if config_map else {}).items()})
        if source.secret_ref:
            secret = sources.secrets.get(source.secret_ref.name)
            if secret is None and not source.secret_ref.optional:
                raise ConfigError(f'secret "{source.secret_ref.name}" not found')
            env.update({prefix + key: _decoded(value, key) for key, value in (secret.data if secret else {}).items()})
    known = {**env, **last}
    for variable in container.env:
        if variable.value_from is not None:
            value = _from_source(pod, container, variable.value_from, sources, around)
        else:
            value = expand(variable.value or "", known)
        if value is not None:
            env[variable.name] = known[variable.name] = value
    return {**env, **last}


def _from_source(
    pod: Pod, container: Container, origin: EnvVarSource, sources: Sources, around: Surroundings
) -> str | None:
    if origin.field_ref:
        return field_value(pod, origin.field_ref.field_path, around.node_ip)
    if origin.resource_field_ref:
        return resource_value(pod, origin.resource_field_ref, container.name, around.allocatable)
    if origin.config_map_key_ref:
        ref = origin.config_map_key_ref
        config_map = sources.config_maps.get(ref.name)
        if config_map is not None and ref.key in config_map.data:
            return config_map.data[ref.key]
        return _absent("ConfigMap", pod, ref, config_map is not None)
    if origin.secret_key_ref:
        ref = origin.secret_key_ref
        secret = sources.secrets.get(ref.name)
        if secret is not None and ref.key in secret.data:
            return _decoded(secret.data[ref.key], ref.key)
        return _absent("Secret", pod, ref, secret is not None)
    raise ConfigError("a variable's valueFrom names no source that this node knows")


def _absent(kind: str, pod: Pod, ref: KeySelector, object_exists: bool) -> str | None:
    if ref.optional:
        return None
    if object_exists:
        raise ConfigError(f"couldn't find key {ref.key} in {kind} {pod.metadata.namespace}/{ref.name}")
    raise ConfigError(f'{kind.lower()} "{ref.name}" not found')


def _decoded(value: str, key: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ConfigError(f"key {key} of a secret is not text: it cannot be an environment variable") from None


def field_value(pod: Pod, path: str, node_ip: str) -> str:
    """One downward-API field. Raises ConfigError for a path that is not supported."""
    meta = pod.metadata
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        mapping = meta.labels if subscript.group(1) == "labels" else meta.annotations
        return mapping.get(subscript.group(2), "")
    values = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": node_ip,
        "status.podIPs": node_ip,
        "status.hostIP": node_ip,
        "status.hostIPs": node_ip,
    }
    if path not in values:
        raise ConfigError(f"fieldPath {path} is not supported")
    return values[path] or ""


def resource_value(pod: Pod, told: ResourceFieldSelector, own: str, allocatable: Mapping[str, str]) -> str:
    """A container's request or limit in units of the divisor, rounded up. `own` is the container that asks.

    A limit that is not set is what the node has, a request that is not set is nothing. Raises ConfigError.
    """
    name = told.container_name or own
    container = container_named(pod.spec, name)
    if container is None:
        raise ConfigError(f"container {name} not found")
    side, _, resource = told.resource.partition(".")
    given = container.resources
    amounts: Mapping[str, str] = {} if given is None else given.limits if side == "limits" else given.requests
    default = allocatable.get(resource, "0") if side == "limits" else "0"
    amount, divisor = parse_quantity(amounts.get(resource, default)), parse_quantity(told.divisor or "1")
    return str(int((amount / (divisor or 1)).to_integral_value(ROUND_CEILING)))


def port_variables(container: Container, ports: Mapping[str, int]) -> dict[str, str]:
    """PORT (the first port) and STARK_PORT_<NAME> for every port of the container."""
    env: dict[str, str] = {}
    for port in container.ports:
        key = port.name or str(port.container_port)
        env.setdefault("PORT", str(ports[key]))
        env["STARK_PORT_" + re.sub(r"[^A-Z0-9]", "_", key.upper())] = str(ports[key])
    return env
