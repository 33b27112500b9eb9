"""Objects in an object store, by fsspec. An object is written whole or not at all, and never changed by a reader."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
from warehouse.errors import PipelineError, TerminalError, TransientError

_DRIVERS = {"s3": "s3fs", "gs": "gcsfs"}
_TEMPORARY = ".tmp-"
"""Begins the name of a file that is being written."""


class ObjectMissingError(TerminalError):
    """An object that is not in the lake."""


@dataclass(frozen=True)
class StoredObject:
    """An object as the store lists it."""

    path: str
    """Below the lake, with `/` between its parts."""
    size: int
    modified: datetime


class Lake:
    """The objects below one address."""

    def __init__(self, url: str) -> None:
        """`url` is file:///folder, s3://bucket/prefix or gs://bucket/prefix. Raises TerminalError where no driver is there."""
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self._scheme = parts.scheme
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            self._root = unquote(parts.path).rstrip("/")
        elif parts.scheme in _DRIVERS and parts.netloc:
            self._root = f"{parts.netloc}{parts.path}".rstrip("/")
        else:
            raise TerminalError(f"LAKE_URL is {url!r}; write file:///folder, s3://bucket/prefix or gs://bucket/prefix")
        try:
            self._store: Any = fsspec.filesystem(parts.scheme, use_listings_cache=False)
        except ImportError:
            raise TerminalError(
                f"LAKE_URL begins with {parts.scheme}:// and {_DRIVERS[parts.scheme]} is not installed; "
                "install it beside the loader, or take a file:// address"
            ) from None

    def write(self, path: str, content: bytes) -> None:
        """Puts the object there in one step, in place of an earlier one."""
        with _errors(path, "written"):
            if self._scheme == "file":
                _write_file(Path(self._root) / path, content)
                return
            try:
                self._store.pipe_file(self._full(path), content)
            except FileNotFoundError:
                # There is no such bucket.
                self._store.mkdir(self._root.partition("/")[0])
                self._store.pipe_file(self._full(path), content)

    def read(self, path: str) -> bytes:
        """Raises ObjectMissingError where there is none."""
        with _errors(path, "read"):
            return bytes(self._store.cat_file(self._full(path)))

    def exists(self, path: str) -> bool:
        with _errors(path, "looked up"):
            return bool(self._store.exists(self._full(path)))

    def names(self, folder: str) -> list[str]:
        """Returns the names of what lies directly in a folder, in order; nothing where there is no such folder."""
        with _errors(folder, "listed"):
            try:
                found = self._store.ls(self._full(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted(name for one in found if not (name := one.rstrip("/").rsplit("/", 1)[-1]).startswith(_TEMPORARY))

    def objects(self, folder: str = "") -> Iterator[StoredObject]:
        """Yields every object below a folder, by path, with those that a killed writer left unfinished."""
        with _errors(folder, "listed"):
            found = self._store.find(self._full(folder), detail=True)
        for name, facts in sorted(found.items()):
            yield StoredObject(name[len(self._root) + 1 :], int(facts["size"] or 0), _modified(facts))

    def delete(self, path: str) -> None:
        """Deletes an object; nothing where there is none. Folders that are empty then go, too."""
        with _errors(path, "deleted"), suppress(FileNotFoundError):
            self._store.rm_file(self._full(path))
        if self._scheme == "file":
            root = Path(self._root)
            for folder in (root / path).parents:
                if folder == root or not _removed(folder):
                    break

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")


def _write_file(path: Path, content: bytes) -> None:
    _make_folder(path.parent)
    descriptor, scratch = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Other users read the lake: in a container a person's tools run as another user.
        Path(scratch).chmod(0o644)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make_folder(folder: Path) -> None:
    """Makes the folder with the rights of the one that it is in, so that whoever may write there may write here."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(folder.parent.stat().st_mode & 0o7777)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _modified(facts: dict[str, Any]) -> datetime:
    found = facts.get("mtime") or facts.get("LastModified") or facts.get("updated")
    if isinstance(found, int | float):
        return datetime.fromtimestamp(found, UTC)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    return found if isinstance(found, datetime) else datetime.now(UTC)


@contextmanager
def _errors(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        if what == "read":
            raise ObjectMissingError(f"The lake has no object {path}; fetch it again, or correct LAKE_URL") from None
        raise
    except PermissionError as error:
        raise TerminalError(
            f"{path or 'the lake'} cannot be {what} ({error.strerror or error}); give the loader's user the right to, or correct LAKE_URL"
        ) from None
    except OSError as error:
        raise TransientError(
            f"{path or 'the lake'} cannot be {what} in the lake ({error.strerror or error}); make room or look at the store, then run again"
        ) from None
    except PipelineError:
        raise
    except Exception as error:
        # Drivers of object stores let errors of their own libraries through.
        raise TransientError(
            f"{path or 'the lake'} cannot be {what} in the lake ({type(error).__name__}: {error}); look at the store, then run again"
        ) from error
