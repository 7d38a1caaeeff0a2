"""The bytes of packs: a content-addressed blob store, and the upload and download of bundles."""
