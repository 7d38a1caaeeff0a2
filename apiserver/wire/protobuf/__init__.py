"""Bodies in Kubernetes' protobuf, read into the same mapping that the JSON of the object would give.

kubectl from 1.32 on and most Go clients send their typed objects in this form. What is decided about an object is decided
after this door, by the same schemas and in the same words for both forms; so nothing here validates, and fields that we
do not serve keep their names, for the complaints about unknown fields. Answers are never written in protobuf: every such
client also takes JSON.
"""

from .envelope import decode_protobuf

__all__ = ["decode_protobuf"]
