"""`python -m stack.warehouse_init`: applies clickhouse/init/*.sql as the admin. All statements are idempotent."""

import os
import sys
from typing import Any

from warehouse.client import Address, Warehouse
from warehouse.errors import WarehouseError

from stack.paths import REPO


def statements(text: str) -> list[str]:
    """Splits one of our files into statements; each ends with `;` at the end of a line."""
    return [part.strip() for part in text.split(";\n") if part.strip()]


def apply(admin: Any) -> None:
    """Applies all files of clickhouse/init, in the order of their names, by a client of the admin."""
    for file in sorted((REPO / "clickhouse" / "init").glob("*.sql")):
        for statement in statements(file.read_text()):
            admin.command(statement)


def main() -> int:
    try:
        with Warehouse(
            Address(
                os.environ["CLICKHOUSE_HOST"],
                int(os.environ["CLICKHOUSE_HTTP_PORT"]),
                "default",
                os.environ["CLICKHOUSE_PASSWORD"],
                os.environ["CLICKHOUSE_SECURE"] == "true",
                "CLICKHOUSE_PASSWORD",
            )
        ) as admin:
            apply(admin)
    except WarehouseError as error:
        print(f"The warehouse could not be prepared: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
