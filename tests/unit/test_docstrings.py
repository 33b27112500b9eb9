"""Docstrings begin with a verb in the third person, or a noun, so that a list of them can be scanned."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Only words that are no nouns as well, such as "Start" and "Name".
IMPERATIVES = re.compile(
    r"Accept|Add|Allow|Append|Apply|Ask|Assert|Begin|Bring|Build|Choose|Clear|Close|Collect|"
    r"Compare|Compute|Connect|Convert|Create|Decide|Decode|Define|Delete|Detect|Do|Ensure|Fetch|"
    r"Fill|Find|Finish|Forget|Get|Give|Handle|Have|Ignore|Import|Insert|Keep|Kill|Let|Load|Make|"
    r"Measure|Merge|Parse|Print|Prune|Put|Raise|Read|Refuse|Register|Release|Remove|Replace|"
    r"Restore|Return|Say|Send|Store|Take|Tell|Terminate|Turn|Update|Use|Validate|Verify|Wait|"
    r"Walk|Wrap|Write|Yield"
)


def docstrings(repo: Path) -> Iterator[tuple[str, str]]:
    """Yields the place and the text of every docstring."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=repo, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if not (repo / name).exists():
            continue
        for node in ast.walk(ast.parse((repo / name).read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}: {getattr(node, 'name', 'module')}", ast.get_docstring(node) or ""
            for statement in getattr(node, "body", ()) if isinstance(node, ast.Module | ast.ClassDef) else ():
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield f"{name}:{statement.lineno}", str(statement.value.value)


def test_no_docstring_begins_with_what_or_an_imperative(repo: Path) -> None:
    words = {place: text.split(maxsplit=1)[0] for place, text in docstrings(repo) if text.strip()}
    assert len(words) > 1000
    assert {place: word for place, word in words.items() if word == "What" or IMPERATIVES.fullmatch(word)} == {}
