"""Readers of files, one for each format: bytes in, batches of texts out."""

from __future__ import annotations

from collections.abc import Iterator

from warehouse.errors import PipelineError, TerminalError

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
    try:
        yield from READERS[known](file.name, stream, entry)
    except (PipelineError, OSError):
        raise
    except BaseException as error:
        # A panic of a library in Rust is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise TerminalError(
            f"{file.name} cannot be read as {known} ({type(error).__name__}: {error}); write it again, or say format: in pipeline.yml"
        ) from error
