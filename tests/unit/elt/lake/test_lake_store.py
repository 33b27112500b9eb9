"""An object is there whole or not at all; what no manifest names is what prune finds."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from elt.lake.__main__ import main
from elt.lake.manifest import LakeObject, Manifest, of_day, publish_manifest, read_instant, run_folder, write_instant
from elt.lake.prune import find_unnamed
from elt.lake.store import Lake, ObjectMissingError
from warehouse.errors import TerminalError

DAY = date(2026, 1, 2)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake((tmp_path / "lake").as_uri())


def fetched(lake: Lake, run: int, pages: int = 2) -> Manifest:
    """A manifest with its objects, as a fetch leaves them."""
    objects = []
    for page in range(pages):
        path = f"{run_folder('api', 'e', DAY, run)}/page-{page + 1:05}.jsonl.gz"
        lake.write(path, b"%d" % run)
        objects.append(LakeObject(path, 1, 1, ""))
    manifest = Manifest("api", "e", DAY, run, NOW, NOW, tuple(objects))
    publish_manifest(lake, manifest)
    return manifest


@pytest.mark.parametrize("url", ["/srv/lake", "file://host/lake", "file:lake", "s3:///x", "http://x/y", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(TerminalError, match="write file:///folder"):
        Lake(url)


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(TerminalError, match="s3fs is not installed"):
        Lake("s3://bucket/prefix")


def test_what_is_written_is_read_listed_and_deleted(lake: Lake, tmp_path: Path) -> None:
    lake.write("a/b c/ü.txt", b"one")
    lake.write("a/b c/ü.txt", b"two")
    assert lake.read("a/b c/ü.txt") == b"two" and lake.exists("a/b c/ü.txt") and lake.names("a") == ["b c"]
    assert [(one.path, one.size) for one in lake.objects()] == [("a/b c/ü.txt", 3)]
    lake.delete("a/b c/ü.txt")
    lake.delete("a/b c/ü.txt")
    assert lake.names("a") == [] and list((tmp_path / "lake").iterdir()) == []
    with pytest.raises(ObjectMissingError, match=r"has no object a/b c/ü\.txt"):
        lake.read("a/b c/ü.txt")


def test_an_object_that_cannot_be_written_leaves_the_old_one_and_nothing_beside(lake: Lake, tmp_path: Path) -> None:
    """Past the limit of a file's size a write fails half-way, as on a full disk."""
    lake.write("a/page", b"old")
    program = (
        "import resource, signal, sys; from elt.lake.store import Lake\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"Lake({lake.url!r}).write('a/page', b'x' * 1000)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "a/page cannot be written in the lake (File too large)" in done.stderr
    assert lake.read("a/page") == b"old" and len(list((tmp_path / "lake" / "a").iterdir())) == 1


def test_a_folder_has_the_rights_of_the_one_it_is_in(lake: Lake, tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    lake.write("a/b/page", b"x")
    assert (tmp_path / "lake" / "a" / "b").stat().st_mode & 0o7777 == 0o2775


def test_the_newest_manifest_is_the_days_and_an_instant_keeps_the_older(lake: Lake) -> None:
    first = fetched(lake, 1)
    digest = write_instant(lake, "api", {"api__e": [first]})
    second = fetched(lake, 2)
    assert of_day(lake, "api", "e", DAY) == second
    assert read_instant(lake, "api", digest) == {"api__e": (first,)}
    assert write_instant(lake, "api", {"api__e": [first]}) == digest
    lake.write(first.path, lake.read(second.path))
    with pytest.raises(TerminalError, match="is not as it was written"):
        read_instant(lake, "api", digest)


def test_prune_finds_what_no_manifest_of_a_day_names(lake: Lake) -> None:
    old, new = fetched(lake, 1), fetched(lake, 2)
    cut = f"{run_folder('api', 'e', DAY, 3)}/page-00001.jsonl.gz"
    half = f"{run_folder('api', 'e', DAY, 3)}/.tmp-1234"
    foreign = "raw/readme.txt"
    write_instant(lake, "api", {"api__e": [new]})
    for path in (cut, half, foreign):
        lake.write(path, b"x")
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert list(find_unnamed(lake, datetime.now(UTC) - timedelta(days=7))) == []
    found = {one.path for one in find_unnamed(lake, later)}
    (instant,) = [f"raw/api/_instants/{name}" for name in lake.names("raw/api/_instants")]
    assert found == {old.path, *(one.path for one in old.objects), cut, half, instant}


def test_the_commands(lake: Lake, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("LAKE_URL", lake.url)
    monkeypatch.setenv("CLICKHOUSE_LOADER_PASSWORD", "x")
    assert main(["ls"]) == 0 and "Nothing is there" in capfd.readouterr().out
    manifest = fetched(lake, 7)
    for one in manifest.objects:
        lake.write(one.path.removesuffix(".gz"), b'{"id":1}\n')
    assert main(["ls"]) == 0
    assert "api/e  2026-01-02  2 items  2 bytes  fetched 2026-01-02 03:04:05 UTC" in capfd.readouterr().out
    assert main(["ls", "api/e"]) == 0 and manifest.objects[0].path in capfd.readouterr().out
    assert main(["cat", manifest.objects[0].path.removesuffix(".gz")]) == 0
    assert capfd.readouterr().out == '{"id":1}\n'
    assert main(["cat", "api/e", "--dt", "2026-01-03"]) == 1
    assert "The lake has nothing of api/e 2026-01-03" in capfd.readouterr().err
    assert main(["prune", "--older-than", "0", "--dry-run"]) == 0
    assert "would delete raw/api/e/dt=2026-01-02/run=7/page-00001.jsonl\n" in capfd.readouterr().out
    assert main(["prune", "--older-than", "0"]) == 0 and of_day(lake, "api", "e", DAY) == manifest
    assert sorted(one.path for one in lake.objects()) == sorted(
        [manifest.path, *(one.path for one in manifest.objects), "raw/api/e/dt=2026-01-02/_manifest.json"]
    )
