"""The store: keys, bytes and revisions, and never a kind. See `protocol` for what every back end guarantees."""
