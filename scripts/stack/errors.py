"""The one error of the service manager."""


class StackError(Exception):
    """Something a person must mend: the message is one sentence with the cause and the cure."""
