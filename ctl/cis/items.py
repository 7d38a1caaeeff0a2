"""The items: what each asks for, whether Stark meets it as it comes, and why.

`MET` by how Stark is made or comes; `NOT_MET` with what to do about it; `NOT_APPLICABLE` where what it is about does not
exist here; `YOURS` where only whoever runs the cluster can meet it. What a check finds on a running server outweighs what
is said here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MET: Final = "met"
NOT_MET: Final = "not met"
NOT_APPLICABLE: Final = "not applicable"
YOURS: Final = "yours"


class Item(NamedTuple):
    """One item of the benchmark."""

    id: str
    asks: str
    status: str
    reason: str
    check: str = ""
    """The name of what finds it out on a running server; empty when nothing from outside can."""


NO_STATIC_PODS: Final = "the programs are processes of a service manager, not static pods with manifests"
NO_CNI: Final = "pods use their node's network; there is no CNI"
RIGHTLESS: Final = "packs run as users without rights and gain none; isolation class trusted takes the right to use it"
NO_ETCD: Final = "the default store is a SQLite file in the data directory; with --store etcd, set it on etcd"

ITEMS: Final = (
    Item("1.1.1", "API server's pod specification file: mode 600", NOT_APPLICABLE, NO_STATIC_PODS),
    Item("1.1.2", "API server's pod specification file: owner root", NOT_APPLICABLE, NO_STATIC_PODS),
    Item("1.1.3", "controller manager's pod specification file: mode 600", NOT_APPLICABLE, NO_STATIC_PODS),
    Item("1.1.4", "controller manager's pod specification file: owner root", NOT_APPLICABLE, NO_STATIC_PODS),
    Item("1.1.5", "scheduler's pod specification file: mode 600", NOT_APPLICABLE, NO_STATIC_PODS),
    Item("1.1.6", "scheduler's pod specification file: owner root", NOT_APPLICABLE, NO_STATIC_PODS),
    Item("1.1.7", "etcd's pod specification file: mode 600", NOT_APPLICABLE, NO_STATIC_PODS),
    Item("1.1.8", "etcd's pod specification file: owner root", NOT_APPLICABLE, NO_STATIC_PODS),
    Item("1.1.9", "CNI files: mode 600", NOT_APPLICABLE, NO_CNI),
    Item("1.1.10", "CNI files: owner root", NOT_APPLICABLE, NO_CNI),
    Item("1.1.11", "the store's directory: mode 700", MET, "made with mode 0700", "store_mode"),
    Item("1.1.12", "the store's directory: owned by the store's user", MET,
         "owned by the server's user", "store_owner"),
    Item("1.1.13", "administrator's kubeconfig: mode 600", MET, "written with mode 0600", "admin_mode"),
    Item("1.1.14", "administrator's kubeconfig: owner root", MET, "owned by the server's user", "admin_owner"),
    Item("1.1.15", "scheduler's kubeconfig: mode 600", MET, "controllers.kubeconfig, mode 0600", "controllers_mode"),
    Item("1.1.16", "scheduler's kubeconfig: owner root", MET, "owned by the server's user", "controllers_owner"),
    Item("1.1.17", "controller manager's kubeconfig: mode 600", MET, "the same file", "controllers_mode"),
    Item("1.1.18", "controller manager's kubeconfig: owner root", MET, "the same file", "controllers_owner"),
    Item("1.1.19", "the PKI's directory and files: owner root", MET, "owned by the server's user", "pki_owner"),
    Item("1.1.20", "the PKI's certificates: mode 600", MET,
         "the directory is 0700; certificates are public", "pki_mode"),
    Item("1.1.21", "the PKI's keys: mode 600", MET, "written with mode 0600, never wider for a moment", "key_mode"),
    Item("1.2.1", "anonymous requests are off", MET, "but for probes, /version and logging in", "anonymous"),
    Item("1.2.2", "no static tokens", MET, "unless somebody makes pki/tokens.csv", "static_tokens"),
    Item("1.2.3", "DenyServiceExternalIPs", NOT_APPLICABLE,
         "services have no external addresses; the field is not served"),
    Item("1.2.4", "client certificate towards kubelets", MET,
         "the server shows one of the cluster's authority to agents"),
    Item("1.2.5", "kubelets' certificates are verified", MET, "agents must show the certificate of their node's name"),
    Item("1.2.6", "authorization is not AlwaysAllow", MET, "there is no such mode", "stranger_denied"),
    Item("1.2.7", "authorization has Node", MET, "an agent reads only what its own pods name", "node_denied"),
    Item("1.2.8", "authorization has RBAC", MET, "it cannot be turned off", "rbac"),
    Item("1.2.9", "EventRateLimit", MET,
         "by rate limits per user and address, and by fairness, for all requests, not only events"),
    Item("1.2.10", "AlwaysAdmit is off", MET, "there is no such plugin", "bad_refused"),
    Item("1.2.11", "AlwaysPullImages", NOT_APPLICABLE,
         "packs are named by digest, and the digest is verified each time"),
    Item("1.2.12", "ServiceAccount admission", MET, "it cannot be turned off", "account_admission"),
    Item("1.2.13", "NamespaceLifecycle admission", MET, "it cannot be turned off", "namespace_admission"),
    Item("1.2.14", "NodeRestriction admission", MET, "it cannot be turned off", "node_restriction"),
    Item("1.2.15", "the API server is not profiled", MET, "there is no such path", "profiling"),
    Item("1.2.16", "there is an audit log", MET, "always; without one the server does not start", "audit_log"),
    Item("1.2.17", "the audit log is kept 30 days", MET, "--audit-log-maxage 30 is the default", "audit_age"),
    Item("1.2.18", "10 audit files are kept", MET, "--audit-log-maxbackup 10 is the default", "audit_files"),
    Item("1.2.19", "audit files of 100 MB", MET, "--audit-log-maxsize 100 is the default", "audit_size"),
    Item("1.2.20", "requests end in time", MET, "60 s, Kubernetes' default; also bounds on heads, bodies and silence"),
    Item("1.2.21", "tokens of deleted service accounts are refused", MET,
         "account, pod, secret and node are looked up each time"),
    Item("1.2.22", "a key of its own signs service account tokens", MET, "pki/sa.key", "account_keys"),
    Item("1.2.23", "etcd is reached with a client certificate", YOURS,
         "--etcd-certfile, --etcd-keyfile; the default store is no etcd"),
    Item("1.2.24", "the server has a TLS certificate", MET, "always, from the cluster's authority", "tls"),
    Item("1.2.25", "client certificates are verified", MET, "against the cluster's authority and what was revoked"),
    Item("1.2.26", "etcd's certificate is verified", YOURS,
         "--etcd-cafile, or an authority the system trusts; only for etcd"),
    Item("1.2.27", "encryption at rest is configured", MET, "the first start makes pki/encryption.yaml", "encryption"),
    Item("1.2.28", "encryption at rest is strong", MET,
         "AES-256-GCM envelopes; the default writes nothing in clear", "encryption"),
    Item("1.2.29", "strong ciphers only", MET, "TLS 1.2 and later with OpenSSL's own choice", "ciphers"),
    Item("1.3.1", "terminated pods are collected", MET, "by the controller pod-gc, beyond its threshold"),
    Item("1.3.2", "controllers are not profiled", MET, "there is no such path"),
    Item("1.3.3", "controllers have accounts of their own", NOT_MET,
         "all of `stark-controllers` share one identity; none is a master"),
    Item("1.3.4", "the service accounts' private key is configured", MET,
         "made at the first start; only the API server reads it"),
    Item("1.3.5", "pods get the root authority", MET, "ConfigMap kube-root-ca.crt in every namespace", "root_ca"),
    Item("1.3.6", "agents' serving certificates rotate", MET, "agents renew theirs through certificate requests"),
    Item("1.3.7", "controllers listen on loopback", MET, "the default of their health address"),
    Item("1.4.1", "the scheduler is not profiled", MET, "it is one of the controllers"),
    Item("1.4.2", "the scheduler listens on loopback", MET, "it is one of the controllers"),
    Item("2.1", "etcd has a certificate and key", YOURS, NO_ETCD),
    Item("2.2", "etcd wants client certificates", YOURS, NO_ETCD),
    Item("2.3", "etcd makes no certificates by itself", YOURS, NO_ETCD),
    Item("2.4", "etcd's peers have certificates", YOURS, NO_ETCD),
    Item("2.5", "etcd's peers want certificates", YOURS, NO_ETCD),
    Item("2.6", "etcd's peers make no certificates", YOURS, NO_ETCD),
    Item("2.7", "etcd has an authority of its own", YOURS, NO_ETCD),
    Item("3.1.1", "people do not use client certificates", MET, "people log in; admin.kubeconfig is for emergencies"),
    Item("3.1.2", "people do not use service accounts' tokens", YOURS, "people have users: `starkctl auth add-user`"),
    Item("3.1.3", "people do not use bootstrap tokens", MET, "such a token may only ask for a node's certificate"),
    Item("3.2.1", "there is an audit policy", MET, "the default records the metadata of everything", "audit_log"),
    Item("3.2.2", "the audit policy covers what matters", MET,
         "secrets, tokens, pods, exec and RBAC are all in it", "audit_log"),
    Item("5.1.1", "cluster-admin only where needed", MET,
         "bound to system:masters and to role admin", "cluster_admin"),
    Item("5.1.2", "few may read secrets", MET, "users their own; agents those of their pods", "secrets_access"),
    Item("5.1.3", "few wildcards in roles", MET, "none but those of the roles it comes with", "wildcards"),
    Item("5.1.4", "few may create pods", MET, "not whoever is merely known", "pods_access"),
    Item("5.1.5", "default service accounts are not used", NOT_MET,
         "they mount tokens, as in Kubernetes: set automountServiceAccountToken: false", "default_accounts"),
    Item("5.1.6", "tokens only in pods that need them", YOURS,
         "automountServiceAccountToken: false", "mounted_tokens"),
    Item("5.1.7", "system:masters is not used", YOURS,
         "only admin.kubeconfig is in it: lock it away once there are users", "masters"),
    Item("5.1.8", "bind, impersonate, escalate are rare", MET, "only administrators", "escalation"),
    Item("5.1.9", "few may create persistent volumes", NOT_APPLICABLE, "there are none"),
    Item("5.1.10", "few may use nodes/proxy", NOT_APPLICABLE, "there is no such subresource"),
    Item("5.1.11", "few may approve certificates", MET, "administrators and the approving controller", "approval"),
    Item("5.1.12", "few may write webhook configurations", MET, "only administrators", "webhooks"),
    Item("5.1.13", "few may create service accounts' tokens", MET,
         "not whoever is merely known", "account_tokens"),
    Item("5.2.1", "a policy mechanism is active", YOURS,
         "ValidatingAdmissionPolicy, webhooks and PackTrustPolicy; none is set at first", "policies"),
    Item("5.2.2", "no privileged containers", MET, RIGHTLESS),
    Item("5.2.3", "no hostPID", MET, "pods see their own processes alone"),
    Item("5.2.4", "no hostIPC", NOT_MET, "pods share their node's IPC; not in isolation class strict"),
    Item("5.2.5", "no hostNetwork", NOT_MET, "pods share their node's network; not in isolation class strict"),
    Item("5.2.6", "no privilege escalation", MET, RIGHTLESS),
    Item("5.2.7", "no root", MET, RIGHTLESS),
    Item("5.2.8", "no NET_RAW", MET, RIGHTLESS),
    Item("5.2.9", "no added capabilities", MET, RIGHTLESS),
    Item("5.2.10", "no capabilities", MET, RIGHTLESS),
    Item("5.2.11", "no Windows HostProcess", NOT_APPLICABLE, "there are no Windows nodes"),
    Item("5.2.12", "no hostPath volumes", MET,
         "refused but in namespaces labelled privileged; pods see their node's files, as far as their user may"),
    Item("5.2.13", "no host ports", NOT_APPLICABLE, "every port is the node's: there is nothing to ask for"),
    Item("5.3.1", "the network supports policies", NOT_MET, "use the nodes' firewalls"),
    Item("5.3.2", "every namespace has network policies", NOT_MET, "there are none"),
    Item("5.4.1", "secrets in files, not in the environment", YOURS,
         "prefer what is not inherited by child processes", "secret_env"),
    Item("5.4.2", "secrets outside the cluster", YOURS, "they are encrypted at rest; a vault is a choice"),
    Item("5.5.1", "images are proven", YOURS, "sign packs, and set a PackTrustPolicy", "trust"),
    Item("5.7.1", "boundaries by namespaces", YOURS, "namespaces and owners"),
    Item("5.7.2", "seccomp profiles", YOURS,
         "isolation class strict, or seccompProfile RuntimeDefault; neither is the default"),
    Item("5.7.3", "security contexts", YOURS, "packs need none; for container images set them"),
    Item("5.7.4", "the default namespace is empty", YOURS, "make a namespace for each purpose", "default_empty"),
)  # fmt: skip
