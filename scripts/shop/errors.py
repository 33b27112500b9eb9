"""Errors of the generator."""


class ShopError(Exception):
    """One sentence: what is wrong, and the cure."""
