"""Who is asking, and what they may do. Knows nothing of the store: objects are read through a `Lookup`."""
