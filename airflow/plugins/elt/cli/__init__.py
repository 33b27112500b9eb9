"""The loader by hand: python -m elt, and scripts/add_table."""
