"""A request and its answer on the wire: heads, forms, codings, blocks, where the statement stands."""
