"""Types of the settings of whoever sends notices or takes signed requests."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

from notify.secrets import check_secret


def _http_address(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


def _split(value: object) -> object:
    secrets = value.split() if isinstance(value, str) else value
    for secret in secrets if isinstance(secrets, list) else ():
        check_secret(secret)
    return secrets


# Secret as a whole: such addresses often carry a key.
HttpAddress = Annotated[SecretStr, AfterValidator(_http_address)]
# In the variable they are separated by blanks, the newest first.
SigningSecrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]
