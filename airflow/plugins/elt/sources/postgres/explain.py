"""Why a load failed, told by the row of the source that explains it: its table, column, key and value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from warehouse.errors import PipelineError, WarehouseRefusedError, WarehouseUnavailableError

from elt.errors import CountMismatchError, SourceRefusedError, SourceUnavailableError, ValueRefusedError
from elt.sources.postgres import findings
from elt.sources.postgres.findings import Finding
from elt.sources.postgres.mapping import PostgresMapping
from elt.sources.postgres.sessions.server import Server
from elt.sources.postgres.sessions.session import Session

_CONVERSION = (CountMismatchError, SourceRefusedError, WarehouseRefusedError, WarehouseUnavailableError)
"""Errors that a value that cannot be carried may cause."""
_NOT_THE_ENCODING = ("22021",)
# https://www.postgresql.org/docs/current/errcodes-appendix.html: program_limit_exceeded, out_of_memory, internal_error
_TOO_LONG = ("54000", "53200", "XX000")


@dataclass(frozen=True)
class _Explanation:
    """A kind of value that explains some errors, and how the source finds one."""

    explains: Callable[[PipelineError], bool]
    find: Callable[[PostgresMapping, str | None], Finding | None]


def _state(error: PipelineError) -> str | None:
    return error.sqlstate if isinstance(error, SourceRefusedError | SourceUnavailableError) else None


_EXPLANATIONS = (
    _Explanation(lambda error: _state(error) in _NOT_THE_ENCODING, findings.find_no_utf8),
    _Explanation(lambda error: _state(error) in _TOO_LONG, findings.find_too_long),
    _Explanation(lambda error: isinstance(error, _CONVERSION), findings.find_refused),
)


def explain(
    server: Server, mapping: PostgresMapping, condition: str | None, cause: PipelineError
) -> ValueRefusedError | None:
    """Returns the error that names the row that explains `cause`; None where the source has none, or does not answer."""
    found = [one.find(mapping, condition) for one in _EXPLANATIONS if one.explains(cause)]
    for finding in filter(None, found):
        try:
            with Session(server, f"elt explain {mapping.name}") as session:
                rows = session.rows(finding.query)
        except PipelineError:
            continue
        if rows:
            index, value, key = rows[0]
            column = finding.columns[index]
            return ValueRefusedError(
                mapping.name, column.source_name, key, value, finding.because or column.because, finding.cure
            )
    return None
