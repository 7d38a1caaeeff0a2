"""What the node and its containers use: counters read from the kernel, and rates made of two readings of them."""

from .counters import Counters, Processes, node_counters
from .sampler import Sampler, Subject, summary

__all__ = ["Counters", "Processes", "Sampler", "Subject", "node_counters", "summary"]
