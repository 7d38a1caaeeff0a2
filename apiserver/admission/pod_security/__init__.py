"""Kubernetes' Pod Security Standards, by the labels of namespaces (pod-security.kubernetes.io)."""

from .levels import Policy
from .plugin import pod_security, security_concerns

__all__ = ["Policy", "pod_security", "security_concerns"]
