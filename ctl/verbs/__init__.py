"""One module a command: `configure(parser)` declares its options, `run(args, session)` does it."""
