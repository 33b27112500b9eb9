"""The kinds of sources. A new one is a folder beside this file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from elt.pipeline import file
from elt.pipeline.file import PipelineFile
from elt.pipeline.options import SourceEntry
from elt.settings import Settings
from elt.sources.base import Source
from elt.sources.files.options import FilesSource
from elt.sources.postgres.options import PostgresSource
from elt.sources.rest.options import RestSource

MODELS: dict[str, type[SourceEntry]] = {"postgres": PostgresSource, "files": FilesSource, "rest": RestSource}
"""Options by kind. The folder of that name has a module `source` with `open_source(settings, entry)`."""


def read_pipeline(path: Path) -> PipelineFile:
    """elt.pipeline.file.read_pipeline with the kinds that there are."""
    return file.read_pipeline(path, MODELS)


def open_source(settings: Settings, entry: SourceEntry) -> Source:
    """The source of an entry; nothing is connected yet. A kind's drivers are imported when its first source is opened."""
    module = import_module(f"elt.sources.{entry.kind}.source")
    opener = cast(Callable[[Settings, SourceEntry], Source], module.open_source)
    return opener(settings, entry)
