"""Requests and responses on the wire: heads, forms, codings, blocks, the statement's place in a body."""
