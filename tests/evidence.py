"""Keeps why a test failed: error, output, logs and open pages, in $TEST_OUTPUT/failed/<test>/, else in .stack/failed/<test>/."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
# Bytes that are kept of a log: its end.
TAIL = 1_000_000

_keepers: list[Callable[[Path], None]] = []


def on_failure(keep: Callable[[Path], None]) -> None:
    """Calls `keep` with the folder of each test that fails from now on, while its fixtures still stand."""
    _keepers.append(keep)


def keep_logs_of(home: Path) -> None:
    """Keeps the ends of all *.log files below a folder. Call it before the servers start: a failed start is kept too."""

    def keep(folder: Path) -> None:
        for log in home.rglob("*.log"):
            copy = folder / "logs" / re.sub(r"[^\w.=-]+", "_", f"{home.name}/{log.relative_to(home)}")
            copy.parent.mkdir(exist_ok=True)
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - TAIL))
                copy.write_bytes(file.read())

    on_failure(keep)


def folder_of(nodeid: str) -> Path:
    """The folder of a test, which is there only after a failure."""
    name = re.sub(r"[^\w.-]+", "-", nodeid.removeprefix("tests/")).strip("-")
    return Path(os.environ.get("TEST_OUTPUT", REPO / ".stack")) / "failed" / name[:200]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    folder = folder_of(item.nodeid)
    if report.when == "setup":
        # That of an earlier run.
        shutil.rmtree(folder, ignore_errors=True)
    if report.failed:
        folder.mkdir(parents=True, exist_ok=True)
        sections = [report.longreprtext, *(f"--- {name}\n{text}" for name, text in report.sections)]
        (folder / f"{report.when}.txt").write_text("\n".join(sections))
        for number, keep in enumerate(_keepers):
            try:
                keep(folder)
            except Exception as error:  # noqa: BLE001 - the test's own failure is told, not this one
                (folder / f"not-kept-{number}.txt").write_text(f"{type(error).__name__}: {error}\n")
        report.sections.append(("kept", f"What says why is kept in {folder}"))
    return report
