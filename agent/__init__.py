"""The hands: runs the pods that are bound to this machine and reports what became of them."""
