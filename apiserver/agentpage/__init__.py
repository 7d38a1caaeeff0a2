"""The page at `/agent/`, which makes a browser a node: its files, its tokens, and the logs of its pods."""
