"""What can be found out on a running server: each check answers met or not, with the evidence, or says why it cannot."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from stark.crds.podcontainers import every_written

from .probe import Probe, Unknown


class Finding(NamedTuple):
    """What a check found."""

    met: bool
    evidence: str


Check = Callable[[Probe], Finding]

STRANGER: Final = "stark:cis:stranger"
"""A user nobody has heard of."""
KNOWN: Final = ["system:authenticated"]
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
BOOTSTRAPPED: Final = "kubernetes.io/bootstrapping"
NAMED_MAX: Final = 5
"""Names of a list that are told."""


def _named(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return ", ".join(found[:NAMED_MAX]) + more


def _none_of(names: Iterable[str], what: str) -> Finding:
    found = list(names)
    return Finding(not found, f"{what}: {_named(found)}" if found else f"no {what}")


# Files.


def _modes(parts: tuple[str, ...], pattern: str, forbidden: int, probe: Probe) -> Finding:
    return _files(probe.file(*parts), pattern, lambda status: bool(status.st_mode & forbidden), "open to others")


def _owners(parts: tuple[str, ...], pattern: str, probe: Probe) -> Finding:
    owner = probe.file().stat().st_uid
    return _files(probe.file(*parts), pattern, lambda status: status.st_uid != owner, "of another owner")


def _files(root: Path, pattern: str, is_bad: Callable[[os.stat_result], bool], what: str) -> Finding:
    paths = [root] if not pattern else sorted(root.glob(pattern))
    try:
        looked_at = [(path, path.stat()) for path in paths]
    except OSError as error:
        raise Unknown(f"{root}: {error.strerror}") from error
    if not looked_at:
        raise Unknown(f"there is nothing at {root}/{pattern}")
    bad = [path.name for path, status in looked_at if is_bad(status)]
    modes = {stat.filemode(status.st_mode) for _, status in looked_at}
    return Finding(False, f"{what}: {_named(bad)}") if bad else Finding(True, f"{root.name}: {_named(modes)}")


def static_tokens(probe: Probe) -> Finding:
    """No file of tokens that never end."""
    path = probe.file("pki", "tokens.csv")
    return Finding(not path.exists(), f"{path} is there" if path.exists() else "there is no tokens.csv")


# Requests.


def anonymous(probe: Probe) -> Finding:
    """Nobody gets nothing, but the few paths that are for everybody."""
    closed = ("/api/v1/namespaces", "/apis", "/metrics", "/openapi/v2", "/audit/logs")
    codes = {path: probe.refusal("GET", path, api=probe.nobody) for path in closed}
    answered = [path for path, code in codes.items() if code not in (401, 403)]
    return Finding(not answered, f"answered: {_named(answered)}" if answered else "401 without credentials")


def _denied(verb: str, resource: str, group: str, subresource: str, probe: Probe) -> Finding:
    may = probe.may(STRANGER, KNOWN, verb, resource, group, subresource)
    what = f"{resource}/{subresource}" if subresource else resource
    return Finding(not may, f"system:authenticated {'may' if may else 'may not'} {verb} {what}")


def node_denied(probe: Probe) -> Finding:
    """An agent does not read what no pod of its own names."""
    may = probe.may("system:node:stark-cis-none", ["system:nodes", *KNOWN], "list", "secrets")
    return Finding(not may, f"a node {'may' if may else 'may not'} list all secrets")


def rbac(probe: Probe) -> Finding:
    """Roles are served, and there are the bootstrap ones."""
    names = {each["metadata"]["name"] for each in probe.items(f"{RBAC}/clusterroles")}
    return Finding("cluster-admin" in names, f"{len(names)} cluster roles")


def _dry_run(path: str, body: dict[str, Any], codes: tuple[int, ...], probe: Probe) -> Finding:
    code = probe.refusal("POST", path, body)
    return Finding(code in codes, f"refused with {code}" if code else "accepted in a dry run")


def _pod(**spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "pack.stark/cis:1.0.0"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cis"}, "spec": {"containers": [container], **spec}}


def node_restriction(probe: Probe) -> Finding:
    """An agent does not make pods of its own."""
    may = probe.may("system:node:stark-cis-none", ["system:nodes", *KNOWN], "delete", "nodes")
    return Finding(not may, f"a node {'may' if may else 'may not'} delete nodes")


def profiling(probe: Probe) -> Finding:
    """There is nothing under /debug."""
    code = probe.refusal("GET", "/debug/pprof/")
    return Finding(code in (403, 404), f"/debug/pprof/ is answered with {code or 200}")


def account_keys(probe: Probe) -> Finding:
    """The keys of service accounts' tokens are published, and so there are some."""
    keys = probe.api.get("/openid/v1/jwks").get("keys") or []
    return Finding(bool(keys), f"{len(keys)} keys: {_named(str(key.get('alg')) for key in keys)}")


def tls(probe: Probe) -> Finding:
    """The server is reached by TLS, with a certificate that is trusted."""
    if not probe.api.secure:
        return Finding(False, "plain HTTP")
    return Finding(not probe.api.config.insecure, probe.handshake())


def ciphers(probe: Probe) -> Finding:
    """Nothing before TLS 1.2, and there only ciphers that authenticate."""
    import ssl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            try:
                return Finding(False, f"agrees to {probe.handshake(old)}")
            except (ssl.SSLError, ConnectionError, ValueError):
                continue
    agreed = probe.handshake()
    return Finding("GCM" in agreed or "CHACHA20" in agreed, f"{agreed}; TLS 1.0 and 1.1 are refused")


# The audit log.


def audit_log(probe: Probe) -> Finding:
    """It is written."""
    trouble = probe.audit["trouble"]
    policy = probe.audit["policyFile"] or "the default policy"
    return Finding(not trouble, trouble or f"{policy}, sync: {probe.audit['sync']}")


def _audit_at_least(key: str, least: int, unit: str, probe: Probe) -> Finding:
    value = int(probe.audit[key])
    return Finding(value >= least or value == 0, f"{value} {unit}" if value else "all are kept")


# Objects.


def root_ca(probe: Probe) -> Finding:
    """Every namespace has the authority."""
    there = {
        each["metadata"]["namespace"]
        for each in probe.items("/api/v1/configmaps")
        if each["metadata"]["name"] == "kube-root-ca.crt"
    }
    active = {
        each["metadata"]["name"]
        for each in probe.items("/api/v1/namespaces")
        if not each["metadata"].get("deletionTimestamp")
    }
    return _none_of(active - there, "namespaces without kube-root-ca.crt")


def cluster_admin(probe: Probe) -> Finding:
    """Who has the role, beside those it comes with."""
    bound = [
        each["metadata"]["name"]
        for each in probe.items(f"{RBAC}/clusterrolebindings")
        if each["roleRef"]["name"] in ("cluster-admin", "stark:admin") and not _came_with(each)
    ]
    return _none_of(bound, "further bindings")


def masters(probe: Probe) -> Finding:
    """Who asks now."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    info = probe.api.request("POST", path, body=body)["status"]["userInfo"]
    is_master = "system:masters" in (info.get("groups") or ())
    return Finding(not is_master, f"you are {info['username']}, {'' if is_master else 'not '}of system:masters")


def wildcards(probe: Probe) -> Finding:
    """Roles with `*`, beside those it comes with."""
    roles = [*probe.items(f"{RBAC}/clusterroles"), *probe.items(f"{RBAC}/roles")]
    wide = [each["metadata"]["name"] for each in roles if not _came_with(each) and _is_wide(each)]
    return _none_of(wide, "further roles with wildcards")


def _is_wide(role: dict[str, Any]) -> bool:
    rules = role.get("rules") or ()
    return any("*" in (rule.get(key) or ()) for rule in rules for key in ("verbs", "resources", "apiGroups"))


def _came_with(obj: dict[str, Any]) -> bool:
    return BOOTSTRAPPED in (obj["metadata"].get("labels") or {})


def default_accounts(probe: Probe) -> Finding:
    """Those whose tokens are mounted without anybody saying so."""
    mounted = [
        each["metadata"]["namespace"]
        for each in probe.items("/api/v1/serviceaccounts")
        if each["metadata"]["name"] == "default" and each.get("automountServiceAccountToken") is not False
    ]
    return _none_of(mounted, "namespaces whose default account mounts tokens")


def mounted_tokens(probe: Probe) -> Finding:
    """Pods that get the default account's token."""
    pods = [
        f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        for each in probe.items("/api/v1/pods")
        if each["spec"].get("automountServiceAccountToken") is not False
        and each["spec"].get("serviceAccountName", "default") == "default"
    ]
    return _none_of(pods, "pods with the default account's token")


def policies(probe: Probe) -> Finding:
    """Something judges what is admitted."""
    root = "/apis/admissionregistration.k8s.io/v1"
    kinds = ("validatingadmissionpolicybindings", "validatingwebhookconfigurations", "mutatingwebhookconfigurations")
    counts = {kind: len(probe.items(f"{root}/{kind}")) for kind in kinds}
    return Finding(any(counts.values()), ", ".join(f"{count} {kind}" for kind, count in counts.items()))


def trust(probe: Probe) -> Finding:
    """Packs must be signed somewhere."""
    found = [each["metadata"]["name"] for each in probe.items("/apis/stark.dev/v1/packtrustpolicies")]
    return Finding(bool(found), f"PackTrustPolicies: {_named(found)}" if found else "no PackTrustPolicy")


def secret_env(probe: Probe) -> Finding:
    """Pods whose environment has secrets."""
    pods = [
        f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        for each in probe.items("/api/v1/pods")
        for container in every_written(each["spec"])
        if any("secretKeyRef" in (variable.get("valueFrom") or {}) for variable in container.get("env") or ())
        or any("secretRef" in source for source in container.get("envFrom") or ())
    ]
    return _none_of(dict.fromkeys(pods), "pods with secrets in their environment")


def default_empty(probe: Probe) -> Finding:
    """Nothing runs in `default`."""
    found = [
        f"{kind}/{each['metadata']['name']}"
        for kind, root in (("pod", "/api/v1"), ("deployment", "/apis/apps/v1"))
        for each in probe.items(f"{root}/namespaces/default/{kind}s")
    ]
    return _none_of(found, "workloads in the namespace default")


def encryption(probe: Probe) -> Finding:
    """No secret is in clear."""
    found = probe.api.get("/encryption")["data"]["encryption"]
    covers = any("secrets" in entry["resources"] and entry["writes"] for entry in found["resources"])
    in_clear = int(found["valuesInClear"])
    writes = "secrets are encrypted" if covers else "secrets are not encrypted"
    return Finding(covers and not in_clear, f"{writes}, {len(found['keys'])} keys, {in_clear} values in clear")


OTHERS: Final = 0o077
CHECKS: Final[dict[str, Check]] = {
    "store_mode": partial(_modes, ("store",), "", OTHERS),
    "store_owner": partial(_owners, ("store",), ""),
    "admin_mode": partial(_modes, ("admin.kubeconfig",), "", OTHERS),
    "admin_owner": partial(_owners, ("admin.kubeconfig",), ""),
    "controllers_mode": partial(_modes, ("controllers.kubeconfig",), "", OTHERS),
    "controllers_owner": partial(_owners, ("controllers.kubeconfig",), ""),
    "pki_owner": partial(_owners, ("pki",), "**/*"),
    "pki_mode": partial(_modes, ("pki",), "", OTHERS),
    "key_mode": partial(_modes, ("pki",), "*.key", OTHERS),
    "static_tokens": static_tokens,
    "anonymous": anonymous,
    "stranger_denied": partial(_denied, "list", "pods", "", ""),
    "node_denied": node_denied,
    "rbac": rbac,
    "bad_refused": partial(_dry_run, "/api/v1/namespaces/default/pods", _pod(containers=[]), (422,)),
    "account_admission": partial(
        _dry_run, "/api/v1/namespaces/default/pods", _pod(serviceAccountName="stark-cis-none"), (403, 422)
    ),
    "namespace_admission": partial(
        _dry_run,
        "/api/v1/namespaces/stark-cis-none/configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cis"}},
        (403, 404),
    ),
    "node_restriction": node_restriction,
    "profiling": profiling,
    "audit_log": audit_log,
    "audit_age": partial(_audit_at_least, "ageMaxDays", 30, "days"),
    "audit_files": partial(_audit_at_least, "filesMax", 10, "files"),
    "audit_size": partial(_audit_at_least, "fileBytesMax", 100_000_000, "bytes"),
    "account_keys": account_keys,
    "tls": tls,
    "encryption": encryption,
    "ciphers": ciphers,
    "root_ca": root_ca,
    "cluster_admin": cluster_admin,
    "secrets_access": partial(_denied, "list", "secrets", "", ""),
    "wildcards": wildcards,
    "pods_access": partial(_denied, "create", "pods", "", ""),
    "default_accounts": default_accounts,
    "mounted_tokens": mounted_tokens,
    "masters": masters,
    "escalation": partial(_denied, "escalate", "clusterroles", "rbac.authorization.k8s.io", ""),
    "approval": partial(_denied, "update", "certificatesigningrequests", "certificates.k8s.io", "approval"),
    "webhooks": partial(_denied, "create", "mutatingwebhookconfigurations", "admissionregistration.k8s.io", ""),
    "account_tokens": partial(_denied, "create", "serviceaccounts", "", "token"),
    "policies": policies,
    "secret_env": secret_env,
    "trust": trust,
    "default_empty": default_empty,
}
