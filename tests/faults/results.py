"""Results as JSON lines, so that a start goes on where the one before ended, and the table that is printed of them."""

import hashlib
import json
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from testing.servers import REPO

_PRODUCT = ("airflow", "clickhouse", "dbt", "scripts", "tests/faults")


@dataclass(frozen=True)
class Row:
    """Rounds of one scenario, one start."""

    scenario: str
    seed: int
    rounds: int
    struck: int
    """Rounds whose fault met anybody."""
    recovered: list[float]
    """Seconds from each fault to the next green run."""
    result: str
    """`holds`, or what does not."""
    code: str
    at: str


def code() -> str:
    """A name of the code that is tested: another one begins anew."""
    trees = [_git("rev-parse", f"HEAD:{folder}") for folder in _PRODUCT]
    changes = _git("diff", "HEAD", "--", *_PRODUCT)
    return hashlib.sha256("\n".join([*trees, changes]).encode()).hexdigest()[:12]


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=REPO, capture_output=True, text=True, check=False).stdout


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read(file: Path) -> list[Row]:
    if not file.exists():
        return []
    return [Row(**json.loads(line)) for line in file.read_text().splitlines()]


def append(file: Path, row: Row) -> None:
    with file.open("a") as lines:
        lines.write(json.dumps(asdict(row)) + "\n")


def good_rounds(rows: Iterable[Row], scenario: str, code: str) -> int:
    """Rounds since the last one that failed."""
    count = 0
    for row in rows:
        if (row.scenario, row.code) == (scenario, code):
            count = count + row.struck if row.result == "holds" else 0
    return count


def table(rows: Iterable[Row], says: dict[str, str]) -> str:
    """A row for each scenario, as Markdown."""
    lines = [
        "| scenario | what is done | rounds | faults that struck | back to green, s: median, longest | result |",
        "|---|---|---|---|---|---|",
    ]
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.scenario, []).append(row)
    for name in says:
        if name not in by_name:
            continue
        some = by_name[name]
        recovered = [seconds for row in some for seconds in row.recovered]
        times = f"{statistics.median(recovered):.1f}, {max(recovered):.1f}" if recovered else ""
        bad = [row for row in some if row.result != "holds"]
        result = f"**fails**, seed {bad[-1].seed}" if bad else "holds"
        counts = f"{sum(row.rounds for row in some)} | {sum(row.struck for row in some)}"
        lines.append(f"| `{name}` | {says[name]} | {counts} | {times} | {result} |")
    return "\n".join(lines)
