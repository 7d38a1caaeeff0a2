"""Nodes that fall silent: conditions, taints, and the pods that have to go. Decisions are pure, `controller` acts."""
