"""Where the source database is and who owns it: read once, from the environment and `.env`."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from shop.errors import ShopError

REPO = Path(__file__).resolve().parents[2]


class Owner(BaseModel):
    """The connection of the source's owner."""

    model_config = ConfigDict(frozen=True)

    user: str = Field(alias="POSTGRES_USER", default="ecommerce", min_length=1)
    password: SecretStr = Field(alias="POSTGRES_PASSWORD", min_length=1)
    database: str = Field(alias="POSTGRES_DB", default="ecommerce_db", min_length=1)
    host: str = Field(alias="POSTGRES_HOST", default="127.0.0.1", min_length=1)
    port: int = Field(alias="POSTGRES_PORT", default=5432, ge=1, le=65535)


def env_file(environ: Mapping[str, str]) -> Path:
    """`$STACK_HOME/.env` when STACK_HOME is set, else `.env` of the project."""
    home = environ.get("STACK_HOME")
    return Path(home, ".env") if home else REPO / ".env"


def read_owner(environ: Mapping[str, str] = os.environ) -> Owner:
    """The owner's connection; a value in `environ` wins over the same name in `.env`.

    Raises ShopError that names the variable which is missing or not understood.
    """
    file = env_file(environ)
    values = {name: value for name, value in dotenv_values(file).items() if value is not None} if file.exists() else {}
    try:
        return Owner.model_validate({**values, **environ})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = first["loc"][0]
        if first["type"] == "missing":
            raise ShopError(f"{name} is neither in the environment nor in {file}; run ./run.sh first.") from None
        raise ShopError(f"{name} is not usable ({first['msg']}); correct it in {file} or the environment.") from None
