"""Writes dbt's descriptions of the marts to docs/marts.md and to the datasets of Superset.

`./test.sh fix` calls it, and `./test.sh lint` with `--check`, which only names the files that differ. Types of columns come from
the datasets: dbt does not know them before it has built a mart.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [folder for folder in (str(REPO / "superset"),) if folder not in sys.path]

from provisioning import normal_form  # noqa: E402

PAGE = Path("docs/marts.md")
BEGIN = "<!-- From dbt's descriptions, by ./test.sh fix. -->\n"
END = "<!-- End of dbt's descriptions. -->\n"
LAYERS = ("fact_", "dim_", "agg_")
DATABASE = "analytics"


class DescribeError(Exception):
    """A mart that cannot be described; the message says what to do."""


def marts_in(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models of the layer marts: facts, dimensions, aggregates, each by name."""
    found = [
        node for node in manifest["nodes"].values() if node["resource_type"] == "model" and node["fqn"][1] == "marts"
    ]

    def place(mart: Mapping[str, Any]) -> tuple[int, str]:
        name = mart["name"]
        return next((number for number, layer in enumerate(LAYERS) if name.startswith(layer)), len(LAYERS)), name

    return sorted(found, key=place)


def dataset_files(repo: Path) -> dict[str, Path]:
    """The file of the dataset of each table in `analytics`."""
    found = {}
    for file in sorted((repo / "superset/assets").glob("*/datasets/**/*.yaml")):
        dataset = yaml.safe_load(file.read_text())
        if dataset["schema"] == DATABASE and not dataset.get("sql"):
            found[dataset["table_name"]] = file
    return found


def described(dataset: dict[str, Any], mart: Mapping[str, Any]) -> dict[str, Any]:
    """The dataset with the mart's descriptions. Calculated columns and metrics are Superset's own."""
    columns = {column["column_name"]: column for column in dataset["columns"] if not column.get("expression")}
    untyped = {name for name, column in columns.items() if not column.get("type")}
    differing = sorted((columns.keys() ^ mart["columns"].keys()) | untyped)
    if differing:
        raise DescribeError(
            f"The mart {mart['name']} and its dataset differ in columns, or the dataset lacks their types: {', '.join(differing)}. "
            "Build the mart, sync the dataset's columns from the source in Superset, and run scripts/export_dashboards."
        )
    dataset["description"] = mart["description"]
    for name, column in columns.items():
        column["description"] = mart["columns"][name]["description"]
    return normal_form.reduce("datasets", dataset, dataset, currency="")


def section(mart: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    """A mart on the page: what it is, and a table of its columns."""
    types = {column["column_name"]: column["type"] for column in dataset["columns"]}
    meanings = {name: column["description"].replace("|", "\\|") for name, column in mart["columns"].items()}
    rows = (f"| `{name}` | `{types[name]}` | {meaning} |" for name, meaning in meanings.items())
    return "\n".join(
        [f"## {mart['name']}", "", mart["description"], "", "| column | type | meaning |", "|---|---|---|", *rows, ""]
    )


def texts(repo: Path, manifest: Mapping[str, Any]) -> dict[Path, str]:
    """Texts of the page and of the files of datasets. Raises DescribeError for a mart whose dataset is missing or differs."""
    files = dataset_files(repo)
    written = {}
    sections = []
    for mart in marts_in(manifest):
        if mart["name"] not in files:
            raise DescribeError(
                f"The mart {mart['name']} has no dataset below superset/assets: "
                "make one in Superset, and run scripts/export_dashboards."
            )
        file = files[mart["name"]]
        dataset = described(yaml.safe_load(file.read_text()), mart)
        written[file] = normal_form.dump(dataset)
        sections.append(section(mart, dataset))
    page = repo / PAGE
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DescribeError(
            f"{PAGE} lacks one of the lines around dbt's descriptions: write {BEGIN.strip()} and {END.strip()} where they belong."
        )
    written[page] = before + begin + "\n" + "\n".join(sections) + "\n" + end + after
    return written


def run(repo: Path, manifest: Path, *, check: bool) -> list[Path]:
    """Writes the files that differ, unless it only checks. Returns them, relative to `repo`."""
    wanted = texts(repo, json.loads(manifest.read_text()))
    differing = [file for file, text in wanted.items() if file.read_text() != text]
    if not check:
        for file in differing:
            file.write_text(wanted[file])
    return [file.relative_to(repo) for file in differing]


def main(argv: list[str] | None = None) -> int:
    """Exit code 1, with a sentence for each cause, when a mart cannot be described or a file differs from dbt."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifest", type=Path, help="manifest.json of `dbt parse`")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    asked = parser.parse_args(argv)
    try:
        differing = run(REPO, asked.manifest, check=asked.check)
    except DescribeError as error:
        print(error, file=sys.stderr)
        return 1
    for file in differing:
        print(f"{file} does not say what dbt says: run ./test.sh fix." if asked.check else f"wrote {file}")
    return 1 if asked.check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
