"""pipeline.yml: what comes in. The whole file is validated, and every mistake is reported with its line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError
from warehouse.errors import TerminalError

from elt.errors import PipelineFileError
from elt.pipeline.names import target_problem
from elt.pipeline.options import Options, SourceEntry, TableEntry

Location = tuple[str | int, ...]
Models = Mapping[str, type[SourceEntry]]
"""The options of each kind of source."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# The DAG of a source is elt_<name>; dbt's source of its tables and Airflow's connection to it have its name.
_TAKEN = frozenset({"pipeline", "raw", "raw_own", "warehouse"})


@dataclass(frozen=True)
class PipelineFile:
    """The whole file."""

    path: str
    sources: tuple[SourceEntry, ...]

    @property
    def main(self) -> SourceEntry:
        """The source whose DAG is `elt_pipeline`: the one that keeps its tables' own names, else the first."""
        return next((source for source in self.sources if not source.prefix), self.sources[0])

    def find(self, name: str) -> SourceEntry:
        """The source of that name. Raises TerminalError that names the others."""
        if found := next((source for source in self.sources if source.name == name), None):
            return found
        names = ", ".join(source.name for source in self.sources)
        raise TerminalError(f"{self.path} has no source {name}; it has {names}")


class _Whole(Options):
    """The file's frame; what a source is, its kind says."""

    sources: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]


def read_pipeline(path: Path, models: Models) -> PipelineFile:
    """Returns the validated content of pipeline.yml, with the target of each table filled in.

    Raises PipelineFileError with every mistake and its line, TerminalError if the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TerminalError(f"{path} cannot be read ({reason}); ELT_PIPELINE names the file of tables") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise PipelineFileError(str(path), [f"line {line}: {getattr(error, 'problem', None) or error}"]) from None
    lines: dict[Location, int] = {}
    mistakes = _index(node, (), lines)
    sources = []
    try:
        listed = _Whole.model_validate(content).sources
    except ValidationError as error:
        mistakes += _mistakes(error, (), lines)
        found = content.get("sources") if isinstance(content, dict) else None
        listed = tuple(one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()
        listed = listed if len(listed) == len(found or ()) else ()
    for i, one in enumerate(listed):
        try:
            sources.append(_source(one, models))
        except ValidationError as error:
            mistakes += _mistakes(error, ("sources", i), lines)
        except ValueError as error:
            mistakes.append(f"line {_line(lines, ('sources', i, 'kind'))}: {error}")
    if not mistakes:
        mistakes += [f"line {_line(lines, at)}: {text}" for at, text in _cross(sources)]
    if mistakes:
        raise PipelineFileError(str(path), _sorted(mistakes))
    return PipelineFile(str(path), tuple(sources))


def _source(content: Mapping[str, Any], models: Models) -> SourceEntry:
    """Raises ValidationError for its mistakes, ValueError for a kind that nobody knows."""
    if "kind" not in content:
        raise ValueError("kind is missing")
    model = models.get(content["kind"]) if isinstance(content["kind"], str) else None
    if model is None:
        raise ValueError(f"kind {content['kind']!r} is not one of {', '.join(models)}")
    return model.model_validate(content).with_targets()


def collisions(targets: Sequence[tuple[str, str]]) -> list[str]:
    """Returns a sentence for each name in `raw` that two tables would share; `targets` has names at the source and in `raw`."""
    counts = Counter(target for _, target in targets)
    return [
        f"{' and '.join(name for name, t in targets if t == target)} would both be raw.{target}; give one a target:"
        for target, count in counts.items()
        if count > 1
    ]


def problems(named: Sequence[tuple[str, TableEntry]], others: Sequence[SourceEntry] = ()) -> list[str]:
    """Sentences on names in `raw` that cannot be, of tables with their names at the source; `others` are sources that know theirs alone."""
    found = collisions([(name, entry.target_name) for name, entry in named])
    for name, entry in named:
        if problem := target_problem(entry.target_name):
            found.append(f"raw.{entry.target_name} {problem}")
        for other in others:
            # The source without a prefix looks itself whether its tables have names of others.
            begins = bool(other.prefix) and not other.is_complete and entry.target_name.startswith(other.prefix)
            if begins or entry.target_name in {one.target_name for one in other.entries}:
                found.append(
                    f"{name} would be raw.{entry.target_name}, a name of the source {other.name}; give it a target:"
                )
    return found


def _cross(sources: Sequence[SourceEntry]) -> Iterator[tuple[Location, str]]:
    """Mistakes that only show when sources and tables are seen together."""
    names = Counter(source.name for source in sources)
    plain = [source for source in sources if not source.prefix]
    first: dict[str, str] = {}
    for i, source in enumerate(sources):
        if names[source.name] > 1:
            yield ("sources", i, "name"), f"the name {source.name} is given to more than one source"
        if source.prefix and not _NAME.fullmatch(source.name):
            yield ("sources", i, "name"), f"{source.name!r} begins names of tables; use letters, digits and _"
        if source.prefix and source.name.lower() in _TAKEN:
            yield ("sources", i, "name"), f"{source.name} is a name that the stack uses itself; choose another one"
        if len(plain) > 1 and not source.prefix:
            both = " and ".join(one.name for one in plain)
            yield (
                ("sources", i, "name"),
                f"{both} both have no url:, and SOURCE_URL is the address of one; write url: {{env: NAME}}",
            )
        for j, entry in enumerate(source.entries):
            at = ("sources", i, source.list_name, j, "name")
            name = f"{source.name}: {entry.name}" if len(sources) > 1 else str(entry.name)
            if problem := target_problem(entry.target_name):
                yield at, f"raw.{entry.target_name} {problem}"
            if entry.target_name in first:
                yield at, collisions([(first[entry.target_name], entry.target_name), (name, entry.target_name)])[0]
            first.setdefault(entry.target_name, name)


def _index(node: yaml.Node | None, at: Location, lines: dict[Location, int]) -> list[str]:
    """Fills `lines` with the line of each value; returns duplicate keys."""
    if node is None:
        return []
    lines.setdefault(at, node.start_mark.line + 1)
    twice: list[str] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            if here in lines:
                twice.append(f"line {key.start_mark.line + 1}: {key.value} is given twice")
            lines[here] = key.start_mark.line + 1
            twice += _index(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            twice += _index(value, (*at, i), lines)
    return twice


def _line(lines: Mapping[Location, int], at: Location) -> int:
    """The line of a place in the file, or of what holds it."""
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at, 1)


def _mistakes(error: ValidationError, at: Location, lines: Mapping[Location, int]) -> list[str]:
    return [_mistake(at, e["loc"], e["msg"], e["type"], lines) for e in error.errors(include_url=False)]


def _mistake(at: Location, location: Location, message: str, kind: str, lines: Mapping[Location, int]) -> str:
    path = at
    for place, part in enumerate(location, 1):
        # Pydantic adds tags of a union's branches to the location, which are not in the file.
        if (*path, part) in lines or (kind == "missing" and place == len(location)):
            path = (*path, part)
    name = ".".join(str(p) for p in path) or "the file"
    text = {
        "extra_forbidden": "is not a known key",
        "missing": "is missing",
        "tuple_type": "must be a list",
        "too_short": "needs at least one",
        "model_type": "must be keys with values",
        "dict_type": "must be keys with values",
        "literal_error": message.replace("Input should be", "must be"),
    }.get(kind, message.removeprefix("Value error, "))
    return f"line {_line(lines, path)}: {name}: {text}"


def _sorted(mistakes: list[str]) -> list[str]:
    return sorted(dict.fromkeys(mistakes), key=lambda text: int(text.split(":", 1)[0].removeprefix("line ")))
