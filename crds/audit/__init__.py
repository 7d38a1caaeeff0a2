"""The form of the audit log: how its lines are chained, what vouches for their end, and how they are read and searched."""
