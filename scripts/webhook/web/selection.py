"""Whether a selector can match anything, judged by the names of the project's files: cheap enough for every request."""

import difflib
import re
from pathlib import Path

from webhook.queue.runs import RunRequest

_FOLDERS = ("models", "snapshots", "seeds", "tests")
_SUFFIXES = {".sql", ".csv", ".py"}
# `2+model+1`, `@model`, `+model`: graph operators around a name.
_OPERATORS = re.compile(r"^(?:@|\d*\+)?(?P<name>.*?)(?:\+\d*)?$")
_PLAIN = re.compile(r"^[A-Za-z0-9_.]+$")


def known_names(project: Path) -> set[str]:
    """Names by which dbt selects without a method: models, tests, seeds, snapshots, folders and the project itself."""
    names = set(re.findall(r"^name:\s*['\"]?(\w+)", _text(project / "dbt_project.yml"), re.MULTILINE))
    for folder in _FOLDERS:
        for path in (project / folder).rglob("*"):
            if path.is_dir():
                names.add(path.name)
            elif path.suffix in _SUFFIXES:
                names.add(path.stem)
            elif path.suffix in {".yml", ".yaml"}:
                # Tests and unit tests that are named in a yml; also other things, which makes the check milder.
                names.update(re.findall(r"name:\s*['\"]?(\w+)", _text(path)))
    return names


def _text(path: Path) -> str:
    """Nothing for a file that cannot be read, or was there a moment ago: dbt will say what is wrong with it."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def unknown_names(request: RunRequest, project: Path) -> dict[str, list[str]]:
    """Names in `select` and `exclude` that nothing in the project has, each with the nearest that exist.

    Only plain names are judged; methods (`tag:`, `source:`), paths and wildcards are left to dbt, and so are names of
    generic tests, which dbt makes up.
    """
    if not request.select and not request.exclude:
        return {}
    known = known_names(project)
    unknown: dict[str, list[str]] = {}
    for selector in (*request.select, *request.exclude):
        for part in selector.split(","):
            match = _OPERATORS.match(part)
            name = match["name"] if match else part
            if not _PLAIN.match(name) or Path(name).suffix in _SUFFIXES:
                continue
            if any(step not in known and not _is_generic_test(step, known) for step in name.split(".")):
                unknown[name] = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    return unknown


def _is_generic_test(name: str, known: set[str]) -> bool:
    # dbt calls them <test>_<model>_<column>..., so they contain the name of something known.
    return any(f"_{other}_" in name or name.endswith(f"_{other}") for other in known)
