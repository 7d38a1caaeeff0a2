"""The voice: starkctl."""
