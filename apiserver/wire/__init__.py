"""The documents clients read before and around the objects: discovery, OpenAPI, tables, and which of them they asked for.

Pure functions over resources and dicts. Nothing here knows a kind by name or touches the network.
"""
