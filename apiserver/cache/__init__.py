"""The watch cache: every object as the bytes that go on the wire, kept current by one watch of the store."""
