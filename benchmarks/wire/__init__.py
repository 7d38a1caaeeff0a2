"""What the benchmark of the API server is made of: a client, a server, floors to compare with, crowds of watchers."""
