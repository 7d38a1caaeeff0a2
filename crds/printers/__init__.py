"""The rows that `kubectl get` shows for Kubernetes' own kinds, where a JSON path is not enough.

Rules and headings are those of Kubernetes' printers, so that scripts which read them go on working. Works on objects
in wire form and is free of pydantic: the API server answers Table requests with it, starkctl prints with it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..resource import Column
from .base import (
    AGE_COLUMN,
    NAME_COLUMN,
    WIDE_WORKLOAD,
    Object,
    Printer,
    human_age,
    human_duration,
    number_column,
    parse_time,
    status_of,
    text_column,
)
from .others import (
    admission_binding_cells,
    admission_policy_cells,
    budget_cells,
    certificate_request_cells,
    certificate_revocation_cells,
    configmap_cells,
    crd_cells,
    endpointslice_cells,
    event_cells,
    flowschema_cells,
    grouped_event_cells,
    lease_cells,
    namespace_cells,
    pod_usage_cells,
    priorityclass_cells,
    prioritylevel_cells,
    quota_cells,
    scale_cells,
    secret_cells,
    service_cells,
    serviceaccount_cells,
    webhooks_cells,
)
from .pods import node_cells, node_roles, node_status, pod_cells, summarize_pod
from .rbac import binding_cells
from .workloads import (
    autoscaler_cells,
    cronjob_cells,
    daemonset_cells,
    deployment_cells,
    job_cells,
    replicaset_cells,
    revision_cells,
    statefulset_cells,
)


def find_printer(group: str, kind: str) -> Printer | None:
    """The printer of a kind; None when its columns are JSON paths."""
    return PRINTERS.get((group, kind))


def row_conditions(group: str, kind: str, obj: Object) -> list[dict[str, str]]:
    """The `conditions` of a table row: a pod that has ended is marked Completed, and clients may grey it out."""
    phase = status_of(obj).get("phase")
    if (group, kind) != ("", "Pod") or phase not in ("Succeeded", "Failed"):
        return []
    message = "The pod has completed successfully." if phase == "Succeeded" else "The pod failed."
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


WEBHOOKS = Printer(
    (NAME_COLUMN, number_column("Webhooks", "Webhooks in the configuration."), AGE_COLUMN), webhooks_cells
)
ROLE = Printer(
    (NAME_COLUMN, Column("Created At", "date", ".metadata.creationTimestamp", "When it was created.")), crd_cells
)
ROLE_BINDING = Printer(
    (
        NAME_COLUMN,
        text_column("Role", "The role it gives."),
        AGE_COLUMN,
        text_column("Users", "Users it gives the role to.", 1),
        text_column("Groups", "Groups it gives the role to.", 1),
        text_column("ServiceAccounts", "Service accounts it gives the role to.", 1),
    ),
    binding_cells,
)
EVENT_COLUMNS = (
    text_column("Last Seen", "Time since it happened last."),
    text_column("Type", "Normal or Warning."),
    text_column("Reason", "What happened, in one word."),
    text_column("Object", "The object it happened to."),
    text_column("Subobject", "The part of it.", 1),
    text_column("Source", "Who reported it.", 1),
    text_column("Message", "What happened."),
    text_column("First Seen", "Time since it happened first.", 1),
    number_column("Count", "How often it happened.", 1),
    Column("Name", "string", ".metadata.name", "Unique in its namespace.", format="name", priority=1),
)

PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): WEBHOOKS,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): WEBHOOKS,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): Printer(
        (
            NAME_COLUMN,
            number_column("Validations", "Validations of the policy."),
            text_column("ParamKind", "The kind of its parameters."),
            AGE_COLUMN,
        ),
        admission_policy_cells,
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): Printer(
        (
            NAME_COLUMN,
            text_column("PolicyName", "The policy it puts into force."),
            text_column("ParamRef", "Where the parameters are."),
            AGE_COLUMN,
        ),
        admission_binding_cells,
    ),
    ("certificates.k8s.io", "CertificateSigningRequest"): Printer(
        (
            NAME_COLUMN,
            AGE_COLUMN,
            text_column("SignerName", "Who is to sign."),
            text_column("Requestor", "Who asked."),
            text_column("RequestedDuration", "The lifetime that was wished for."),
            text_column("Condition", "What became of it."),
        ),
        certificate_request_cells,
    ),
    ("stark.dev", "CertificateRevocation"): Printer(
        (
            NAME_COLUMN,
            text_column("Certificates", "Which certificates are good no longer."),
            text_column("Issued Before", "Of a user's, those issued until then."),
            text_column("Reason", "Why."),
            AGE_COLUMN,
        ),
        certificate_revocation_cells,
    ),
    ("", "Pod"): Printer(
        (
            NAME_COLUMN,
            text_column("Ready", "Ready containers of all containers."),
            text_column("Status", "What it is doing, or what keeps it from that."),
            text_column("Restarts", "Restarts of all containers, and when the last one was."),
            AGE_COLUMN,
            text_column("IP", "Its address.", 1),
            text_column("Node", "The node it runs on.", 1),
            text_column("Nominated Node", "The node on which others make way for it.", 1),
            text_column("Readiness Gates", "Readiness gates that are met, of all.", 1),
        ),
        pod_cells,
    ),
    ("", "Node"): Printer(
        (
            NAME_COLUMN,
            text_column("Status", "Whether it is ready, and whether it takes new pods."),
            text_column("Roles", "Roles that its labels give it."),
            AGE_COLUMN,
            text_column("Version", "Version of its agent."),
            text_column("Internal-IP", "Address inside the cluster.", 1),
            text_column("External-IP", "Address from outside.", 1),
            text_column("OS-Image", "Operating system.", 1),
            text_column("Kernel-Version", "Kernel.", 1),
            text_column("Container-Runtime", "Container runtime.", 1),
        ),
        node_cells,
    ),
    ("apps", "Deployment"): Printer(
        (
            NAME_COLUMN,
            text_column("Ready", "Ready pods of the desired ones."),
            text_column("Up-to-date", "Pods of the current template."),
            text_column("Available", "Pods that have been ready long enough."),
            AGE_COLUMN,
            *WIDE_WORKLOAD,
        ),
        deployment_cells,
    ),
    ("apps", "ReplicaSet"): Printer(
        (
            NAME_COLUMN,
            number_column("Desired", "Pods wanted."),
            number_column("Current", "Pods there are."),
            number_column("Ready", "Pods that are ready."),
            AGE_COLUMN,
            *WIDE_WORKLOAD,
        ),
        replicaset_cells,
    ),
    ("apps", "DaemonSet"): Printer(
        (
            NAME_COLUMN,
            number_column("Desired", "Nodes that should have a pod."),
            number_column("Current", "Nodes that have one."),
            number_column("Ready", "Nodes whose pod is ready."),
            number_column("Up-to-date", "Nodes whose pod is of the current template."),
            number_column("Available", "Nodes whose pod has been ready long enough."),
            text_column("Node Selector", "Labels of the nodes it is for."),
            AGE_COLUMN,
            *WIDE_WORKLOAD,
        ),
        daemonset_cells,
    ),
    ("apps", "StatefulSet"): Printer(
        (NAME_COLUMN, text_column("Ready", "Ready pods of the desired ones."), AGE_COLUMN, *WIDE_WORKLOAD[:2]),
        statefulset_cells,
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): Printer(
        (
            NAME_COLUMN,
            text_column("Reference", "What it scales."),
            text_column("Targets", "What was measured, and what it should come to."),
            text_column("MinPods", "The least pods."),
            text_column("MaxPods", "The most pods."),
            text_column("Replicas", "Pods there are."),
            AGE_COLUMN,
        ),
        autoscaler_cells,
    ),
    ("apps", "ControllerRevision"): Printer(
        (
            NAME_COLUMN,
            text_column("Controller", "The object whose state it is."),
            number_column("Revision", "Its number; the highest is the newest."),
            AGE_COLUMN,
        ),
        revision_cells,
    ),
    ("batch", "Job"): Printer(
        (
            NAME_COLUMN,
            text_column("Status", "Running, Complete, Failed, Suspended, or on the way there."),
            text_column("Completions", "Pods that succeeded of those that have to."),
            text_column("Duration", "Time from its start to its completion, or until now."),
            AGE_COLUMN,
            *WIDE_WORKLOAD,
        ),
        job_cells,
    ),
    ("batch", "CronJob"): Printer(
        (
            NAME_COLUMN,
            text_column("Schedule", "When it makes a job."),
            text_column("Timezone", "The zone whose clock that is about."),
            text_column("Suspend", "Whether it makes none at present."),
            number_column("Active", "Jobs that run."),
            text_column("Last Schedule", "Time since the last scheduled time that made a job."),
            AGE_COLUMN,
            *WIDE_WORKLOAD,
        ),
        cronjob_cells,
    ),
    ("", "Event"): Printer(EVENT_COLUMNS, event_cells),
    ("events.k8s.io", "Event"): Printer(EVENT_COLUMNS, grouped_event_cells),
    ("metrics.k8s.io", "PodMetrics"): Printer(
        (
            NAME_COLUMN,
            Column("cpu", "string", "", "CPU time that all containers use in a second.", format="quantity"),
            Column("memory", "string", "", "Memory that all containers use.", format="quantity"),
            Column("Window", "string", ".window", "How long was measured.", format="duration"),
        ),
        pod_usage_cells,
    ),
    ("", "Namespace"): Printer(
        (NAME_COLUMN, text_column("Status", "Active, or Terminating while it is emptied."), AGE_COLUMN), namespace_cells
    ),
    ("", "ConfigMap"): Printer((NAME_COLUMN, number_column("Data", "Number of keys."), AGE_COLUMN), configmap_cells),
    ("", "Secret"): Printer(
        (NAME_COLUMN, text_column("Type", "What it is for."), number_column("Data", "Number of keys."), AGE_COLUMN),
        secret_cells,
    ),
    ("", "ServiceAccount"): Printer(
        (NAME_COLUMN, number_column("Secrets", "Number of secrets."), AGE_COLUMN), serviceaccount_cells
    ),
    ("coordination.k8s.io", "Lease"): Printer(
        (NAME_COLUMN, text_column("Holder", "Who holds it."), AGE_COLUMN), lease_cells
    ),
    ("scheduling.k8s.io", "PriorityClass"): Printer(
        (
            NAME_COLUMN,
            number_column("Value", "The priority: higher is scheduled first."),
            Column("Global-Default", "boolean", "", "Whether pods without a class get this one."),
            AGE_COLUMN,
            text_column("PreemptionPolicy", "Whether its pods may take the place of lower ones."),
        ),
        priorityclass_cells,
    ),
    ("policy", "PodDisruptionBudget"): Printer(
        (
            NAME_COLUMN,
            text_column("Min Available", "Pods that must stay."),
            text_column("Max Unavailable", "Pods that may be missing."),
            number_column("Allowed Disruptions", "Pods that may be evicted now."),
            AGE_COLUMN,
        ),
        budget_cells,
    ),
    ("", "Service"): Printer(
        (
            NAME_COLUMN,
            text_column("Type", "Always ClusterIP."),
            text_column("Cluster-IP", "Always None: it has no address of its own."),
            text_column("External-IP", "Always none."),
            text_column("Port(s)", "Its ports, which stand for those in its EndpointSlices."),
            AGE_COLUMN,
            text_column("Selector", "Labels of its pods.", 1),
        ),
        service_cells,
    ),
    ("discovery.k8s.io", "EndpointSlice"): Printer(
        (
            NAME_COLUMN,
            text_column("AddressType", "What the addresses are."),
            text_column("Ports", "The real ports of the endpoints."),
            text_column("Endpoints", "Addresses."),
            AGE_COLUMN,
        ),
        endpointslice_cells,
    ),
    ("", "LimitRange"): Printer(
        (NAME_COLUMN, Column("Created At", "date", ".metadata.creationTimestamp", "When it was created.")), crd_cells
    ),
    ("", "ResourceQuota"): Printer(
        (
            NAME_COLUMN,
            text_column("Request", "What is used of each limit on requests and counts."),
            text_column("Limit", "What is used of each limit on limits."),
            AGE_COLUMN,
        ),
        quota_cells,
    ),
    ("autoscaling", "Scale"): Printer(
        (
            NAME_COLUMN,
            number_column("Desired", "Pods wanted."),
            number_column("Available", "Pods there are."),
            AGE_COLUMN,
        ),
        scale_cells,
    ),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): Printer(
        (
            NAME_COLUMN,
            text_column("PriorityLevel", "The level its requests belong to."),
            number_column("MatchingPrecedence", "Of the schemas that match, the lowest is used."),
            text_column("DistinguisherMethod", "What tells its flows apart."),
            AGE_COLUMN,
            text_column("MissingPL", "Whether its level does not exist."),
        ),
        flowschema_cells,
    ),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): Printer(
        (
            NAME_COLUMN,
            text_column("Type", "Limited, or Exempt from every limit."),
            text_column("NominalConcurrencyShares", "Its part of the server's seats."),
            text_column("Queues", "Queues in which its requests wait."),
            text_column("HandSize", "Queues that one flow may use."),
            text_column("QueueLengthLimit", "Requests that may wait in one queue."),
            AGE_COLUMN,
        ),
        prioritylevel_cells,
    ),
    ("rbac.authorization.k8s.io", "Role"): ROLE,
    ("rbac.authorization.k8s.io", "ClusterRole"): ROLE,
    ("rbac.authorization.k8s.io", "RoleBinding"): ROLE_BINDING,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ROLE_BINDING,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Printer(
        (NAME_COLUMN, Column("Created At", "date", ".metadata.creationTimestamp", "When it was created.")), crd_cells
    ),
}
"""(group, kind) -> its printer."""


__all__ = [
    "PRINTERS",
    "Printer",
    "find_printer",
    "human_age",
    "human_duration",
    "node_roles",
    "node_status",
    "parse_time",
    "row_conditions",
    "summarize_pod",
]
