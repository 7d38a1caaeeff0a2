"""Everything about an agent that can be set, each where its reason is written down."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PIDS_MAX = 1_024
OnStop = Literal["keep", "stop"]
Users = Literal["auto", "off"]


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The settings of one agent, that is of one Node."""

    data_dir: Path
    """Where pods, bundles and logs are kept. Two agents never share one."""
    name: str = field(default_factory=lambda: socket.gethostname().lower())
    """Name of the Node, and of the identity in the agent's certificate."""
    address: str = ""
    """Address of the node, of its pods and of the agent's endpoint. Default: the one that leads to the API server."""
    port: int = 0
    """Port of the agent's HTTPS endpoint; 0 takes a free one, because the API server is told anyway."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of the Node beside those the agent finds out itself."""
    taints: tuple[str, ...] = ()
    """`key[=value]:Effect`, put on the Node when it is first registered; later they are the operators'."""
    accept_public_packs: bool | None = None
    """Whether public packs of users who do not own the node may run here. Default: as the Node says, at first yes."""
    cpu_milli: int | None = None
    """Thousandths of a core that pods may ask for. Default: all cores."""
    memory_mib: int | None = None
    """MiB that pods may ask for. Default: the machine's memory."""
    resources: dict[str, str] = field(default_factory=dict)
    """Whatever else pods may ask for, by name: `nvidia.com/gpu=2`. It is counted by the scheduler and given to nobody in
    particular: a program that needs a device opens it itself."""
    pods_max: int = 110
    """Pods on this node at a time. Kubernetes' figure."""
    pids_max: int = PIDS_MAX
    """Processes and threads of one container at a time. A fork bomb ends here; a thread pool does not."""
    on_stop: OnStop = "keep"
    """What SIGTERM means for the pods: an upgrade of the agent keeps them, a machine that goes away stops them."""
    users: Users = "auto"
    """`auto` gives each pod a user id of its own when the agent is root and others can reach the runtimes' programs."""
    hide: tuple[Path, ...] = ()
    """Files and folders that pods must not see, beside the data directory and people's homes: whatever proves who we are."""
    lease_period_s: float | None = None
    """Between heartbeats. Default: what the cluster's settings say (`nodeHeartbeatIntervalSeconds`)."""
    lease_duration_s: int = 40
    """How long a heartbeat counts. Kubernetes' figure."""
    status_period_s: float = 10.0
    """How often the Node's conditions are looked at; they are written when they changed. Kubernetes' figure."""
    status_refresh_s: float = 300.0
    """How often the Node's status is written although nothing changed. Kubernetes' figure."""
    trusted_keys: Path | None = None
    """Public keys in PEM: packs that none of them has signed are not run, whatever the cluster's policies say."""
    log_max_bytes: int = 10 << 20
    """Size at which a container's log is rotated. Kubernetes' figure."""
    log_max_files: int = 5
    """Files of one log, the current one included. Kubernetes' figure."""
    disk_pressure_free: float = 0.10
    """Share of the data directory's disk below which there is DiskPressure and pods must go. The kubelet's figure for
    `nodefs.available`."""
    log_retention_s: float = 24 * 3600.0
    """How long logs outlive their pod: a day, to look into what happened at night."""
    bundle_quota_bytes: int = 4 << 30
    """Bytes of cached bundles; the least recently used go first, those in use never."""
    bundle_gc_high: float = 0.85
    """Used share of the disk from which bundles go that no pod uses. The kubelet's figure for images."""
    bundle_gc_low: float = 0.80
    """Used share down to which they go then. The kubelet's figure for images."""
    bundle_age_min_s: float = 120.0
    """How long a new bundle is spared that, because a pod may be about to start from it. The kubelet's figure for images."""
    direct_downloads: bool = True
    """Whether bundles are fetched from the object storage that the API server points to, if it does."""
    backoff_initial_s: float | None = None
    """Wait before the second restart of a crashing container; doubles. Default: what the cluster's settings say
    (`initialContainerRestartPeriodSeconds`)."""
    backoff_max_s: float | None = None
    """Longest wait before a restart. Default: what the cluster's settings say (`maxContainerRestartPeriodSeconds`)."""
    lock_wait_s: float = 10.0
    """How long to wait for the data directory while another agent has it: one that is just ending needs a few seconds."""
    housekeeping_period_s: float = 60.0
    """How often old logs and bundles are looked for."""
    token_period_s: float = 60.0
    """How often pods' tokens are looked at; a token is renewed twelve minutes before the end of its hour."""
    volume_period_s: float = 30.0
    """How often volumes from ConfigMaps, Secrets, the pod itself and tokens are brought up to date. Half of the minute that
    Kubernetes takes for it."""
    usage_period_s: float = 10.0
    """Between two samples of what containers use; rates are over this window. The kubelet's figure."""
