"""Where a pod may go: what it demands, what a node offers, and the rules between. Pure.

The scheduler decides by these rules among nodes, the daemonset controller for each of them; so they belong to neither.
"""
