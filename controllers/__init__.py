"""The intent: one controller a module, each making the world match one kind of object."""
