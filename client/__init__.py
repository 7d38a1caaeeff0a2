"""The door: how every program of ours, except the API server itself, reads and changes objects."""
