"""The commands, by name: where each lives and what it is for. Nothing here imports a command."""

from __future__ import annotations

from typing import NamedTuple

HELP_HEADING = """starkctl drives a Stark control plane: it runs packs on your machines and tells you how they are.

Usage: starkctl COMMAND [ARGUMENTS] [OPTIONS]"""


class Command(NamedTuple):
    """One command: its module under `verbs`, its subject in the overview, one line about it."""

    module: str
    subject: str
    summary: str


COMMANDS: dict[str, Command] = {
    "up": Command("up", "Start here", "run a control plane and an agent on this machine"),
    "apply": Command("apply", "Objects", "make the cluster match manifests"),
    "get": Command("get", "Objects", "list objects, or watch them"),
    "describe": Command("describe", "Objects", "tell everything about an object, with its events"),
    "explain": Command("explain", "Objects", "tell where a pod goes and why, or what fields mean"),
    "delete": Command("delete", "Objects", "delete objects by name, label or manifest"),
    "scale": Command("scale", "Objects", "set the number of replicas"),
    "label": Command("label", "Objects", "put labels on objects, or take them off"),
    "annotate": Command("annotate", "Objects", "put annotations on objects, or take them off"),
    "logs": Command("logs", "Objects", "print what a pod wrote, or follow it"),
    "exec": Command("exec", "Objects", "run a command in a pod"),
    "deployment create": Command("deployment_create", "Deployments", "run a pack, and keep it running"),
    "deployment list": Command("deployment_list", "Deployments", "list deployments with their versions"),
    "deployment status": Command("deployment_status", "Deployments", "tell how a deployment stands"),
    "deployment scale": Command("deployment_scale", "Deployments", "set how many pods it keeps, or one on every node"),
    "deployment pause": Command("deployment_pause", "Deployments", "let changes wait"),
    "deployment resume": Command("deployment_resume", "Deployments", "end a pause, or the stop after a crash loop"),
    "deployment rollback": Command("deployment_rollback", "Deployments", "go back to another version of the pack"),
    "deployment undo": Command("deployment_undo", "Deployments", "go back to an earlier template"),
    "deployment delete": Command("deployment_delete", "Deployments", "delete it and stop its pods"),
    "rollout status": Command("rollout_status", "Deployments", "wait for the end of a rollout"),
    "rollout history": Command("rollout_history", "Deployments", "list the revisions of a workload"),
    "rollout undo": Command("rollout_undo", "Deployments", "go back to an earlier revision"),
    "rollout pause": Command("rollout_pause", "Deployments", "let changes of a template wait"),
    "rollout resume": Command("rollout_resume", "Deployments", "end a pause"),
    "rollout restart": Command("rollout_restart", "Deployments", "replace every pod by a new one"),
    "pod create": Command("pod_create", "Pods", "run a pack as pods of their own"),
    "pod list": Command("pod_list", "Pods", "list pods with their versions, states and nodes"),
    "pod status": Command("pod_status", "Pods", "tell how a pod stands"),
    "pod history": Command("pod_history", "Pods", "tell what happened to a pod"),
    "pod rollback": Command("pod_rollback", "Pods", "restart a pod with another version of its pack"),
    "pod stop": Command("pod_stop", "Pods", "stop a pod and delete it"),
    "pod logs": Command("pod_logs", "Pods", "print what a pod wrote, or follow it"),
    "pack init": Command("pack_init", "Packs", "make a small pack to begin with"),
    "pack bundle": Command("pack_bundle", "Packs", "make one self-contained file from a project"),
    "pack register": Command("pack_register", "Packs", "upload a bundle as a new version of a pack"),
    "pack list": Command("pack_list", "Packs", "list packs with their latest versions"),
    "pack versions": Command("pack_versions", "Packs", "list the versions of one pack, newest first"),
    "pack info": Command("pack_info", "Packs", "tell everything about a version of a pack"),
    "pack download": Command("pack_download", "Packs", "fetch a bundle from the server"),
    "pack deprecate": Command("pack_deprecate", "Packs", "warn against a version, and let nobody get it by itself"),
    "pack delete": Command("pack_delete", "Packs", "delete a version of a pack, or all of them"),
    "pack keygen": Command("pack_keygen", "Packs", "make a pair of keys for signing packs"),
    "pack sign": Command("pack_sign", "Packs", "sign a version of a pack"),
    "pack verify": Command("pack_verify", "Packs", "verify a pack's bundles and signatures"),
    "auth setup": Command("auth_setup", "Who you are", "create the first administrator of a new server"),
    "auth login": Command("auth_login", "Who you are", "log in with e-mail and password"),
    "auth logout": Command("auth_logout", "Who you are", "end the login"),
    "auth whoami": Command("auth_whoami", "Who you are", "say who you are"),
    "auth status": Command("auth_status", "Who you are", "say whether the server is set up, and whether it knows you"),
    "auth register": Command("auth_register", "Who you are", "create a user for yourself, where that is allowed"),
    "auth password": Command("auth_password", "Who you are", "change your password, or somebody's"),
    "auth sessions": Command("auth_sessions", "Who you are", "list where you are logged in, and end logins"),
    "auth add-user": Command("auth_add_user", "Who you are", "create a user for somebody else"),
    "auth list-users": Command("auth_list_users", "Who you are", "list the users"),
    "auth can-i": Command("auth_can_i", "Who you are", "ask whether you may do something"),
    "auth token": Command("auth_token", "Who you are", "print an access token, for kubectl and scripts"),
    "auth kubeconfig": Command("auth_kubeconfig", "Who you are", "print a kubeconfig that uses the login"),
    "cordon": Command("cordon", "Nodes", "keep new pods off nodes"),
    "uncordon": Command("uncordon", "Nodes", "let new pods on nodes again"),
    "drain": Command("drain", "Nodes", "take the pods off nodes, as their budgets allow"),
    "taint": Command("taint", "Nodes", "put taints on nodes, or take them off"),
    "node list": Command("node_list", "Nodes", "list nodes, how they are and what is used"),
    "node status": Command("node_status", "Nodes", "tell how one node is, and why"),
    "node update": Command("node_update", "Nodes", "change labels and taints of a node"),
    "node maintenance": Command("node_maintenance", "Nodes", "take nodes out of service, or put them back"),
    "node rm": Command("node_rm", "Nodes", "drain nodes and remove them"),
    "node watch": Command("node_watch", "Nodes", "show the table of nodes again and again"),
    "token create": Command("token_create", "Nodes", "make a token by which machines join, and print the command"),
    "token list": Command("token_list", "Nodes", "list the bootstrap tokens"),
    "token delete": Command("token_delete", "Nodes", "delete bootstrap tokens"),
    "token generate": Command("token_generate", "Nodes", "print a random token"),
    "certificate approve": Command("certificate_approve", "Nodes", "approve certificate requests"),
    "certificate deny": Command("certificate_deny", "Nodes", "deny certificate requests"),
    "certificate revoke": Command("certificate_revoke", "Nodes", "take certificates back"),
    "server-config get": Command("server_config_get", "About the server", "print the server's configuration"),
    "server-config set": Command("server_config_set", "About the server", "change the server's configuration"),
    "secrets status": Command("secrets_status", "About the server", "say which keys the store's Secrets are under"),
    "secrets rotate-key": Command(
        "secrets_rotate_key", "About the server", "encrypt the store's Secrets with a new key"
    ),
    "secrets reencrypt": Command(
        "secrets_reencrypt", "About the server", "bring the store's Secrets under the key in use"
    ),
    "secrets retire-key": Command(
        "secrets_retire_key", "About the server", "give up a key that opens nothing any more"
    ),
    "audit list": Command("audit_list", "About the server", "list who did what, and with what outcome"),
    "audit export": Command("audit_export", "About the server", "write audit events as JSON or CSV"),
    "audit verify": Command("audit_verify", "About the server", "say whether the audit log is whole"),
    "audit cis": Command("audit_cis", "About the server", "go through the CIS benchmark on this server"),
    "api-resources": Command("api_resources", "About the server", "list the kinds the server serves"),
    "api-versions": Command("api_versions", "About the server", "list the versions of the API"),
    "version": Command("version", "About the server", "print the versions of starkctl and of the server"),
    "config view": Command("config_view", "Kubeconfig", "print the kubeconfig, without its secrets"),
    "config get-contexts": Command("config_get_contexts", "Kubeconfig", "list the contexts"),
    "config get-clusters": Command("config_get_clusters", "Kubeconfig", "list the clusters"),
    "config get-users": Command("config_get_users", "Kubeconfig", "list the users"),
    "config current-context": Command("config_current_context", "Kubeconfig", "print the context in use"),
    "config use-context": Command("config_use_context", "Kubeconfig", "choose the context in use"),
    "config set-context": Command("config_set_context", "Kubeconfig", "make or change a context"),
    "config set-cluster": Command("config_set_cluster", "Kubeconfig", "make or change a cluster"),
    "config set-credentials": Command("config_set_credentials", "Kubeconfig", "make or change a user"),
    "config rename-context": Command("config_rename_context", "Kubeconfig", "give a context another name"),
    "config delete-context": Command("config_delete_context", "Kubeconfig", "take a context out"),
    "config delete-cluster": Command("config_delete_cluster", "Kubeconfig", "take a cluster out"),
    "config delete-user": Command("config_delete_user", "Kubeconfig", "take a user out"),
    "doctor": Command("doctor", "About the server", "look at everything that is usually wrong, and say what to do"),
    "completion": Command("completion", "About starkctl", "print a completion script for bash, zsh or fish"),
}

GROUPS: dict[str, tuple[str, ...]] = {}
for _name in COMMANDS:
    _group, _space, _word = _name.partition(" ")
    if _space:
        GROUPS[_group] = (*GROUPS.get(_group, ()), _word)

ALIASES = {"ls": "list", "rm": "delete"}
"""Second words that mean another one, as in the original command line."""
GROUP_ALIASES = {"deploy": "deployment", "deployments": "deployment", "pods": "pod", "nodes": "node"}
"""First words that mean another one."""
COMMAND_ALIASES = {"pod run": "pod create", "node delete": "node rm", "node info": "node status"}
"""Whole commands that mean another one."""


def resolve(group: str, word: str) -> str:
    """The command that two words mean, whether there is one or not: `deploy ls` is `deployment list`."""
    name = f"{GROUP_ALIASES.get(group, group)} {word}"
    if name in COMMANDS:
        return name
    return COMMAND_ALIASES.get(name, f"{GROUP_ALIASES.get(group, group)} {ALIASES.get(word, word)}")
