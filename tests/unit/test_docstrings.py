"""Docstrings begin with a verb or a noun, so that a list of them can be scanned."""

import re
import subprocess
from pathlib import Path


def test_no_docstring_begins_with_what(repo: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=repo, capture_output=True, text=True, check=True).stdout
    found = [
        f"{name}:{number}"
        for name in listed.splitlines()
        if (repo / name).exists()
        for number, line in enumerate((repo / name).read_text().splitlines(), 1)
        if re.match(r'\s*r?"""What\b', line)
    ]
    assert not found
