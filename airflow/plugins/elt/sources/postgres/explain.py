"""Why a load failed, told by the row of the source that explains it: its table, column, key and value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from warehouse.client import Warehouse
from warehouse.errors import PipelineError, WarehouseRefusedError, WarehouseUnavailableError

from elt.destination import statements
from elt.destination.statements import Finding, TableMapping
from elt.errors import CountMismatchError, SourceRefusedError, SourceUnavailableError, ValueRefusedError
from elt.settings import Settings
from elt.sources.postgres.session import Source

_CONVERSION = (CountMismatchError, SourceRefusedError, WarehouseRefusedError, WarehouseUnavailableError)
"""Errors that a value that cannot be carried may cause."""
_NOT_THE_ENCODING = ("22021",)
# https://www.postgresql.org/docs/current/errcodes-appendix.html: program_limit_exceeded, out_of_memory, internal_error
_TOO_LONG = ("54000", "53200", "XX000")


@dataclass(frozen=True)
class _Explanation:
    """A kind of value that explains some errors, and how the source finds one."""

    explains: Callable[[PipelineError], bool]
    find: Callable[[TableMapping, str | None], Finding | None]


def _state(error: PipelineError) -> str | None:
    return error.sqlstate if isinstance(error, SourceRefusedError | SourceUnavailableError) else None


_EXPLANATIONS = (
    _Explanation(lambda error: _state(error) in _NOT_THE_ENCODING, statements.find_no_utf8),
    _Explanation(lambda error: _state(error) in _TOO_LONG, statements.find_too_long),
    _Explanation(lambda error: isinstance(error, _CONVERSION), statements.find_refused),
)


def explain(
    settings: Settings, warehouse: Warehouse, mapping: TableMapping, condition: str | None, cause: PipelineError
) -> None:
    """Raises ValueRefusedError instead of `cause` when the source has a row that explains it."""
    findings = [one.find(mapping, condition) for one in _EXPLANATIONS if one.explains(cause)]
    for finding in filter(None, findings):
        try:
            # A server that is away needs no explanation by the source's rows.
            warehouse.rows("SELECT 1")
            with Source(settings, f"elt explain {mapping.table.name}") as source:
                found = source.rows(finding.query)
        except PipelineError:
            continue
        if found:
            index, value, key = found[0]
            column = finding.columns[index]
            raise ValueRefusedError(
                str(mapping.table.name), column.source_name, key, value, finding.because or column.because, finding.cure
            )
