"""Deployments: equal pods by way of ReplicaSets, and rollouts from one template to the next (Kubernetes' algorithm).

`strategy` turns percentages into numbers, `revisions` knows which ReplicaSet is the new one, `scaling` says how large
each should be, `status` says how far it is, `planning` puts the four together into one `Plan`. All are pure;
`controller` carries the plan out.
"""
