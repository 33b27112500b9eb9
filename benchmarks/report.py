"""Output of every benchmark: its figures against their bars, as a table for people or as JSON."""

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured figure. `bar` is what it must reach, in words such as `>= 0.85`; `holds` is None where there is no bar."""

    metric: str
    value: float
    unit: str
    bar: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def holds(self) -> bool | None:
        if not self.bar:
            return None
        sign, _, limit = self.bar.partition(" ")
        return self.value >= float(limit) if sign == ">=" else self.value <= float(limit)


def whole_size_bar(bar: str, *, quick: bool) -> str:
    """A bar that holds only at the benchmark's whole size, where fixed costs weigh little: none in a quick run."""
    return "" if quick else bar


def of_runs(metric: str, values: list[float], unit: str, bar: str = "") -> Figure:
    """The median of several runs, with their range."""
    return Figure(metric, median(values), unit, bar, min(values), max(values))


def machine() -> dict[str, object]:
    """Facts of the machine: cores, memory (bytes), load (1, 5, 15 minutes), platform, day."""
    return {
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def show(name: str, figures: list[Figure], *, as_json: bool, raw: object = None) -> int:
    """Prints the figures, writes them with `raw` below results/, and returns 0 if every bar holds, else 1."""
    listed = [{**asdict(figure), "holds": figure.holds} for figure in figures]
    if as_json:
        print(json.dumps(listed, indent=1))
    else:
        for figure in figures:
            spread = f"  ({figure.low:,.4g} to {figure.high:,.4g})" if figure.low is not None else ""
            verdict = {True: "holds", False: "FAILS", None: ""}[figure.holds]
            print(f"{figure.metric:58} {figure.value:>12,.4g} {figure.unit:10} {figure.bar:10} {verdict}{spread}")
    RESULTS.mkdir(exist_ok=True)
    day = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    record = {"benchmark": name, "arguments": sys.argv[1:], "machine": machine(), "figures": listed, "raw": raw}
    (RESULTS / f"{name}-{day}.json").write_text(json.dumps(record, indent=1) + "\n")
    return 0 if all(figure.holds is not False for figure in figures) else 1
