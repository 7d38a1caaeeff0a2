"""One API server in several processes: a supervisor, the one who keeps what there is one of, and workers that serve."""
