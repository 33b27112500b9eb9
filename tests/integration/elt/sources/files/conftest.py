"""A folder of files and the embedded ClickHouse, into which its tables are streamed."""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from elt.destination.inserts import insert_stream, years_held
from elt.mapping import PAD
from elt.pipeline.names import raw
from elt.settings import Settings
from elt.sources.base import Sums
from elt.sources.files.options import FilesSource
from elt.sources.files.source import Files
from elt.sources.files.table import TextTable
from elt.sources.sums import MIX, NULL, NULL_IN_ROW, PRIME, WORD, factor, folded, number
from warehouse.client import Warehouse
from warehouse.quoting import quote

_NUMBERS = itertools.count()
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_FIRST_DAY = datetime(1899, 12, 30)


@dataclass(frozen=True)
class Loaded:
    """A table of `raw` with what was read into it."""

    name: str
    reader: TextTable
    rows: list[tuple[Any, ...]]
    """As ClickHouse gives them, in the order of the file."""

    @property
    def types(self) -> dict[str, str]:
        return {column.name: column.clickhouse for column in self.reader.mapping.columns}

    @property
    def sums(self) -> Sums:
        """The checksums of the files."""
        return self.reader.sums(list(self.types), 1, lambda: None)


@dataclass
class Plan:
    """A source of files."""

    folder: Path
    warehouse: Warehouse
    admin: Any
    made: list[str] = field(default_factory=list)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def workbook(self, name: str, sheets: dict[str, list[list[Any]]]) -> None:
        self.write(name, workbook(sheets))

    def source(self, **table: Any) -> Files:
        """The source with one table `t`, of all files where nothing is said."""
        listed = [{"name": "t", "path": "*"} | table]
        entry = {"name": "plan", "kind": "files", "url": self.folder.as_uri(), "tables": listed}
        return Files(FilesSource.model_validate(entry))

    def load(self, **table: Any) -> Loaded:
        """Holds, joins and copies the table."""
        return self.load_all(**table)[0]

    def load_all(self, **table: Any) -> list[Loaded]:
        """As `load`, with the table of broken lines."""
        source = self.source(**table)
        entries = source.discover().entries
        with (
            source.hold(entries, "tests") as held,
            source.join(entries, "tests", held.instant) as session,
        ):
            return [self.copy(session.describe(entry, years_held(self.warehouse))) for entry in entries]

    def copy(self, reader: TextTable) -> Loaded:
        name = self.create(reader)
        self.insert(name, reader)
        columns = ", ".join(quote(column.name) for column in reader.mapping.columns)
        rows = self.admin.query(f"SELECT {columns} FROM {raw(name)} ORDER BY _order").result_rows
        return Loaded(name, reader, [tuple(row) for row in rows])

    def create(self, reader: TextTable) -> str:
        """Makes the table, and returns its name."""
        name = f"files_{next(_NUMBERS)}"
        self.made.append(name)
        columns = [f"{quote(column.name)} {column.clickhouse}" for column in reader.mapping.columns]
        columns += [f"{PAD} UInt8 EPHEMERAL"] if PAD in reader.mapping.wire else []
        body = ", ".join([*columns, "_order UInt64 DEFAULT rowNumberInAllBlocks()"])
        self.admin.command(f"CREATE TABLE {raw(name)} ({body}) ENGINE = MergeTree ORDER BY tuple()")
        return name

    def insert(self, name: str, reader: TextTable) -> None:
        stream = reader.read(None, lambda rows, size: None)
        written = insert_stream(self.warehouse, raw(name), stream)
        assert written == stream.sent.rows and stream.error is None

    def sums(self, table: Loaded) -> Sums:
        """The checksums of a copy, by ClickHouse."""
        columns = table.reader.numbers()
        numbers = ", ".join(f"{column.clickhouse} AS {number(i)}" for i, column in enumerate(columns))
        mixes = [f"sum(ifNull({_mix(i)}, toInt64({NULL})))" for i in range(len(columns))]
        parts = [
            f"ifNull({number(i)} % toInt64({PRIME}) * toInt64({factor(i)}), toInt64({NULL_IN_ROW * (i + 1)}))"
            for i in range(len(columns))
        ]
        query = f"SELECT count(), sum({folded(parts, 'bitXor({}, {})')}), {', '.join(mixes)} FROM (SELECT {numbers} FROM {raw(table.name)})"
        (row,) = self.warehouse.rows(query)
        return {0: tuple(int(value) % WORD for value in row)}


def _mix(place: int) -> str:
    return MIX.format(number(place), c="toInt64(", d=")")


_PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    # Numbers as they are, days, and days with a time.
    "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/></cellXfs></styleSheet>',
}


def workbook(sheets: dict[str, list[list[Any]]]) -> bytes:
    """An Excel workbook with these cells."""
    names, links = "", f'<Relationship Id="styles" Type="{_OFFICE}/styles" Target="styles.xml"/>'
    parts = dict(_PARTS)
    for sheet, (name, rows) in enumerate(sheets.items(), 1):
        names += f'<sheet name="{escape(name)}" sheetId="{sheet}" r:id="s{sheet}"/>'
        links += f'<Relationship Id="s{sheet}" Type="{_OFFICE}/worksheet" Target="sheet{sheet}.xml"/>'
        lines = "".join(
            f'<row r="{line}">{"".join(_cell(cell, f"{chr(65 + place)}{line}") for place, cell in enumerate(row))}</row>'
            for line, row in enumerate(rows, 1)
        )
        parts[f"xl/sheet{sheet}.xml"] = f'<worksheet xmlns="{_MAIN}"><sheetData>{lines}</sheetData></worksheet>'
    parts["xl/workbook.xml"] = f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>'
    parts["xl/_rels/workbook.xml.rels"] = f'<Relationships xmlns="{_PACKAGE}">{links}</Relationships>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, f'<?xml version="1.0" encoding="UTF-8"?>{content}')
    return out.getvalue()


def _cell(value: Any, place: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, datetime):
        return f'<c r="{place}" s="2"><v>{(value - _FIRST_DAY) / timedelta(days=1)!r}</v></c>'
    if isinstance(value, date):
        return f'<c r="{place}" s="1"><v>{(value - _FIRST_DAY.date()).days}</v></c>'
    return f'<c r="{place}"><v>{value!r}</v></c>'


@pytest.fixture
def plan(clickhouse: Any, tmp_path: Path) -> Iterator[Plan]:
    folder = tmp_path / "plan"
    folder.mkdir()
    environment = clickhouse.env("loader")
    settings = Settings(
        source_url="postgresql://nobody@localhost/none",
        **{key.lower(): value for key, value in environment.items()},
    )
    with clickhouse.client() as admin, Warehouse(settings.warehouse) as warehouse:
        found = Plan(folder, warehouse, admin)
        yield found
        for table in found.made:
            admin.command(f"DROP TABLE IF EXISTS {raw(table)}")
