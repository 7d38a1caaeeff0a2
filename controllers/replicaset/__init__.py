"""ReplicaSets: a number of equal pods. `planning` decides, `controller` acts."""
