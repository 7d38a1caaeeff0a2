"""The supervisor ("shim"): one tiny process per pod that owns the pod's processes, whatever happens to the agent.

`shim`, `process`, `logfile` and `wire` run inside the shim under `python -I -S`, so they import nothing but C modules
and `os`, and nothing from the rest of the project. `link` is the agent's end of the shim's Unix socket.
"""
