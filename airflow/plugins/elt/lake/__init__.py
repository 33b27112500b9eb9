"""The lake: objects and manifests in an object store."""
