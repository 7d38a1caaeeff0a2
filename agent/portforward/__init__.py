"""`kubectl port-forward`: connections of a client, carried in one upgraded request, to ports of one pod of this node.

`service` answers the request and chooses the protocol: `tunnel` (SPDY, in WebSocket messages or raw) or `channels` (plain
WebSocket, one connection a port). Both hand each connection to `carrying`. `targets` decides which ports may be reached.
"""

from .service import PortForwards
from .targets import Target

__all__ = ["PortForwards", "Target"]
