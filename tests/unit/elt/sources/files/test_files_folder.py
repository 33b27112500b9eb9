"""Which files a pattern finds, and how a changed or vanished one is noticed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from elt.errors import SourceRefusedError
from elt.sources.files.folder import FilesChangedError, digest, find, read_hashes, vanished, version_text
from elt.sources.files.options import FilesTable


def entry(path: str, **options: Any) -> FilesTable:
    return FilesTable(name="targets", path=path, **options)


def test_files_by_name_below_any_folder_without_those_of_programs(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "x/y/c.csv", "~$a.csv", ".d.csv", "e.txt", "folder.csv/f.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    names = [file.name for file in find(tmp_path, entry("**/*.csv"))]
    assert names == ["a.csv", "b.csv", "folder.csv/f.csv", "x/y/c.csv"]
    assert [file.name for file in find(tmp_path, entry("*.csv"))] == ["a.csv", "b.csv"]


def test_nothing_that_matches_is_an_error_with_folder_and_pattern(tmp_path: Path) -> None:
    with pytest.raises(SourceRefusedError, match=rf"targets: no file in {tmp_path} matches \*\.csv; put one there"):
        find(tmp_path, entry("*.csv"))
    with pytest.raises(SourceRefusedError, match="there is no folder"):
        find(tmp_path / "gone", entry("*.csv"))


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    folder, outside = tmp_path / "plan", tmp_path / "secret.csv"
    folder.mkdir()
    outside.write_text("secret")
    (folder / "inside.csv").write_text("x")
    (folder / "same.csv").symlink_to(folder / "inside.csv")
    assert [file.name for file in find(folder, entry("*.csv"))] == ["inside.csv", "same.csv"]
    (folder / "leaves.csv").symlink_to(outside)
    with pytest.raises(SourceRefusedError, match=r"leaves\.csv is a link that leaves the folder"):
        find(folder, entry("*.csv"))
    (folder / "leaves.csv").unlink()
    (folder / "up").symlink_to(tmp_path)
    with pytest.raises(SourceRefusedError, match=r"up/secret\.csv is a link that leaves the folder"):
        find(folder, entry("up/*.csv"))


def test_the_hash_is_of_the_bytes_and_a_change_while_reading_raises(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x" * 3_000_000)
    (file,) = read_hashes(find(tmp_path, entry("a.csv")))
    assert (file.sha256, file.size) == (hashlib.sha256(b"x" * 3_000_000).hexdigest(), 3_000_000)
    with file.opened() as stream:
        assert stream.read(10) == b"x" * 10
    with pytest.raises(FilesChangedError, match=r"a\.csv has changed since the run began; nothing was published"):  # noqa: SIM117
        with file.opened() as stream:
            stream.read(10)
            (tmp_path / "a.csv").write_bytes(b"x" * 2_999_999 + b"y")
    (tmp_path / "a.csv").unlink()
    with pytest.raises(FilesChangedError), file.opened():
        pass


def test_the_digest_changes_with_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "b.csv").write_text("y")

    def now() -> str:
        return digest(read_hashes(find(tmp_path, entry("*.csv"))))

    seen = {now()}
    (tmp_path / "a.csv").write_text("z")
    seen.add(now())
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    seen.add(now())
    (tmp_path / "c.csv").unlink()
    seen.add(now())
    assert len(seen) == 4 and all(len(one) == 16 for one in seen)


def test_vanished_files_are_those_of_the_version_before(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(name)
    before = version_text(read_hashes(find(tmp_path, entry("*.csv"))), "facts")
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    now = version_text(read_hashes(find(tmp_path, entry("*.csv"))), "facts")
    assert vanished(before, now) == ["b.csv"]
    assert vanished(now, now) == []
    assert vanished("", now) == vanished(json.dumps({"host": "x"}), now) == vanished("[1]", now) == []
