"""Paths of one stack."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Paths:
    """The folders of one stack. `home` is `.stack/` in the repository, or `$STACK_HOME`."""

    home: Path
    env_file: Path
    venvs: Path
    repo: Path = REPO

    @property
    def version(self) -> str:
        """Version of the project, from the file VERSION."""
        return (self.repo / "VERSION").read_text().strip()

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run(self) -> Path:
        return self.home / "run"

    def python(self, environment: str) -> Path:
        return self.venvs / environment / "bin" / "python"


def find_paths(environ: Mapping[str, str] = os.environ) -> Paths:
    """Reads STACK_HOME and STACK_VENVS (shared environments, for tests) from the environment.

    If `.env` is a link, a container sees its target under the target's own name (STACK_ENV_NAME).
    """
    if home_given := environ.get("STACK_HOME"):
        home = Path(home_given).absolute()
        env_file = home / environ.get("STACK_ENV_NAME", ".env")
    else:
        home = REPO / ".stack"
        env_file = REPO / ".env"
    return Paths(home=home, env_file=env_file, venvs=Path(environ.get("STACK_VENVS") or home / "venvs").absolute())


def shown(env_file: Path) -> str:
    """Returns the path of `.env` for messages: the user's path, also inside a container."""
    return os.environ.get("STACK_ENV_FILE") or str(env_file)


def content_hash(repo: Path, names: tuple[str, ...]) -> str:
    """Returns a hash of the names and contents of files and of all files below folders, without compiled Python."""
    digest = hashlib.sha256()
    for name in names:
        top = repo / name
        files = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(repo)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
