"""Objects that have lost all their owners: a graph of who belongs to whom, a pure plan for each object, and a thin
actor."""
