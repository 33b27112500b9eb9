"""What can go wrong when Superset is provisioned."""


class ProvisionError(Exception):
    """One sentence: what is wrong, and the cure."""
