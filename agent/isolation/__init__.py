"""How much of the machine a pod gets to see and to touch: the classes of isolation, what this machine can do, and what
the supervisor is told for a container of each class."""

from .classes import Unoffered, chosen
from .means import Means
from .plans import Home, Wishes, confine
from .probing import find_means, has_users, is_within, shown_for
from .wishes import wishes_of

__all__ = [
    "Home",
    "Means",
    "Unoffered",
    "Wishes",
    "chosen",
    "confine",
    "find_means",
    "has_users",
    "is_within",
    "shown_for",
    "wishes_of",
]
