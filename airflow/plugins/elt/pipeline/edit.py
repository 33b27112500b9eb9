"""Adds an entry to pipeline.yml: one line at the end of the list, everything else unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml
from warehouse.errors import TerminalError

from elt.pipeline.file import Models, read_pipeline
from elt.pipeline.options import SourceEntry, TableEntry


def add_entry(path: Path, models: Models, source_name: str, name: str, options: Mapping[str, object]) -> TableEntry:
    """Adds `name` with its options to the source and returns the entry; returns an existing entry unchanged.

    With `tables: all` the table is included already, and the file stays unchanged. Raises PipelineFileError, with the file unchanged, if the entry would be
    invalid, TerminalError for a source whose tables need more than a name.
    """
    before = path.read_text(encoding="utf-8")
    source = read_pipeline(path, models).find(source_name)
    wanted = source.table(name)
    if existing := _find(source, wanted):
        return existing
    if not source.is_complete:
        if pattern := source.excluded_by(wanted):
            raise TerminalError(f"{path} leaves {name} out by exclude: {pattern}; take that out to copy it")
        if options:
            raise TerminalError(
                f"{path} says tables: all, which copies {name} whole; write it under options: to copy it in another way"
            )
        return source.filled(wanted)
    path.write_text(_with_line(path, before, source_name, _line(name, options)), encoding="utf-8")
    try:
        found = _find(read_pipeline(path, models).find(source_name), wanted)
    except BaseException:
        path.write_text(before, encoding="utf-8")
        raise
    if found is None:
        raise TerminalError(f"Somebody else has changed {path} meanwhile; look at it, then try again")
    return found


def _find(source: SourceEntry, wanted: TableEntry) -> TableEntry | None:
    return next((entry for entry in source.entries if entry.name == wanted.name), None)


def _line(name: str, options: Mapping[str, object]) -> str:
    # JSON is valid YAML, with all necessary quotes.
    pairs = [f"{key}: {_plain(value)}" for key, value in {"name": name, **options}.items()]
    return f"- {{{', '.join(pairs)}}}" if options else f"- name: {_plain(name)}"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(one) for one in value)}]"
    text = str(value)
    return text if text.replace("_", "").replace(".", "").isalnum() else json.dumps(text, ensure_ascii=False)


def _with_line(path: Path, text: str, source_name: str, line: str) -> str:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    source = next(one for one in _value(node, "sources").value if _value(one, "name").value == source_name)
    tables = _value(source, "tables")
    if not isinstance(tables, yaml.SequenceNode) or tables.flow_style or not tables.value:
        raise TerminalError(
            f"The list of tables in {path} is written in brackets; write one table a line, then add more"
        )
    lines = text.splitlines()
    end = tables.end_mark.line if tables.end_mark.column == 0 or tables.end_mark.line < len(lines) else len(lines)
    while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
        end -= 1
    # The position of an entry is after its dash.
    indent = lines[tables.value[0].start_mark.line].index("-")
    return "\n".join([*lines[:end], " " * indent + line, *lines[end:]]) + "\n"


def _value(node: yaml.Node | None, key: str) -> yaml.Node:
    if not isinstance(node, yaml.MappingNode):
        raise TerminalError(
            f"pipeline.yml has no mapping in which {key}: could stand; python -m elt check names mistakes"
        )
    found: yaml.Node = next(value for name, value in node.value if name.value == key)
    return found
