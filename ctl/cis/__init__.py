"""The CIS Kubernetes Benchmark, version 1.9, on Stark: every item of sections 1, 2, 3 and 5, and what can be found out
about it."""
