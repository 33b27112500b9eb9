"""`python -m stack.warehouse_init`: applies clickhouse/init/*.sql as the admin. All statements are idempotent."""

import os
import sys
from typing import Annotated, Any

from environment import reading
from pydantic import Field, SecretStr
from warehouse.client import Address, Warehouse
from warehouse.errors import PipelineError

from stack.paths import REPO


class Settings(reading.Settings):
    """The warehouse, and the password of its admin."""

    host: Annotated[str, Field(alias="CLICKHOUSE_HOST")]
    port: Annotated[int, Field(alias="CLICKHOUSE_HTTP_PORT", ge=1, le=65535)]
    secure: Annotated[bool, Field(alias="CLICKHOUSE_SECURE")]
    password: Annotated[SecretStr, Field(alias="CLICKHOUSE_PASSWORD")]

    @property
    def admin(self) -> Address:
        password = self.password.get_secret_value()
        return Address(self.host, self.port, "default", password, self.secure, "CLICKHOUSE_PASSWORD")


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
        with Warehouse(reading.read(Settings, os.environ).admin) as admin:
            apply(admin)
    except PipelineError as error:
        print(f"The warehouse could not be prepared: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
