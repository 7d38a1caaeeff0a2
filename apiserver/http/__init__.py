"""HTTP under the handlers: the only place that knows which library speaks it."""
