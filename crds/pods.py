"""Pods: one or more programs that run together on one node, and what became of them.

The models hold the part of core/v1 Pod that Stark implements; the API server answers any other field as unknown.
An image `pack.stark/<pack>:<version>` is a pack, any other image belongs to a container engine.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .affinity import Affinity, TopologySpreadConstraint
from .conditions import Condition
from .config import LocalObjectReference
from .fields import (
    DNS_LABEL_PATTERN,
    LIST_ATOMIC,
    MAP_ATOMIC,
    WRITTEN,
    Count,
    Int32,
    Int64,
    IntOrString,
    Port,
    Quantity,
    list_map,
    written,
)
from .meta import KubeObject, Model, ObjectMeta, ResourceDef, Time
from .qos import QOSClass
from .security import PodSecurityContext, SecurityContext
from .volumes import (
    MOUNTS_MAX,
    VOLUMES_MAX,
    ResourceFieldSelector,
    Volume,
    VolumeMount,
)
from .volumes import ObjectFieldSelector as ObjectFieldSelector

RestartPolicy = Literal["Always", "OnFailure", "Never"]
PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
ImagePullPolicy = Literal["Always", "IfNotPresent", "Never"]
ContainerRestartPolicy = Literal["Always"]
TerminationMessagePolicy = Literal["File", "FallbackToLogsOnError"]
TaintEffect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
DNSPolicy = Literal["ClusterFirst", "Default"]
PreemptionPolicy = Literal["PreemptLowerPriority", "Never"]

GATES_MAX = 64
PRIORITY_MAX = 1_000_000_000
"""Highest priority of a user's pod; the two system classes lie above it."""
SYSTEM_PRIORITY_MAX = 2_000_001_000
TERMINATION_GRACE_PERIOD_SECONDS = 30
TOLERATIONS_MAX = 500
CONTAINERS_MAX = 64


class KeySelector(Model):
    """One key of a ConfigMap or Secret in the pod's namespace."""

    name: str = written("")
    """Name of the ConfigMap or Secret."""
    key: str
    """The key whose value is taken."""
    optional: bool | None = None
    """When true, a missing object or key leaves the variable unset; otherwise the container waits for it."""


class EnvVarSource(Model):
    """Where a variable's value comes from: exactly one of these."""

    field_ref: ObjectFieldSelector | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """A field of this pod."""
    resource_field_ref: ResourceFieldSelector | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """What a container asks for or may use."""
    config_map_key_ref: KeySelector | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """A key of a ConfigMap."""
    secret_key_ref: KeySelector | None = Field(default=None, json_schema_extra=MAP_ATOMIC)
    """A key of a Secret."""


class EnvVar(Model):
    """One environment variable."""

    name: str = Field(min_length=1)
    """Name of the variable."""
    value: str | None = None
    """Its value; `$(OTHER)` is replaced by a variable defined earlier, `$$(OTHER)` is kept as `$(OTHER)`."""
    value_from: EnvVarSource | None = None
    """Where the value comes from instead of `value`."""


class EnvSource(Model):
    """A whole ConfigMap or Secret in the pod's namespace."""

    name: str = written("")
    """Name of the ConfigMap or Secret."""
    optional: bool | None = None
    """When true, a missing object is no obstacle."""


class EnvFromSource(Model):
    """Every key of a ConfigMap or Secret as variables; `env` overrules them."""

    prefix: str | None = None
    """Put before every key."""
    config_map_ref: EnvSource | None = None
    """The ConfigMap."""
    secret_ref: EnvSource | None = None
    """The Secret."""


class ContainerPort(Model):
    """A port the program listens on."""

    name: str | None = Field(default=None, max_length=15, pattern=DNS_LABEL_PATTERN)
    """Name by which probes and services refer to it; unique in the pod."""
    container_port: Port
    """Port number. A program in a process is told its real port by `PORT` and `STARK_PORT_<NAME>`."""
    host_port: Int32 | None = Field(default=None, ge=0, le=65535)
    """Port on the node, taken literally; without it the agent finds a free one. 0 means none."""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    """Transport protocol."""


class ResourceRequirements(Model):
    """How much a container asks for and how much it may use."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """What the scheduler sets aside: `cpu` in cores (`500m` is half of one), `memory` in bytes, and by its name whatever
    else nodes have, e.g. `nvidia.com/gpu` in pieces or `ephemeral-storage` in bytes. Default: the limits."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """What the agent enforces, in the same units."""


class ExecAction(Model):
    """A command that succeeds with exit code 0."""

    command: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Program and arguments, without a shell."""


class HTTPHeader(Model):
    """One header of a probe's request."""

    name: str
    """Header name."""
    value: str
    """Header value."""


class HTTPGetAction(Model):
    """An HTTP GET that succeeds with a status from 200 to 399."""

    path: str = "/"
    """Path of the request."""
    port: IntOrString
    """Port number, or the name of one of the container's ports."""
    host: str | None = None
    """Host to connect to; default the pod's address."""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    """HTTPS does not verify the certificate."""
    http_headers: list[HTTPHeader] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Headers added to the request."""


class TCPSocketAction(Model):
    """A TCP connection that succeeds when it is accepted."""

    port: IntOrString
    """Port number, or the name of one of the container's ports."""
    host: str | None = None
    """Host to connect to; default the pod's address."""


class GRPCAction(Model):
    """A call of grpc.health.v1 that succeeds when the answer is SERVING."""

    port: Port
    """Port number of the container."""
    service: str | None = written("")
    """The service that is asked about; empty is the whole program."""


class Probe(Model):
    """A periodic check of a container: exactly one of exec, httpGet, tcpSocket and grpc."""

    exec_: ExecAction | None = Field(default=None, alias="exec")
    """Run a command in the container's environment."""
    http_get: HTTPGetAction | None = None
    """Ask by HTTP."""
    tcp_socket: TCPSocketAction | None = None
    """Connect by TCP."""
    grpc: GRPCAction | None = None
    """Ask by gRPC."""
    initial_delay_seconds: Count = 0
    """Seconds after the container started before the first check."""
    period_seconds: Int32 = Field(default=10, ge=1)
    """Seconds between checks."""
    timeout_seconds: Int32 = Field(default=1, ge=1)
    """Seconds after which a check has failed."""
    success_threshold: Int32 = Field(default=1, ge=1)
    """Successes in a row after a failure that count as success; must be 1 for liveness and startup."""
    failure_threshold: Int32 = Field(default=3, ge=1)
    """Failures in a row after a success that count as failure."""
    termination_grace_period_seconds: Int64 | None = Field(default=None, ge=1)
    """Seconds to stop after this probe failed; default the pod's. Not for readiness probes."""


class SleepAction(Model):
    """A pause (KEP-3960)."""

    seconds: Int64
    """How long; not more than the pod's terminationGracePeriodSeconds."""


class LifecycleHandler(Model):
    """What is done at a moment in a container's life: exactly one of exec, httpGet, tcpSocket and sleep."""

    exec_: ExecAction | None = Field(default=None, alias="exec")
    """Run a command beside the container, in its surroundings."""
    http_get: HTTPGetAction | None = None
    """Ask by HTTP; any answer is success."""
    tcp_socket: TCPSocketAction | None = None
    """Connect by TCP."""
    sleep: SleepAction | None = None
    """Wait."""


class Lifecycle(Model):
    """What is done when a container has started, and before it is stopped."""

    post_start: LifecycleHandler | None = None
    """Done once its entry point was called; until it is done the container does not count as running. When it fails
    the container is killed, and restarted by the restart policy."""
    pre_stop: LifecycleHandler | None = None
    """Done before the program is asked to stop, within the time it has for that. Not done when it ends by itself."""


class Container(Model):
    """One program of a pod."""

    name: str = Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)
    """Unique in the pod; cannot be changed."""
    image: str | None = None
    """`pack.stark/<pack>[:<version>]` for a pack (without a version the newest release is pinned at admission), any
    other name for a container engine."""
    command: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Program and first arguments in place of the image's own; for binary packs and container images."""
    args: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Arguments; `$(NAME)` is replaced by the environment variable."""
    working_dir: str | None = None
    """Working directory in place of the runtime's default."""
    ports: list[ContainerPort] = Field(
        default_factory=list, json_schema_extra=list_map("containerPort", "protocol", merge_key="containerPort")
    )
    """Ports the program listens on."""
    env: list[EnvVar] = Field(default_factory=list, json_schema_extra=list_map("name"))
    """Environment variables, in order."""
    env_from: list[EnvFromSource] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """ConfigMaps and Secrets whose keys become variables; a later one overrules an earlier one."""
    resources: ResourceRequirements | None = None
    """What it asks for and what it may use."""
    volume_mounts: list[VolumeMount] = Field(
        default_factory=list, max_length=MOUNTS_MAX, json_schema_extra=list_map("mountPath")
    )
    """Where it finds the pod's volumes."""
    liveness_probe: Probe | None = None
    """When it fails the container is restarted."""
    readiness_probe: Probe | None = None
    """While it fails the container is not ready."""
    startup_probe: Probe | None = None
    """Until it succeeds the other probes wait; when it fails the container is restarted."""
    stdin: bool | None = None
    """Keep standard input open for whoever attaches. Default: it is empty."""
    stdin_once: bool | None = None
    """End standard input when the first who attached to it leaves. Default: it stays open as long as the container runs."""
    tty: bool | None = None
    """Give it a terminal for its standard streams."""
    security_context: SecurityContext | None = None
    """What it is allowed, and as whom it runs."""
    lifecycle: Lifecycle | None = None
    """What is done when it has started, and before it is stopped. An init container has it only as a sidecar."""
    restart_policy: ContainerRestartPolicy | None = None
    """For an init container: Always makes it a sidecar, which runs beside the containers and is stopped after them."""
    termination_message_path: str | None = None
    """A file of the container's own, made for each run, whose end (4 KiB) is the message of its end. Default: none."""
    termination_message_policy: TerminationMessagePolicy = Field(default="File", json_schema_extra={WRITTEN: False})
    """Where the message comes from. File: what the program wrote there, or its runtime reported.
    FallbackToLogsOnError: when that is nothing and it failed, the last lines of its log."""
    image_pull_policy: ImagePullPolicy | None = None
    """When the image is fetched. Default: Always for a container image tagged `latest` or untagged, else IfNotPresent."""


class Toleration(Model):
    """Lets a pod onto nodes with matching taints."""

    key: str | None = None
    """The taint's key; empty together with Exists matches every taint."""
    operator: Literal["Equal", "Exists"] | None = None
    """Equal (the default) compares `value`, Exists does not look at it."""
    value: str | None = None
    """The taint's value."""
    effect: TaintEffect | None = None
    """The taint's effect; empty matches all."""
    toleration_seconds: Int64 | None = None
    """For NoExecute: seconds the pod stays after the taint appeared; default for ever, 0 or less not at all."""


class PodSchedulingGate(Model):
    """Holds a pod back from being placed, until whoever put it there takes it away."""

    name: str = Field(min_length=1)
    """A qualified name, unique in the pod."""


class PodSpec(Model):
    """What should run, where, and until when."""

    volumes: list[Volume] = Field(
        default_factory=list,
        max_length=VOLUMES_MAX,
        json_schema_extra={**list_map("name"), "x-kubernetes-patch-strategy": "merge,retainKeys"},
    )
    """Folders and files for its containers."""
    containers: list[Container] = Field(min_length=1, max_length=CONTAINERS_MAX, json_schema_extra=list_map("name"))
    """The programs of the pod."""
    init_containers: list[Container] = Field(
        default_factory=list, max_length=CONTAINERS_MAX, json_schema_extra=list_map("name")
    )
    """Programs that run before them, one after the other, each until it has succeeded; one with `restartPolicy: Always`
    is a sidecar, which goes on running and only has to have started."""
    node_name: str | None = None
    """The node it runs on. Set by the scheduler; a pod that is created with it skips the scheduler."""
    node_selector: dict[str, str] = Field(default_factory=dict, json_schema_extra=MAP_ATOMIC)
    """Labels the node must have."""
    affinity: Affinity | None = None
    """Further wishes about the node, and about other pods."""
    topology_spread_constraints: list[TopologySpreadConstraint] = Field(
        default_factory=list, json_schema_extra=list_map("topologyKey", "whenUnsatisfiable", merge_key="topologyKey")
    )
    """How evenly pods of the same kind are to lie over places."""
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=TOLERATIONS_MAX, json_schema_extra=LIST_ATOMIC
    )
    """Taints the pod puts up with."""
    restart_policy: RestartPolicy = "Always"
    """Whether a container that ended is started again."""
    termination_grace_period_seconds: Int64 = Field(
        default=TERMINATION_GRACE_PERIOD_SECONDS, ge=0, json_schema_extra={WRITTEN: False}
    )
    """Seconds from the polite signal to the forceful one; what the cluster's settings say when it is not given."""
    active_deadline_seconds: Int64 | None = Field(default=None, ge=1, le=2**31 - 1)
    """Seconds after status.startTime at which the pod is stopped and fails with reason DeadlineExceeded."""
    priority: Int32 | None = Field(default=None, le=SYSTEM_PRIORITY_MAX)
    """Higher is scheduled first. Admission takes it from the class; default 0."""
    priority_class_name: str | None = None
    """The PriorityClass that gives the priority; default the global default class, if there is one."""
    preemption_policy: PreemptionPolicy | None = None
    """Whether lower pods may have to make way for this one. Admission takes it from the class."""
    scheduling_gates: list[PodSchedulingGate] = Field(
        default_factory=list, max_length=GATES_MAX, json_schema_extra=list_map("name")
    )
    """While there is any, nobody places the pod. They can be given when it is created, and later only taken away."""
    security_context: PodSecurityContext | None = None
    """As whom its containers run that do not say themselves."""
    scheduler_name: str = "default-scheduler"
    """The scheduler that places the pod; Stark's own answers to the default."""
    service_account_name: str | None = None
    """The service account the pod acts as; admission sets `default`."""
    service_account: str | None = None
    """The former name of serviceAccountName, for writing only: the server moves it there."""
    automount_service_account_token: bool | None = None
    """Whether the programs are given a token of the account. Default: what the account says, else true."""
    image_pull_secrets: list[LocalObjectReference] = Field(default_factory=list, json_schema_extra=list_map("name"))
    """Secrets for fetching container images, which the pod's node may read. Packs need none. Default: the account's."""
    dns_policy: DNSPolicy | None = None
    """How names are looked up. Programs share the node's network, and there both values mean the node's own resolver."""
    hostname: str | None = Field(default=None, max_length=63, pattern=DNS_LABEL_PATTERN)
    """Hostname given to the program as `HOSTNAME`; default the pod's name. No DNS answers for it: the node's name stays."""
    subdomain: str | None = Field(default=None, max_length=63, pattern=DNS_LABEL_PATTERN)
    """The Service whose endpoint of this hostname the pod is: `hostname` of its EndpointSlice's endpoint. No DNS answers
    for it."""


class PodTemplateSpec(Model):
    """What the pods of a controller look like when they are created."""

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    """Labels and annotations of the pods."""
    spec: PodSpec
    """Spec of the pods."""


class PodCondition(Condition):
    """A conclusion about a pod: PodScheduled, Initialized, ContainersReady, Ready, DisruptionTarget."""

    last_probe_time: Time | None = None
    """When it was last judged."""


class PodIP(Model):
    """One address of the pod."""

    ip: str
    """IPv4 or IPv6 address."""


class ContainerStateWaiting(Model):
    """It is not running yet, or waits before it is started again."""

    reason: str | None = None
    """E.g. ContainerCreating, PodInitializing, ImagePullBackOff, CrashLoopBackOff."""
    message: str | None = None
    """For a person."""


class ContainerStateRunning(Model):
    """It runs."""

    started_at: Time | None = None
    """Since when."""


class ContainerStateTerminated(Model):
    """It ended."""

    exit_code: Int32
    """Exit code; 128 + n when signal n ended it."""
    signal: Int32 | None = None
    """The signal that ended it."""
    reason: str | None = None
    """Completed, Error, OOMKilled, DeadlineExceeded, ContainerCannotRun."""
    message: str | None = None
    """For a person; the last lines of output when it failed."""
    started_at: Time | None = None
    """When it began."""
    finished_at: Time | None = None
    """When it ended."""
    container_id: str | None = None
    """The runtime's id of this run."""


class ContainerState(Model):
    """At most one of the three; none means waiting."""

    waiting: ContainerStateWaiting | None = None
    """Not running."""
    running: ContainerStateRunning | None = None
    """Running."""
    terminated: ContainerStateTerminated | None = None
    """Ended."""


class ContainerStatus(Model):
    """What became of one container."""

    name: str
    """The container's name in the spec."""
    state: ContainerState = Field(default_factory=ContainerState)
    """How it is now."""
    last_state: ContainerState = Field(default_factory=ContainerState)
    """How its previous run ended."""
    ready: bool = written(False)
    """Whether it runs and its readiness probe succeeds."""
    restart_count: Count = written(0)
    """How often it was started again."""
    image: str = written("")
    """The image it runs."""
    image_id: str = written("")
    """Digest of the image: `<pack>@sha256:<hex>` for a pack."""
    container_id: str | None = None
    """`<runtime>://<id>` of the current run."""
    started: bool | None = None
    """Whether its startup probe has succeeded."""
    resources: ResourceRequirements | None = None
    """What is enforced now."""


class PodStatus(Model):
    """What became of the pod; written by its node's agent, PodScheduled by the scheduler."""

    observed_generation: Int64 | None = None
    """metadata.generation of the spec this status is about."""
    phase: PodPhase | None = None
    """Where in its life it is; Succeeded and Failed are final."""
    conditions: list[PodCondition] = Field(default_factory=list, json_schema_extra=list_map("type"))
    """Conclusions, one of each type."""
    message: str | None = None
    """For a person: why it is in this phase."""
    reason: str | None = None
    """For a program: Evicted, NodeLost, DeadlineExceeded, Preempted, Shutdown, ..."""
    nominated_node_name: str | None = None
    """The node on which lower priority pods make way for this one."""
    host_ip: str | None = None
    """Address of the node."""
    pod_ip: str | None = None
    """Address of the pod; pods that run as processes have the node's."""
    pod_ips: list[PodIP] = Field(default_factory=list, json_schema_extra=list_map("ip"))
    """All addresses; the first is podIP."""
    start_time: Time | None = None
    """When the agent took it on, before its image was fetched."""
    init_container_statuses: list[ContainerStatus] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """One for each init container, in their order."""
    container_statuses: list[ContainerStatus] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """One for each container."""
    qos_class: QOSClass | None = None
    """From requests and limits: Guaranteed, Burstable or BestEffort."""


class Pod(KubeObject):
    """One or more programs that run together on one node."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="",
        version="v1",
        kind="Pod",
        plural="pods",
        namespaced=True,
        short_names=("po",),
        categories=("all",),
        subresources=("status", "log", "exec", "attach", "portforward", "binding", "eviction", "placement"),
        selectable_fields=(
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
    )

    spec: PodSpec
    """What should run."""
    status: PodStatus = Field(default_factory=PodStatus)
    """What became of it."""


class ObjectReference(Model):
    """Names another object."""

    api_version: str | None = None
    """Its apiVersion."""
    kind: str | None = None
    """Its kind."""
    namespace: str | None = None
    """Its namespace."""
    name: str | None = None
    """Its name."""
    uid: str | None = None
    """Its uid."""
    resource_version: str | None = None
    """The version that is meant."""
    field_path: str | None = None
    """The part that is meant, e.g. `spec.containers{main}`."""


class Binding(KubeObject):
    """Places a pod on a node: posted to the pod's `binding` subresource, never stored."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group="", version="v1", kind="Binding", plural="bindings", namespaced=True
    )

    target: ObjectReference
    """The node."""
