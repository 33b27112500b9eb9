"""The one error of the service manager."""


class StackError(Exception):
    """An error for the user: the message is one sentence with the cause and the cure."""
