"""`python -m stack.container SERVICE`: the entry point of our images. Standard library only.

A long-lived service replaces this process (exec); the commands of a one-shot run one after the other.
"""

import os
import subprocess
import sys
from pathlib import Path

from stack.table.commands import commands


def main(arguments: list[str]) -> int:
    (name,) = arguments
    repo = str(Path(__file__).resolve().parents[2])
    lines = commands(name, python=sys.executable, repo=repo, env=os.environ)
    for line in lines[:-1]:
        code = subprocess.run(line, check=False).returncode
        if code != 0:
            return code
    os.execv(lines[-1][0], lines[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
