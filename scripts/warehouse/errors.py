"""Errors whose base class says whether trying again can help; the message names cause and cure."""

from __future__ import annotations

from typing import Self

UNKNOWN_TABLE = 60
TABLE_EXISTS = 57
TABLE_IS_DROPPED = 218
AUTHENTICATION_FAILED = 516
ACCESS_DENIED = 497
UNKNOWN_DATABASE = 81
UNKNOWN_COLUMN = 16
"""Of an INSERT."""

PASSING = frozenset({159, 160, 164, 202, 203, 209, 210, 212, 241, 242, 243, 252, 319, 394, 439, 473, 499, 999})
"""ClickHouse's codes for what passes: timeouts, memory, disk, parts, connections, shutdown, Keeper.

https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
"""


class PipelineError(Exception):
    """Anything that a part of the pipeline refuses or fails at, in one sentence."""

    def naming(self, table: str) -> Self:
        """Puts the table before the sentence where it does not name it, and returns the error."""
        if table not in str(self):
            self.args = (f"{table}: {self}",)
        return self


class TerminalError(PipelineError):
    """Trying again can only repeat it: something must be changed first."""


class TransientError(PipelineError):
    """Trying again may help: something was away, busy or interrupted."""


class WarehouseError(PipelineError):
    """ClickHouse refused, or did not answer. `code` is its number for the error, None where it did not answer."""

    def __init__(self, message: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(message)


class WarehouseRefusedError(WarehouseError, TerminalError):
    """ClickHouse answered with an error that stays."""


class WarehouseUnavailableError(WarehouseError, TransientError):
    """ClickHouse does not answer, hung up, or is short of something."""
