"""Where a Service's pods are reached. `planning` decides, `controller` writes the slices."""
