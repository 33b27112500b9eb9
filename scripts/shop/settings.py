"""Where the source database is and who owns it: read once, from the environment and `.env`."""

from collections.abc import Mapping
from typing import Annotated

from environment import reading
from environment.reading import SettingsError
from pydantic import Field, SecretStr
from stack.env import lines
from stack.errors import StackError
from stack.paths import find_paths, shown

from shop.errors import ShopError


class Owner(reading.Settings):
    """The connection of the source's owner."""

    user: Annotated[str, Field(alias="POSTGRES_USER")] = "ecommerce"
    password: Annotated[SecretStr, Field(alias="POSTGRES_PASSWORD")]
    database: Annotated[str, Field(alias="POSTGRES_DB")] = "ecommerce_db"
    host: Annotated[str, Field(alias="POSTGRES_HOST")] = "127.0.0.1"
    port: Annotated[int, Field(alias="POSTGRES_PORT", ge=1, le=65535)] = 5432


def read_owner(environ: Mapping[str, str]) -> Owner:
    """Returns the owner's connection; a variable of `environ` wins over the same name in `.env`.

    Raises ShopError that names what is missing or malformed.
    """
    file = find_paths(environ).env_file
    try:
        values = lines.read(file).values if file.exists() else {}
        given = {name: value for name, value in environ.items() if value}
        return reading.read(Owner, values | given, cure=f"Set it in {shown(file)}, which ./run.sh makes.")
    except (SettingsError, StackError) as error:
        raise ShopError(str(error)) from None
