"""Exec and attach: the channel protocol of Kubernetes over WebSockets, and a container's streams at its other end."""

from .remote import Containers, NoContainer, NoPod, Place, RemoteStreams

__all__ = ["Containers", "NoContainer", "NoPod", "Place", "RemoteStreams"]
