"""The verbs of a checkout, called as a user calls them, for every way to run the stack."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values


@dataclass(frozen=True)
class Stack:
    """A checkout and a home of its own; `env` is all that the verbs see of the environment."""

    repo: Path
    home: Path
    env: dict[str, str]

    def call(self, *words: str, seconds: int = 600, check: bool = True, **env: str) -> str:
        """Runs one of the verbs; returns all that it printed. Raises AssertionError with that, unless check=False."""
        answer = subprocess.run(
            [str(self.repo / words[0]), *words[1:]],
            env=self.env | env,
            cwd=self.repo,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert answer.returncode == 0 or not check, (
            f"{' '.join(words)} ended with {answer.returncode}:\n{answer.stdout}\n{self.logs()}"
        )
        return answer.stdout

    def logs(self) -> str:
        """The ends of all logs in the home, for a failed test."""
        parts = []
        for log in sorted((self.home / "logs").glob("*.log")):
            parts.append(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:]))
        return "\n".join(parts)

    def values(self) -> dict[str, str]:
        """Values in the home's .env."""
        return {name: value or "" for name, value in dotenv_values(self.home / ".env").items()}
