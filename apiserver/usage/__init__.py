"""What nodes and pods use: asked of the agents when somebody asks us, and served as metrics.k8s.io."""
