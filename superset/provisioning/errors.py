"""Errors of provisioning."""


class ProvisionError(Exception):
    """One sentence: what is wrong, and the cure."""
