"""Checks selectors against the names of the project's files: cheap enough for every request."""

import difflib
import re
from pathlib import Path

from webhook.queue.runs import RunRequest

_FOLDERS = ("models", "snapshots", "seeds", "tests")
_SUFFIXES = {".sql", ".csv", ".py"}
# `2+model+1`, `@model`, `+model`: graph operators around a name.
_OPERATORS = re.compile(r"^(?:@|\d*\+)?(?P<name>.*?)(?:\+\d*)?$")
_PLAIN = re.compile(r"^[A-Za-z0-9_.]+$")
_SOURCE = re.compile(r"^source:(?P<steps>[A-Za-z0-9_.]+)$")
_READS = re.compile(r"\bsource\(\s*['\"](\w+)['\"]")


def known_names(project: Path) -> set[str]:
    """Returns the names that dbt selects without a method: models, tests, seeds, snapshots, folders and the project itself."""
    names = set(re.findall(r"^name:\s*['\"]?(\w+)", _text(project / "dbt_project.yml"), re.MULTILINE))
    for folder in _FOLDERS:
        for path in (project / folder).rglob("*"):
            if path.is_dir():
                names.add(path.name)
            elif path.suffix in _SUFFIXES:
                names.add(path.stem)
            elif path.suffix in {".yml", ".yaml"}:
                # Named tests and unit tests of a yml. The pattern also matches other names, which only makes the check more lenient.
                names.update(re.findall(r"name:\s*['\"]?(\w+)", _text(path)))
    return names


def sources_read(project: Path) -> set[str]:
    """Returns the sources that a model, snapshot or test reads. One that none reads has nothing that hangs on it."""
    return {
        name
        for folder in _FOLDERS
        for path in (project / folder).rglob("*.sql")
        for name in _READS.findall(_text(path))
    }


def _text(path: Path) -> str:
    """Returns the file's text; empty if the file cannot be read or has just vanished, which dbt will report."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def unknown_names(request: RunRequest, project: Path) -> dict[str, list[str]]:
    """Returns the names in `select` and `exclude` that the project does not have, each with the nearest names that exist.

    It checks plain names, and whether any model reads a source (`source:erp+`). dbt itself checks other methods (`tag:`), paths, wildcards and
    the generated names of generic tests.
    """
    if not request.select and not request.exclude:
        return {}
    known = known_names(project)
    unknown: dict[str, list[str]] = {}
    for selector in (*request.select, *request.exclude):
        for part in selector.split(","):
            match = _OPERATORS.match(part)
            name = match["name"] if match else part
            if source := _SOURCE.match(name):
                read = sources_read(project)
                if not read.intersection(source["steps"].split(".")):
                    unknown[name] = sorted(f"source:{one}" for one in read)
                continue
            if not _PLAIN.match(name) or Path(name).suffix in _SUFFIXES:
                continue
            if any(step not in known and not _is_generic_test(step, known) for step in name.split(".")):
                unknown[name] = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    return unknown


def _is_generic_test(name: str, known: set[str]) -> bool:
    # dbt names them <test>_<model>_<column>..., so they contain a known name.
    return any(f"_{other}_" in name or name.endswith(f"_{other}") for other in known)
