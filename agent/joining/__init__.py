"""How an agent comes to its identity and keeps it: discovery of the cluster, join, certificates, their renewal."""

from .join import JoinRefused, JoinSettings, identity_of
from .keeping import IdentityKeeper
from .shelf import Credential, IdentityShelf

__all__ = ["Credential", "IdentityKeeper", "IdentityShelf", "JoinRefused", "JoinSettings", "identity_of"]
