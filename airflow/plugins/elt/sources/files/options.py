"""Options in pipeline.yml of a folder of files and of its tables."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from elt.pipeline.options import SourceEntry, TableEntry
from elt.sources.files.type_names import type_problem, type_spelled

Format = Literal["csv", "jsonl", "parquet", "excel"]

REJECTS = "__rejects"
"""Ends the name of a table of broken lines."""
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
}
PACKED = ".gz"
HIDDEN = (".", "~$")
"""Begins the names of files and folders that programs make beside those that people work on."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def format_of(name: str) -> Format | None:
    """Returns the format that the ending of a file's name stands for; None for any other ending."""
    path = PurePosixPath(name.lower())
    return _FORMATS.get(path.with_suffix("").suffix if path.suffix == PACKED else path.suffix)


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no table name; write letters, digits and underscores, no digit first")
    return name


def _pattern(path: str) -> str:
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"{path!r} leaves the folder; write a path below it, such as targets-*.csv or **/*.csv")
    if hidden := [part for part in parts.parts if part.startswith(HIDDEN)]:
        raise ValueError(f"{path!r} matches nothing, as files and folders such as {hidden[0]} are left out; rename it")
    return path


def _encoding(name: str) -> str:
    try:
        codec = codecs.lookup(name)
        "".encode(codec.name)
    except (LookupError, ValueError):
        raise ValueError(f"{name!r} is no encoding; write one as utf-8, cp1252 or utf-16") from None
    return name


def _type(text: str) -> str:
    if problem := type_problem(text):
        raise ValueError(problem)
    return type_spelled(text)


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme in ("s3", "gs"):
        raise ValueError(f"{parts.scheme}:// comes with the lake; write a folder as file:///srv/plan")
    path = unquote(parts.path)
    is_folder = parts.scheme == "file" and parts.netloc in ("", "localhost") and path.startswith("/")
    if not is_folder or parts.query or parts.fragment or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{url!r} is no folder; write its whole path, as in file:///srv/plan")
    return url


def _delimiter(value: object) -> object:
    return "\t" if value in ("tab", "\\t") else value


Delimiter = Annotated[str, BeforeValidator(_delimiter), Field(min_length=1, max_length=1)]


class FilesTable(TableEntry):
    """One table: all files that match a pattern."""

    name: Annotated[str, AfterValidator(_name)]
    mode: Literal["full"] = "full"
    path: Annotated[str, AfterValidator(_pattern)]
    """Pattern below the folder; `**` stands for any folders."""
    format: Format | None = None
    """By the ending of each file's name where nothing is said."""
    delimiter: Delimiter | None = None
    """CSV: found among , ; tab and | where nothing is said. `tab` is one, too."""
    quote: Annotated[str, Field(max_length=1)] = '"'
    """CSV: the character around fields; empty for none."""
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    """CSV and JSON lines."""
    header: bool | None = None
    """CSV and Excel: whether the first line has the names of the columns; found where nothing is said."""
    skip: Annotated[int, Field(ge=0)] = 0
    """CSV and Excel: lines before the header."""
    nulls: tuple[str, ...] | None = None
    """CSV: texts that are NULL, quoted or not; a field that is empty and not quoted where nothing is said."""
    decimal: Literal[".", ","] = "."
    """CSV: the decimal point."""
    sheet: str | None = None
    """Excel: the first sheet where nothing is said."""
    types: dict[str, Annotated[str, AfterValidator(_type)]] = Field(default_factory=dict)
    """ClickHouse types of columns, in place of the inferred ones."""
    file_column: Annotated[str, Field(min_length=1)] | None = None
    """Name of a column for the file's path below the folder."""
    rejects: Literal["fail", "table"] = "fail"
    """Whether a broken line fails the load, or becomes a row of the table `<target>__rejects`."""

    @model_validator(mode="after")
    def _fits(self) -> FilesTable:
        if self.quote and self.quote == self.delimiter:
            raise ValueError(f"quote and delimiter are both {self.quote!r}; choose two characters")
        if self.delimiter is not None and self.delimiter in "\r\n":
            raise ValueError("the delimiter cannot be the end of a line; choose another character")
        if gone := [name for name in (*self.key, *self.order_by, *self.types) if name in self.exclude]:
            raise ValueError(
                f"{', '.join(gone)} is excluded; take it out of exclude, or out of key, order_by and types"
            )
        listed = Counter(self.exclude)
        if twice := [name for name, count in listed.items() if count > 1]:
            raise ValueError(f"{', '.join(twice)} stands twice in exclude")
        return self

    @property
    def holds_rejects(self) -> bool:
        """Whether it is the table of another table's broken lines."""
        return self.name.endswith(REJECTS)

    def rejected(self) -> FilesTable:
        """Returns the entry of the table of this table's broken lines, which reads the same files in the same way."""
        target = f"{self.target}{REJECTS}" if self.target else None
        changes = {"name": f"{self.name}{REJECTS}", "target": target, "key": (), "order_by": ("file", "line")}
        return self.model_copy(update=changes | {"partition_by": None})


class FilesSource(SourceEntry):
    """A folder of files."""

    kind: Literal["files"]
    url: Annotated[str, AfterValidator(_url)]
    tables: Annotated[tuple[FilesTable, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _apart(self) -> FilesSource:
        listed = Counter(entry.name for entry in self.tables)
        if twice := [name for name, count in listed.items() if count > 1]:
            raise ValueError(f"the tables {', '.join(twice)} stand twice; give each table a name of its own")
        if taken := [entry.name for entry in self.tables if entry.holds_rejects]:
            raise ValueError(f"{', '.join(taken)} ends in {REJECTS}, which names tables of broken lines; rename it")
        return self

    @property
    def entries(self) -> tuple[FilesTable, ...]:
        """The tables of the file, and behind them those of their broken lines."""
        return (*self.tables, *(table.rejected() for table in self.tables if table.rejects == "table"))

    @property
    def folder(self) -> Path:
        """The folder that `url` names."""
        return Path(unquote(urlsplit(self.url).path))
