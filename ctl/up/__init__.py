"""`starkctl up`: a whole control plane and its agents as child processes of one command."""
