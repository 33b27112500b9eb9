"""Files of a table at one instant: paths, sizes and hashes of their bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from warehouse.errors import TerminalError

from elt.errors import SnapshotGoneError, SourceRefusedError
from elt.sources.files.options import HIDDEN, FilesTable

_BLOCK = 1 << 20
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
        with _errors(f"The file {self.name}"), self.path.open("rb", buffering=0) as raw:
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
    """Returns the files of a table without their hashes, by name; one that has links beside it once.

    Raises SourceRefusedError where there is none, and for a folder that cannot be read where the pattern looks into it.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise SourceRefusedError(
            f"{entry.name}: there is no folder {folder}; create it, or correct url: in pipeline.yml"
        )
    # By the file itself, whose own name comes before those of its links.
    found: dict[Path, Path] = {}
    for path in sorted(_matching(root, PurePosixPath(entry.path).parts, folder)):
        file = path.resolve()
        if not file.is_relative_to(root):
            raise SourceRefusedError(
                f"{entry.name}: {path.relative_to(root)} is a link that leaves the folder {folder}; put the file itself there"
            )
        if path == file or file not in found:
            found[file] = path
    if not found:
        raise SourceRefusedError(
            f"{entry.name}: no file in {folder} matches {entry.path}; put one there, or correct path: in pipeline.yml"
        )
    names = sorted((path.relative_to(root).as_posix(), path) for path in found.values())
    return tuple(FoundFile(path, name, _size(path, name), "") for name, path in names)


def _size(path: Path, name: str) -> int:
    with _errors(f"The file {name}"):
        return path.stat().st_size


def _matching(folder: Path, pattern: Sequence[str], shown: Path) -> Iterator[Path]:
    """Yields the files below a folder that the parts of a pattern match, one of them perhaps twice. `shown` is the folder for people.

    Other than Path.glob it raises for a folder that cannot be read.
    """
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        if rest:
            yield from _matching(folder, rest, shown)
        # Not into links, which may lead round in a circle.
        for name in _names(folder, shown, "*", is_folder=True, follow=False):
            yield from _matching(folder / name, pattern, shown / name)
        return
    for name in _names(folder, shown, first, is_folder=bool(rest)):
        if rest:
            yield from _matching(folder / name, rest, shown / name)
        else:
            yield folder / name


def _names(folder: Path, shown: Path, pattern: str, *, is_folder: bool, follow: bool = True) -> list[str]:
    """Returns the names of the files, or of the folders, in a folder that one part of a pattern matches."""
    with _errors(f"The folder {shown}"):
        if not set("*?[").intersection(pattern):
            # A folder that may be entered and not listed is enough.
            path = folder / pattern
            return [pattern] if (path.is_dir() if is_folder else path.is_file()) else []
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if fnmatchcase(entry.name, pattern)
                and not entry.name.startswith(HIDDEN)
                and (entry.is_dir(follow_symlinks=follow) if is_folder else entry.is_file())
            ]


class Hashes:
    """Hashes of files, each of which is read once while its folder says that it is as it was.

    A change that the folder does not show is found when the file is read (FoundFile.opened).
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def read(self, files: Sequence[FoundFile]) -> tuple[FoundFile, ...]:
        """Returns the files with the hashes of their bytes."""
        return tuple(map(self._hashed, files))

    def _hashed(self, file: FoundFile) -> FoundFile:
        with _errors(f"The file {file.name}"), file.path.open("rb", buffering=0) as raw:
            before = os.fstat(raw.fileno())
            # The time of the last change of its entry, as the one of its bytes can be set to any.
            state = (before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns, before.st_ctime_ns)
            if state not in self._known:
                stream = HashedFile(raw)
                self._known[state] = stream.digest()
        return replace(file, size=before.st_size, sha256=self._known[state])


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
    return [name for name in _listed(before) if name not in _listed(now)]


def _listed(version: str) -> Mapping[str, str]:
    try:
        found = json.loads(version)["files"]
    except (ValueError, KeyError, TypeError):
        # A version that another kind of source has written, or none.
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Raises the error of a file or folder; `what` names it."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FilesChangedError(what) from None
    except (PermissionError, IsADirectoryError) as error:
        raise SourceRefusedError(
            f"{what} cannot be read ({error.strerror}); give the loader's user the right to read it"
        ) from None
    except OSError as error:
        raise SourceRefusedError(
            f"{what} cannot be read ({error.strerror or error}); correct that and run again"
        ) from None
