"""What the server fills in that a schema's defaults cannot say, because it depends on other fields.

A pod's qosClass is not among it: it belongs to status, which the registry owns on creation.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from stark.crds.annotations import MODE, MODE_DAEMON_SET, TAINT_NOT_READY, TAINT_UNREACHABLE
from stark.crds.autoscaler_forms import FULL, with_defaults
from stark.crds.batch import BACKOFF_LIMIT, BACKOFF_LIMIT_NONE
from stark.crds.pods import TERMINATION_GRACE_PERIOD_SECONDS

from .attributes import Attributes, Lookup
from .podspecs import containers, find_spec, writes_pod, written_spec
from .validate_affinity import pod_terms
from .validate_volumes import SOURCES

TOLERATION_SECONDS = 120
"""How long a pod stays on a node that went silent, where the cluster's settings are not known: long enough for a reboot,
short enough to be noticed in time."""
DEFAULT_SERVICE_ACCOUNT = "default"
LATEST = "latest"
ROLLING_UPDATE_BOUND = "25%"


async def pod_spec_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """Restart policy, grace period, image pull policy and kind of volume, in pods and in templates."""
    found = written_spec(attributes)
    if found is None or attributes.resource.custom:
        return
    found.spec.setdefault("restartPolicy", "Always")
    found.spec.setdefault("terminationGracePeriodSeconds", TERMINATION_GRACE_PERIOD_SECONDS)
    for _, container in containers(found):
        if container.get("image"):
            container.setdefault("imagePullPolicy", pull_policy(container["image"]))
    for volume in found.spec.get("volumes") or ():
        if all(volume.get(source) is None for source in SOURCES):
            volume["emptyDir"] = {}


async def deployment_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """A rolling update that says nothing of its bounds may have a quarter too many and a quarter too few (apps/v1)."""
    resource = attributes.resource
    if attributes.object is None or (resource.group, resource.kind) != ("apps", "Deployment") or attributes.subresource:
        return
    strategy = attributes.object.get("spec", {}).setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        for bound in ("maxUnavailable", "maxSurge"):
            rolling.setdefault(bound, ROLLING_UPDATE_BOUND)
    _warn_of_unread_replicas(attributes, attributes.object)


def _warn_of_unread_replicas(attributes: Attributes, deployment: dict[str, Any]) -> None:
    """With a pod on every node nobody reads the number of pods, except kubectl, which waits for so many."""
    annotations = (deployment.get("metadata") or {}).get("annotations") or {}
    replicas = deployment["spec"].get("replicas", 1)
    if annotations.get(MODE) == MODE_DAEMON_SET and isinstance(replicas, int) and replicas > 1:
        attributes.warnings.append(
            f"spec.replicas: not read in the mode DaemonSet, but `kubectl rollout status` waits for {replicas} updated "
            "pods: set it to 0"
        )


async def statefulset_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """A rolling update reaches every pod unless it says otherwise (apps/v1)."""
    if attributes.object is None or attributes.subresource:
        return
    strategy = attributes.object.get("spec", {}).setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy["rollingUpdate"] = {"partition": 0, **(strategy.get("rollingUpdate") or {})}


async def job_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """When pods of a job are replaced (a policy about failures has to see how a pod ended), and how many may fail."""
    if attributes.object is None or attributes.subresource:
        return
    spec = attributes.object.get("spec")
    if isinstance(spec, dict) and spec.get("podReplacementPolicy") is None:
        spec["podReplacementPolicy"] = "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed"
    if isinstance(spec, dict) and spec.get("backoffLimit") is None:
        spec["backoffLimit"] = BACKOFF_LIMIT if spec.get("backoffLimitPerIndex") is None else BACKOFF_LIMIT_NONE


async def autoscaler_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """A bound, a measure and policies; what autoscaling/v1 has no word for is filled in when it is converted."""
    obj = attributes.object
    if obj is None or attributes.subresource or not isinstance(obj.get("spec"), dict):
        return
    if obj.get("apiVersion") == FULL:
        obj["spec"] = with_defaults(obj["spec"])
    elif obj["spec"].get("minReplicas") is None:
        obj["spec"]["minReplicas"] = 1


def pull_policy(image: str) -> str:
    """Always for what may change under its name (`latest`, or no tag), IfNotPresent otherwise."""
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == LATEST else "IfNotPresent"


async def pod_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """What only a pod gets, not a template: requests from limits, tolerations, service account."""
    if not writes_pod(attributes):
        return
    found = find_spec(attributes.resource, attributes.object)
    if found is None:
        return
    for _, container in containers(found):
        _requests_from_limits(container)
    spec = found.spec
    spec["tolerations"] = with_default_tolerations(spec.get("tolerations") or [])
    if attributes.operation == "CREATE":
        narrow_to_own_labels(spec, ((attributes.object or {}).get("metadata") or {}).get("labels") or {})
    old = ((attributes.old or {}).get("spec") or {}) if attributes.operation == "UPDATE" else {}
    former_name = spec.pop("serviceAccount", None)
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = former_name or old.get("serviceAccountName", DEFAULT_SERVICE_ACCOUNT)


def narrow_to_own_labels(spec: dict[str, Any], labels: Mapping[str, str]) -> None:
    """Write what `matchLabelKeys` and `mismatchLabelKeys` mean for this pod into the selectors beside them.

    As Kubernetes does when a pod is made (KEP-3633, KEP-3243); a key that the pod has no label for means nothing.
    """
    holders = list(spec.get("topologySpreadConstraints") or ())
    for side in ("podAffinity", "podAntiAffinity"):
        holders += [term for _, term in pod_terms((spec.get("affinity") or {}).get(side) or {}, "")]
    for holder in holders:
        selector = holder.get("labelSelector")
        for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
            keys = [key for key in holder.get(field) or () if key in labels]
            if keys and selector is not None:
                added = [{"key": key, "operator": operator, "values": [labels[key]]} for key in keys]
                given = selector.get("matchExpressions") or []
                selector["matchExpressions"] = given + [each for each in added if each not in given]


def _requests_from_limits(container: dict[str, Any]) -> None:
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if limits:
        resources["requests"] = {**limits, **(resources.get("requests") or {})}


def with_default_tolerations(
    tolerations: list[dict[str, Any]], seconds: int = TOLERATION_SECONDS
) -> list[dict[str, Any]]:
    """`tolerations` plus a bounded one for each of not-ready and unreachable that none of them covers."""
    missing = [
        key for key in (TAINT_NOT_READY, TAINT_UNREACHABLE) if not any(_tolerates(given, key) for given in tolerations)
    ]
    added = [{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds} for key in missing]
    return [*tolerations, *added]


def _tolerates(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key") in (None, "", key) and toleration.get("effect") in (None, "", "NoExecute")


BASE64_FIELDS = {"secrets": "data", "configmaps": "binaryData"}


async def base64_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """Write bytes in one line, as Kubernetes answers them: its clients may send base64 with line breaks."""
    resource, obj = attributes.resource, attributes.object
    field = BASE64_FIELDS.get(resource.plural, "")
    if resource.group != "" or not field or attributes.subresource or obj is None or not obj.get(field):
        return
    obj[field] = {key: value.replace("\n", "").replace("\r", "") for key, value in obj[field].items()}


async def secret_defaults(attributes: Attributes, lookup: Lookup) -> None:
    """Move a Secret's write-only stringData into data, where it overrules; default the type."""
    resource, secret = attributes.resource, attributes.object
    if resource.group != "" or resource.plural != "secrets" or attributes.subresource or secret is None:
        return
    text = secret.pop("stringData", None)
    if text:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}
    if not secret.get("type"):
        secret["type"] = (attributes.old or {}).get("type") or "Opaque"
