"""Requests that a node's agent answers: the API server checks, connects and passes the bytes on."""
