"""The version of Stark, and the Kubernetes minor version whose wire protocol it speaks.

One place: packaging, `/version`, `starkctl version` and the User-Agent all read it from here.
"""

VERSION = "0.1.0"

KUBERNETES_MAJOR = "1"
KUBERNETES_MINOR = "33"
"""Clients choose their behaviour by this number (kubectl's supported skew is one minor either way)."""

GIT_VERSION = f"v{KUBERNETES_MAJOR}.{KUBERNETES_MINOR}.0+stark-{VERSION}"
