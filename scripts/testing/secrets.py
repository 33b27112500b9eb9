"""Names of the secrets of a service, for environments that tests make by hand."""

from pathlib import Path

from stack.env.file import Env, fill
from stack.env.lines import Lines
from stack.paths import REPO, Paths
from stack.table import services


def secret_names(service: str) -> str:
    """Returns STACK_SECRETS of a service, as the service table makes it."""
    nowhere = Path("/nowhere")
    lines = fill(REPO / ".env.example", {}, {}, STACK_MODE="native")
    env = Env.model_validate(Lines(nowhere, "\n".join(lines)).values)
    context = services.Context(Paths(home=nowhere, env_file=nowhere, venvs=nowhere), env)
    return services.by_name(service).names(context)["STACK_SECRETS"]
