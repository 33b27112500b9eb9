"""Settings from the environment, read once at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedded.errors import StartError


@dataclass(frozen=True)
class Settings:
    """Addresses and folders of one server. Passwords are read from the variables that users.xml names."""

    data: Path
    config: Path
    host: str
    port: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Reads the variables. Raises StartError that names a missing or wrong one."""
        data = environment.get("CLICKHOUSE_PATH", "")
        if not data:
            raise StartError("CLICKHOUSE_PATH is not set: give the folder that holds (or shall hold) the warehouse.")
        config = Path(environment.get("CLICKHOUSE_CONFIG") or "clickhouse/config").absolute()
        for name in ("server.xml", "users.xml"):
            if not (config / name).is_file():
                raise StartError(f"{config / name} does not exist: set CLICKHOUSE_CONFIG to the folder that has it.")
        port = environment.get("CLICKHOUSE_HTTP_PORT") or "8123"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise StartError(f"CLICKHOUSE_HTTP_PORT is {port!r}: give a port between 1 and 65535.")
        return cls(
            data=Path(data).absolute(),
            config=config,
            host=environment.get("BIND_ADDRESS") or "127.0.0.1",
            port=int(port),
        )
