"""Readers of files, one for each format: bytes in, batches of texts out."""

from __future__ import annotations

from collections.abc import Iterator

from elt.sources.files.batch import Batch, Broken
from elt.sources.files.folder import FoundFile, HashedFile
from elt.sources.files.options import FilesTable, Format
from elt.sources.files.readers.csv import read_csv
from elt.sources.files.readers.excel import read_excel
from elt.sources.files.readers.jsonl import read_jsonl
from elt.sources.files.readers.parquet import read_parquet

READERS = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet, "excel": read_excel}


def read(file: FoundFile, stream: HashedFile, entry: FilesTable, known: Format) -> Iterator[Batch | Broken]:
    """Yields the rows of an open file in constant memory, except for Excel. Raises TerminalError where the file is none of that format."""
    return READERS[known](file.name, stream, entry)
