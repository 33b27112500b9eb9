"""What can go wrong when a shop is generated."""


class ShopError(Exception):
    """One sentence: what is wrong, and the cure."""
