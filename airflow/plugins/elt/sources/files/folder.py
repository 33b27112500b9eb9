"""Files of a table at one instant: paths, sizes and hashes of their bytes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from warehouse.errors import TerminalError

from elt.errors import SnapshotGoneError, SourceRefusedError
from elt.sources.files.options import FilesTable

_BLOCK = 1 << 20
_HIDDEN = (".", "~$")
"""Begins the names of files that programs make beside those that people work on."""
_SHORT = 16


class FilesChangedError(SnapshotGoneError):
    """A file is not as it was when the run began."""

    def __init__(self, what: str) -> None:
        self.snapshot = what
        TerminalError.__init__(
            self, f"{what} has changed since the run began; nothing was published, start the run again"
        )


@dataclass(frozen=True)
class FoundFile:
    """A file of a table."""

    path: Path
    name: str
    """Path below the folder, with `/` between its parts."""
    size: int
    sha256: str
    """Hash of the file's bytes; empty before they were read."""

    @contextmanager
    def opened(self) -> Iterator[HashedFile]:
        """Opens the file. Raises FilesChangedError at the end unless the bytes are those of the hash."""
        with _errors(self.name), self.path.open("rb", buffering=0) as raw:
            stream = HashedFile(raw)
            yield stream
            if stream.digest() != self.sha256:
                raise FilesChangedError(f"The file {self.name}")


class HashedFile(io.RawIOBase):
    """A file whose bytes are hashed as they are read from its beginning to its end."""

    def __init__(self, raw: BinaryIO | io.RawIOBase) -> None:
        self._raw = raw
        self._hash = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        count = self._raw.readinto(view) or 0  # type: ignore[union-attr]
        self._hash.update(view[:count])
        self.bytes += count
        return count

    @property
    def descriptor(self) -> int:
        """The open file, for a library that seeks; what it reads is not hashed."""
        return self._raw.fileno()

    def digest(self) -> str:
        """Reads what is left and returns the hash of all bytes."""
        buffer = bytearray(_BLOCK)
        while self.readinto(buffer):
            pass
        return self._hash.hexdigest()


def find(folder: Path, entry: FilesTable) -> tuple[FoundFile, ...]:
    """Returns the files of a table without their hashes, by name. Raises SourceRefusedError where there is none."""
    root = folder.resolve()
    if not root.is_dir():
        raise SourceRefusedError(
            f"{entry.name}: there is no folder {folder}; create it, or correct url: in pipeline.yml"
        )
    with _errors(str(folder)):
        found = [path for path in root.glob(entry.path) if path.is_file() and not path.name.startswith(_HIDDEN)]
    if outside := [path for path in found if not path.resolve().is_relative_to(root)]:
        raise SourceRefusedError(
            f"{entry.name}: {outside[0].relative_to(root)} is a link that leaves the folder {folder}; put the file itself there"
        )
    if not found:
        raise SourceRefusedError(
            f"{entry.name}: no file in {folder} matches {entry.path}; put one there, or correct path: in pipeline.yml"
        )
    names = sorted({path.relative_to(root).as_posix(): path for path in found}.items())
    with _errors(str(folder)):
        return tuple(FoundFile(path, name, path.stat().st_size, "") for name, path in names)


def read_hashes(files: Sequence[FoundFile], beat: Callable[[], None] = lambda: None) -> tuple[FoundFile, ...]:
    """Returns the files with the hashes of their bytes, all of which are read."""
    hashed = []
    for file in files:
        with _errors(file.name), file.path.open("rb", buffering=0) as raw:
            stream = HashedFile(raw)
            digest = stream.digest()
        hashed.append(FoundFile(file.path, file.name, stream.bytes, digest))
        beat()
    return tuple(hashed)


def digest(files: Sequence[FoundFile]) -> str:
    """Returns 16 hex digits for names, sizes and bytes of the files."""
    listed = json.dumps([[file.name, file.size, file.sha256] for file in files], ensure_ascii=False)
    return hashlib.sha256(listed.encode()).hexdigest()[:_SHORT]


def version_text(files: Sequence[FoundFile], facts: str) -> str:
    """Returns the version of a table: equal only for the same bytes under the same names, read in the same way."""
    listed = {file.name: file.sha256[:_SHORT] for file in files}
    return json.dumps({"facts": facts, "files": listed}, separators=(",", ":"), ensure_ascii=False)


def vanished(before: str, now: str) -> list[str]:
    """Returns the names of files that version `before` had and version `now` has not."""
    return [name for name in _names(before) if name not in _names(now)]


def _names(version: str) -> Mapping[str, str]:
    try:
        found = json.loads(version)["files"]
    except (ValueError, KeyError, TypeError):
        # A version that another kind of source has written, or none.
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise FilesChangedError(f"The file {name}") from None
    except (PermissionError, IsADirectoryError) as error:
        raise SourceRefusedError(
            f"{name} cannot be read ({error.strerror}); give the loader's user the right to read it"
        ) from None
    except OSError as error:
        raise SourceRefusedError(
            f"{name} cannot be read ({error.strerror or error}); correct that and run again"
        ) from None
