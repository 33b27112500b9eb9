"""Names of tables in Postgres, and in `raw`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = r'(?:"(?P<{q}>(?:[^"]|"")+)"|(?P<{p}>[^."]+))'
_QUALIFIED = re.compile("^" + _PART.format(q="qs", p="s") + r"\." + _PART.format(q="qt", p="t") + "$")


@dataclass(frozen=True, order=True)
class TableName:
    """A table of the source, spelled as in its catalogue (no folding of case)."""

    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Parses `schema.table`; a part with a dot or a quote must be a quoted identifier. Raises ValueError."""
        match = _QUALIFIED.match(text)
        if match is None:
            raise ValueError(f"{text!r} is not a table name; write schema.table, as in public.orders")
        schema = match["s"] if match["s"] is not None else match["qs"].replace('""', '"')
        table = match["t"] if match["t"] is not None else match["qt"].replace('""', '"')
        return cls(schema, table)

    def __str__(self) -> str:
        return f"{_plain(self.schema)}.{_plain(self.table)}"

    def matches(self, name: TableName) -> bool:
        """Whether `name` matches this name as a pattern, in which `*` stands for any characters."""
        pairs = ((self.schema, name.schema), (self.table, name.table))
        return all(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), part, re.DOTALL) for pattern, part in pairs)

    @property
    def sql(self) -> str:
        """The name, quoted for Postgres."""
        return f"{quote_postgres(self.schema)}.{quote_postgres(self.table)}"

    @property
    def target(self) -> str:
        """Name in `raw`: the table's own for schema public, else schema__table."""
        return self.table if self.schema == "public" else f"{self.schema}__{self.table}"


def _plain(part: str) -> str:
    return quote_postgres(part) if "." in part or '"' in part else part


def quote_postgres(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
