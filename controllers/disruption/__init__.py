"""Disruption budgets: how many pods may be evicted now. `planning` counts, `controller` writes it down."""
