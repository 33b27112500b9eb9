"""Reads the settings of a program from its environment into a pydantic model, whose aliases are the names of the variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from warehouse.errors import TerminalError

CURE = "Set it in .env and start by ./run.sh or scripts/exec, which read that file."

Model = TypeVar("Model", bound="Settings")


class SettingsError(TerminalError):
    """Variables of the environment are missing or malformed; the message names all of them, and none of their values."""


class Settings(BaseModel):
    """Base of a program's settings: immutable, and blind to variables of other programs."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True, hide_input_in_errors=True)


def read(model: type[Model], environ: Mapping[str, str], *, cure: str = CURE) -> Model:
    """Returns the settings; an empty variable counts as absent.

    Raises SettingsError that names every missing or malformed variable, never its value, and ends with `cure`.
    """
    try:
        return model.model_validate({name: value for name, value in environ.items() if value != ""})
    except ValidationError as error:
        mistakes = "; ".join(_mistake(one) for one in error.errors(include_input=False, include_url=False))
        raise SettingsError(f"{mistakes}. {cure}") from None


def _mistake(error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"{name} is not set"
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}: {message[:1].lower()}{message[1:]}"
