"""Our code changes nothing inside a foreign module or class, but for the fixes of known faults, which stand in one folder."""

import ast
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
# The folders from which our own packages are imported.
ROOTS = ("airflow/plugins", "clickhouse", "scripts", "superset", "superset/config", "benchmarks", "dbt", "")
FIXES = "superset/config/stack_superset/fixes/"


def our_packages() -> set[str]:
    places = [REPO / root for root in ROOTS]
    files = {path.stem for place in places for path in place.glob("*.py")}
    folders = {path.name for place in places for path in place.iterdir() if (path / "__init__.py").exists()}
    # Benchmarks have the names of the services that they measure.
    return (files | folders | {"tests"}) - {"airflow", "dbt", "superset"}


def foreign_changes(source: str, ours: set[str]) -> list[str]:
    """Each statement that assigns to, deletes or sets an attribute of an imported foreign module or class, as `line: code`.

    What it follows: names bound by an import anywhere in the file, attributes and items below them, setattr and delattr.
    """
    tree = ast.parse(source)
    foreign = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0] not in ours
        and not (isinstance(node, ast.ImportFrom) and node.level)
    }

    def is_foreign(node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        return isinstance(node, ast.Name) and node.id in foreign

    def targets(node: ast.AST) -> list[ast.expr]:
        if isinstance(node, ast.Assign | ast.Delete):
            listed = list(node.targets)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For | ast.NamedExpr):
            listed = [node.target]
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            listed = [node.optional_vars]
        else:
            return []
        spread = [part for one in listed for part in (one.elts if isinstance(one, ast.Tuple | ast.List) else [one])]
        return [one for one in spread if isinstance(one, ast.Attribute | ast.Subscript)]

    found = []
    for node in ast.walk(tree):
        is_changed = any(is_foreign(target) for target in targets(node))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
            is_changed = is_foreign(node.args[0])
        if is_changed:
            found.append(f"{node.lineno if hasattr(node, 'lineno') else 0}: {ast.unparse(node)[:80]}")
    return found


# The interpreter's own state, and Flask's of a request: made to be set by a program.
MADE_TO_BE_SET = ("sys.path", "sys.argv", "os.environ", "g.")


def is_made_to_be_set(change: str) -> bool:
    return change.partition(": ")[2].startswith(MADE_TO_BE_SET)


def test_our_code_changes_nothing_foreign_outside_the_fixes() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    ours = our_packages()
    changes = [
        f"{name}:{change}"
        for name in listed.splitlines()
        if not name.startswith((FIXES, "tests/")) and (REPO / name).exists()
        for change in foreign_changes((REPO / name).read_text(), ours)
        if not is_made_to_be_set(change)
    ]
    assert not changes, (
        "Use a documented hook, or, to mend a wrong result, a file in " + FIXES + ":\n" + "\n".join(changes)
    )


@pytest.mark.parametrize(
    "code",
    [
        "import dbt.context.base\ndbt.context.base.get = 1",
        "from dbt.context import base\nbase.get_context_modules = lambda: {}",
        "def f():\n    from jinja2 import Environment\n    Environment.compile = None",
        "from jinja2 import Environment as E\nE.compile: object = None",
        "from jinja2 import Environment\nsetattr(Environment, name, None)",
        "from jinja2 import Environment\ndel Environment.compile",
        "import flask\nflask.json.tag.TAGS['x'] = 1",
        "from a import X, Y\nX.run, Y.build = 1, 2",
        "import urllib3.util as u\nu.url.counter += 1",
    ],
)
def test_a_changed_foreign_attribute_is_found(code: str) -> None:
    assert foreign_changes(code, {"elt"})


@pytest.mark.parametrize(
    "code",
    [
        "from elt import load\nload.copy_rows = None",
        "from . import load\nload.copy_rows = None",
        "import psycopg2\nconnection = psycopg2.connect('')\nconnection.autocommit = True",
        "from jinja2 import Environment\nEnvironment = None",
    ],
)
def test_what_is_ours_or_an_instance_is_not(code: str) -> None:
    assert not foreign_changes(code, {"elt"})
