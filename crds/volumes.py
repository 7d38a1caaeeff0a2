"""Volumes of pods: folders and files that the containers of a pod share, find or are given (core/v1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from .fields import LIST_ATOMIC, MAP_ATOMIC, Int32, Int64, Quantity, written
from .meta import Model

FILE_MODE = 0o644
"""Of files in a volume that say nothing of it."""
TOKEN_EXPIRATION_S = 3_600
VOLUMES_MAX = 256
MOUNTS_MAX = 256
ITEMS_MAX = 1_024
SOURCES_MAX = 64

StorageMedium = Literal["", "Memory"]
HostPathType = Literal[
    "", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"
]


class ObjectFieldSelector(Model):
    """A field of the pod itself."""

    api_version: str = "v1"
    """Version of the schema in which the path is written."""
    field_path: str
    """`metadata.name`, `metadata.namespace`, `metadata.uid`, `metadata.labels['key']`, `metadata.annotations['key']`; in
    the environment `spec.nodeName`, `spec.serviceAccountName`, `status.hostIP`, `status.hostIPs`, `status.podIP` and
    `status.podIPs`, in a file all `metadata.labels` and `metadata.annotations`."""


class ResourceFieldSelector(Model):
    """What a container asks for, or may use, of a resource; the node's amount where it has no limit."""

    container_name: str | None = None
    """The container; in the environment default the one whose it is."""
    resource: str
    """`limits.cpu`, `limits.memory`, `limits.ephemeral-storage`, or the same of `requests`."""
    divisor: Quantity = Field(default="0")
    """The unit in which it is told, rounded up; default 1, that is cores and bytes."""


class KeyToPath(Model):
    """One key of a ConfigMap or Secret, and the file it becomes."""

    key: str
    """The key."""
    path: str
    """Path of the file within the volume."""
    mode: Int32 | None = None
    """Permissions of the file, 0 to 0777; default those of the volume."""


class ConfigMapVolumeSource(Model):
    """A file for each key of a ConfigMap, kept up to date."""

    name: str = written("")
    """The ConfigMap, of the pod's namespace."""
    items: list[KeyToPath] = Field(default_factory=list, max_length=ITEMS_MAX, json_schema_extra=LIST_ATOMIC)
    """These keys alone, under these paths."""
    default_mode: Int32 | None = written(FILE_MODE)
    """Permissions of the files."""
    optional: bool | None = None
    """When true, what is missing is no obstacle."""


class SecretVolumeSource(Model):
    """A file for each key of a Secret, kept up to date, in memory."""

    secret_name: str | None = None
    """The Secret, of the pod's namespace."""
    items: list[KeyToPath] = Field(default_factory=list, max_length=ITEMS_MAX, json_schema_extra=LIST_ATOMIC)
    """These keys alone, under these paths."""
    default_mode: Int32 | None = written(FILE_MODE)
    """Permissions of the files."""
    optional: bool | None = None
    """When true, what is missing is no obstacle."""


class DownwardAPIVolumeFile(Model):
    """A file with something of the pod's own."""

    path: str
    """Path of the file within the volume."""
    field_ref: ObjectFieldSelector | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """A field of the pod."""
    resource_field_ref: ResourceFieldSelector | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """A container's resources."""
    mode: Int32 | None = None
    """Permissions of the file, 0 to 0777; default those of the volume."""


class DownwardAPIVolumeSource(Model):
    """Files about the pod itself."""

    items: list[DownwardAPIVolumeFile] = Field(
        default_factory=list, max_length=ITEMS_MAX, json_schema_extra=LIST_ATOMIC
    )
    """The files."""
    default_mode: Int32 | None = written(FILE_MODE)
    """Permissions of the files."""


class EmptyDirVolumeSource(Model):
    """A folder that is empty when the pod comes to its node, and gone when the pod is."""

    medium: StorageMedium | None = None
    """`Memory`: in memory, which counts as the pod's; default the node's disk."""
    size_limit: Quantity | None = None
    """How much it may hold. In memory there is no room for more, on disk the pod is evicted."""


class HostPathVolumeSource(Model):
    """A file or folder of the node, for pods in namespaces where that is allowed."""

    path: str
    """Where it is on the node."""
    type: HostPathType | None = written("")
    """What must be there before the pod starts, or is made; default anything."""


class ConfigMapProjection(Model):
    """As the volume of a ConfigMap."""

    name: str = written("")
    """The ConfigMap, of the pod's namespace."""
    items: list[KeyToPath] = Field(default_factory=list, max_length=ITEMS_MAX, json_schema_extra=LIST_ATOMIC)
    """These keys alone, under these paths."""
    optional: bool | None = None
    """When true, what is missing is no obstacle."""


class SecretProjection(Model):
    """As the volume of a Secret."""

    name: str = written("")
    """The Secret, of the pod's namespace."""
    items: list[KeyToPath] = Field(default_factory=list, max_length=ITEMS_MAX, json_schema_extra=LIST_ATOMIC)
    """These keys alone, under these paths."""
    optional: bool | None = None
    """When true, what is missing is no obstacle."""


class DownwardAPIProjection(Model):
    """As the volume of that name."""

    items: list[DownwardAPIVolumeFile] = Field(
        default_factory=list, max_length=ITEMS_MAX, json_schema_extra=LIST_ATOMIC
    )
    """The files."""


class ServiceAccountTokenProjection(Model):
    """A token of the pod's account, renewed in time."""

    audience: str | None = None
    """Whom it is for; default the API server."""
    expiration_seconds: Int64 | None = written(TOKEN_EXPIRATION_S)
    """How long one token counts, at least ten minutes. It is renewed when four fifths of that are over."""
    path: str
    """Path of the file within the volume."""


class VolumeProjection(Model):
    """One source of a projected volume: exactly one of these."""

    secret: SecretProjection | None = None
    """A Secret."""
    config_map: ConfigMapProjection | None = None
    """A ConfigMap."""
    downward_api: DownwardAPIProjection | None = Field(default=None, alias="downwardAPI")
    """The pod itself."""
    service_account_token: ServiceAccountTokenProjection | None = None
    """A token."""


class ProjectedVolumeSource(Model):
    """Several sources in one folder."""

    sources: list[VolumeProjection] = Field(default_factory=list, max_length=SOURCES_MAX, json_schema_extra=LIST_ATOMIC)
    """The sources; a later one overrules an earlier one."""
    default_mode: Int32 | None = written(FILE_MODE)
    """Permissions of the files."""


class Volume(Model):
    """A folder or file for the containers of the pod; exactly one source, default an emptyDir."""

    name: str
    """Name by which containers mount it, unique in the pod."""
    empty_dir: EmptyDirVolumeSource | None = None
    """An empty folder."""
    host_path: HostPathVolumeSource | None = None
    """Something of the node."""
    config_map: ConfigMapVolumeSource | None = None
    """Files from a ConfigMap."""
    secret: SecretVolumeSource | None = None
    """Files from a Secret."""
    downward_api: DownwardAPIVolumeSource | None = Field(default=None, alias="downwardAPI")
    """Files about the pod."""
    projected: ProjectedVolumeSource | None = None
    """Files from several sources."""


class VolumeMount(Model):
    """Where a container finds a volume."""

    name: str
    """The volume."""
    mount_path: str
    """Where it is in the container; nothing is made there on the node."""
    read_only: bool | None = None
    """Whether nothing can be written to it. ConfigMaps, Secrets and the like never can."""
    sub_path: str | None = None
    """What of the volume is shown; default its root. It does not follow changes of ConfigMaps and Secrets."""
    sub_path_expr: str | None = None
    """The same, with `$(NAME)` for the container's environment variables."""
    mount_propagation: Literal["None"] | None = None
    """Mounts made later are not seen in it."""


def named_sources(volumes: list[Volume]) -> Iterator[tuple[str, str, bool]]:
    """What of the namespace volumes are filled from: `configmap` or `secret`, its name, and whether it may be missing."""
    for volume in volumes:
        if volume.config_map is not None:
            yield "configmap", volume.config_map.name, bool(volume.config_map.optional)
        if volume.secret is not None:
            yield "secret", volume.secret.secret_name or "", bool(volume.secret.optional)
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.config_map is not None:
                yield "configmap", source.config_map.name, bool(source.config_map.optional)
            if source.secret is not None:
                yield "secret", source.secret.name, bool(source.secret.optional)
