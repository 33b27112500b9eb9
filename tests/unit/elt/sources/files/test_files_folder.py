"""Which files a pattern finds, and how a changed or vanished one is noticed."""

import ctypes
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from elt.errors import SourceRefusedError
from elt.sources.files.folder import FilesChangedError, Hashes, _matching, digest, find, vanished, version_text
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
    assert [file.name for file in find(folder, entry("*.csv"))] == ["inside.csv"]
    (folder / "leaves.csv").symlink_to(outside)
    with pytest.raises(SourceRefusedError, match=r"leaves\.csv is a link that leaves the folder"):
        find(folder, entry("*.csv"))
    (folder / "leaves.csv").unlink()
    (folder / "up").symlink_to(tmp_path)
    with pytest.raises(SourceRefusedError, match=r"up/secret\.csv is a link that leaves the folder"):
        find(folder, entry("up/*.csv"))


def test_a_file_and_links_to_it_count_once_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "target.csv").write_text("x")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "a.csv").symlink_to(tmp_path / "b" / "target.csv")
    (tmp_path / "latest.csv").symlink_to(tmp_path / "a.csv")
    assert [file.name for file in find(tmp_path, entry("**/*.csv"))] == ["b/target.csv"]
    assert [file.name for file in find(tmp_path, entry("*/*.csv"))] == ["b/target.csv"]
    # The file itself does not match.
    assert [file.name for file in find(tmp_path, entry("*.csv"))] == ["a.csv"]
    assert [file.name for file in find(tmp_path, entry("latest.csv"))] == ["latest.csv"]


@pytest.mark.parametrize("path", ["**/*.csv", "*/*.csv", "*/*/*.csv"])
def test_nothing_in_hidden_folders_matches(tmp_path: Path, path: str) -> None:
    names = ("x/a.csv", "x/y/a.csv", ".snapshot/a.csv", "x/.ipynb_checkpoints/a.csv", "~$x/a.csv", "x/.a.csv")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert {file.name for file in find(tmp_path, entry(path))} <= {"x/a.csv", "x/y/a.csv"}


def test_a_link_into_a_hidden_folder_is_a_file_as_volumes_of_kubernetes_have_it(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_30").mkdir()
    (tmp_path / "..2026_11_30" / "a.csv").write_text("x")
    (tmp_path / "..data").symlink_to("..2026_11_30")
    (tmp_path / "a.csv").symlink_to("..data/a.csv")
    assert [file.name for file in find(tmp_path, entry("**/*.csv"))] == ["a.csv"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("*.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "x/a.csv", "x/y/a.csv", "z/a.csv"]),
        ("x/**/*.csv", ["x/a.csv", "x/y/a.csv"]),
        ("**/y/*.csv", ["x/y/a.csv"]),
        ("**/**/a.csv", ["a.csv", "x/a.csv", "x/y/a.csv", "z/a.csv"]),
        ("[xz]/?.csv", ["x/a.csv", "z/a.csv"]),
        ("x/y/a.csv", ["x/y/a.csv"]),
        ("./x/a.csv", ["x/a.csv"]),
        ("a**.csv", ["a.csv"]),
    ],
)
def test_patterns(tmp_path: Path, path: str, found: list[str]) -> None:
    for name in ("a.csv", "x/a.csv", "x/y/a.csv", "z/a.csv", "x/A.CSV"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [file.name for file in find(tmp_path, entry(path))] == found


FIND = """
import sys
from pathlib import Path
from elt.errors import SourceRefusedError
from elt.sources.files.folder import find
from elt.sources.files.options import FilesTable
try:
    print(*(file.name for file in find(Path(sys.argv[1]), FilesTable(name="t", path=sys.argv[2]))))
except SourceRefusedError as error:
    print(error)
"""


def _no_right_to_every_file() -> None:
    """Takes from root what other users do not have."""
    drop_of_bounding_set, dac_override, dac_read_search = 24, 1, 2
    libc = ctypes.CDLL(None)
    for capability in (dac_override, dac_read_search):
        libc.prctl(drop_of_bounding_set, capability, 0, 0, 0)


@pytest.mark.parametrize(
    ("mode", "path", "says"),
    [
        (0o000, "**/*.csv", "The folder {}/x/shut cannot be read (Permission denied); give the loader's user"),
        (0o000, "x/*/*.csv", "The folder {}/x/shut cannot be read (Permission denied); give the loader's user"),
        (0o000, "x/shut/a.csv", "The folder {}/x/shut cannot be read (Permission denied); give the loader's user"),
        (0o400, "**/*.csv", "The file x/shut/a.csv cannot be read (Permission denied)"),
        (0o100, "x/shut/a.csv", "x/shut/a.csv"),
        (0o000, "x/*.csv", "x/b.csv"),
        (0o000, "*/[!s]*.csv", "x/b.csv"),
    ],
)
def test_a_folder_that_cannot_be_read_is_an_error_where_the_pattern_looks_into_it(
    tmp_path: Path, mode: int, path: str, says: str
) -> None:
    shut = tmp_path / "x" / "shut"
    shut.mkdir(parents=True)
    for folder in (shut, shut.parent):
        (folder / ("a.csv" if folder == shut else "b.csv")).write_text("x")
    shut.chmod(mode)
    try:
        done = subprocess.run(
            [sys.executable, "-c", FIND, str(tmp_path), path],
            env={"PYTHONPATH": ":".join(sys.path)},
            preexec_fn=_no_right_to_every_file,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        shut.chmod(0o700)
    assert done.stdout.startswith(says.format(tmp_path))


def test_a_folder_that_vanishes_while_it_is_walked_is_a_change(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("x")
    files = _matching(tmp_path, ("*", "*.csv"), tmp_path)
    other = {"x": "y", "y": "x"}[next(files).parent.name]
    (tmp_path / other).rename(tmp_path / "z")
    with pytest.raises(FilesChangedError, match=f"The folder {tmp_path}/{other} has changed since the run began"):
        list(files)


def test_the_hash_is_of_the_bytes_and_a_change_while_reading_raises(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x" * 3_000_000)
    (file,) = Hashes().read(find(tmp_path, entry("a.csv")))
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


def test_a_file_that_is_as_it_was_is_hashed_once(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * 3_000_000)
    hashes = Hashes()
    first = hashes.read(find(tmp_path, entry("a.csv")))
    before = _bytes_read()
    assert hashes.read(find(tmp_path, entry("a.csv"))) == first
    assert _bytes_read() - before < 1_000_000
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(b"y" * 3_000_000)
    os.utime(path, ns=times)
    assert hashes.read(find(tmp_path, entry("a.csv"))) != first


def _bytes_read() -> int:
    """Bytes that this process has read so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_the_digest_changes_with_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "b.csv").write_text("y")

    def now() -> str:
        return digest(Hashes().read(find(tmp_path, entry("*.csv"))))

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
    before = version_text(Hashes().read(find(tmp_path, entry("*.csv"))), "facts")
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    now = version_text(Hashes().read(find(tmp_path, entry("*.csv"))), "facts")
    assert vanished(before, now) == ["b.csv"]
    assert vanished(now, now) == []
    assert vanished("", now) == vanished(json.dumps({"host": "x"}), now) == vanished("[1]", now) == []
