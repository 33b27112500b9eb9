"""The container way: the same services, names, commands and files as natively, as far as it can be seen without an engine."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import grants
from stack.env import file as env_file
from stack.native import launch
from stack.paths import Paths
from stack.table import commands, health, services
from stack.table.services import Context

CONTAINERS = {
    "postgres-source", "airflow-db", "clickhouse-server", "airflow-webserver", "airflow-scheduler",
    "airflow-dag-processor", "webhook-server", "webhook-worker", "dbt", "elt-agent", "superset",
}  # fmt: skip
ONE_SHOTS = {"postgres-upgrade", "clickhouse-init", "airflow-init", "superset-init"}
OWN_IMAGES = {"airflow", "dbt", "superset", "scripts"}
# Names that differ on purpose: the image's own server takes no folder, and an image knows where its files lie.
NATIVE_ALONE = {
    "clickhouse-server": {
        "CLICKHOUSE_PATH", "CLICKHOUSE_CONFIG", "PYTHONPATH", "BIND_ADDRESS", "CLICKHOUSE_BINARY",
        "CLICKHOUSE_NATIVE_PORT",
    },
    # psql knows no proxy.
    "postgres-upgrade": {"NO_PROXY", "no_proxy"},
}  # fmt: skip
# The file of further sources; this one where there is none.
NO_SOURCES = "${STACK_SOURCES_FILE:-airflow/config/airflow.env}"
CONTAINER_ALONE = {"clickhouse-server": {"CLICKHOUSE_SKIP_USER_SETUP"}}


@pytest.fixture(scope="module")
def compose(repo: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((repo / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture
def made(repo: Path, tmp_path: Path) -> Path:
    file = tmp_path / ".env"
    env_file.write_new(file, env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="docker"))
    return file


def _environment(repo: Path, service: dict[str, Any]) -> dict[str, str]:
    values = {key: str(value) for key, value in service.get("environment", {}).items()}
    for file in service.get("env_file", []):
        if file == NO_SOURCES:
            continue
        values |= env_file.read_values(repo / file)
    return values


def test_services_containers_network_and_volumes_have_the_names_that_stay(compose: dict[str, Any]) -> None:
    long_lived = {name for name, row in compose["services"].items() if row.get("restart") == "unless-stopped"}
    assert long_lived == CONTAINERS
    assert {name for name, row in compose["services"].items() if row["restart"] == "no"} == ONE_SHOTS | {"tools"}
    for name in CONTAINERS | ONE_SHOTS:
        assert compose["services"][name]["container_name"] == name
    assert compose["name"] == compose["networks"]["ecommerce-pipeline"]["name"] == "ecommerce-pipeline"
    assert set(compose["volumes"]) >= {
        "postgres_data", "clickhouse_data", "clickhouse_logs", "airflow_db_data", "superset_data",
    }  # fmt: skip


def test_every_long_lived_container_is_watched_restarted_and_bounded(compose: dict[str, Any]) -> None:
    for name in CONTAINERS:
        row = compose["services"][name]
        assert row["healthcheck"]["test"], name
        assert row["mem_limit"], name
        assert row["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert row["security_opt"] == ["no-new-privileges:true"], name
    megabytes = {"g": 1024, "m": 1}
    limits = [compose["services"][name]["mem_limit"] for name in CONTAINERS - {"dbt"}]
    assert sum(int(limit[:-1]) * megabytes[limit[-1]] for limit in limits) <= 8192


def test_images_are_pinned_and_published_ports_keep_to_the_bind_address(compose: dict[str, Any]) -> None:
    for name, row in compose["services"].items():
        image = row["image"]
        assert image.startswith("ecommerce-pipeline/") or re.search(r":\d+\.?\d*(-alpine)?$", image), name
        for port in row.get("ports", []):
            assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:"), name


def test_images_that_compose_builds_are_labelled_with_the_version_of_the_project(compose: dict[str, Any]) -> None:
    labels = {name: row["build"].get("labels") for name, row in compose["services"].items() if "build" in row}
    assert labels
    assert set(map(str, labels.values())) == {str({"org.opencontainers.image.version": "${STACK_VERSION:-}"})}, labels


def test_a_container_that_mounts_a_file_is_made_anew_when_the_file_changes(repo: Path, compose: dict[str, Any]) -> None:
    listed = re.search(r"cat ((?:.|\n)*?) \| cksum", (repo / "scripts/docker.sh").read_text())
    assert listed is not None
    summed = {file for word in listed[1].replace("\\\n", " ").split() for file in repo.glob(word)}
    for name, row in compose["services"].items():
        mounted = {repo / volume.split(":")[0] for volume in row.get("volumes", []) if volume.startswith("./")}
        files = {place for place in mounted if place.is_file()}
        # A table more in pipeline.yml must not restart the servers.
        if files == {repo / "pipeline.yml"}:
            assert row["labels"] == {"stack.pipeline-file": "${STACK_PIPELINE_FILE:-}"}, name
        elif files:
            assert files <= summed, name
            assert row["labels"] == {"stack.server-files": "${STACK_SERVER_FILES:-}"}, name


def test_the_start_order_is_that_of_the_native_way(compose: dict[str, Any]) -> None:
    for row in services.SERVICES:
        waits = compose["services"][row.name].get("depends_on", {})
        for name in row.after:
            one_shot = services.by_name(name).one_shot
            expected = "service_completed_successfully" if one_shot else "service_healthy"
            # Metadata has a server of its own in containers.
            standing_in = "airflow-db" if name == "postgres-source" and row.name == "superset-init" else name
            assert waits[standing_in]["condition"] == expected, row.name


def test_each_container_gets_exactly_the_names_that_the_native_service_gets(
    repo: Path, compose: dict[str, Any], made: Path, venvs: Path
) -> None:
    context = Context(Paths(home=made.parent, env_file=made, venvs=venvs), env_file.load(made))
    for row in services.SERVICES:
        if row.name == "postgres-source":
            continue
        native = set(row.names(context)) - NATIVE_ALONE.get(row.name, set())
        container = set(_environment(repo, compose["services"][row.name])) - CONTAINER_ALONE.get(row.name, set())
        assert container == native, row.name


def test_each_container_masks_the_secrets_that_the_native_service_masks(
    repo: Path, compose: dict[str, Any], made: Path, venvs: Path
) -> None:
    context = Context(Paths(home=made.parent, env_file=made, venvs=venvs), env_file.load(made))
    masking = [row for row in services.SERVICES if row.masks]
    assert masking
    for row in masking:
        container = _environment(repo, compose["services"][row.name])["STACK_SECRETS"]
        if row.name.startswith("airflow"):
            # The names in .env.sources, a comma before each.
            assert container.endswith("${STACK_SOURCE_NAMES:-}"), row.name
        assert container.removesuffix("${STACK_SOURCE_NAMES:-}") == row.names(context)["STACK_SECRETS"], row.name


def test_each_container_that_reads_sources_gets_the_file_of_their_addresses(compose: dict[str, Any]) -> None:
    reading = {name for name, row in compose["services"].items() if NO_SOURCES in row.get("env_file", [])}
    assert reading == {name for name in compose["services"] if name.startswith("airflow-") and name != "airflow-db"} | {
        "tools"
    }


def test_names_in_the_file_of_addresses_are_told_to_compose_for_masking(repo: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    (tmp_path / ".env.sources").write_text("# one\nERP_URL=postgresql://a:b@c/d\nexport CRM_URL='x'\n")
    script = 'die() { exit 9; }; repo="$1" stack_home="$2"; source "$1/scripts/docker.sh"; source_names; echo; echo "$STACK_SOURCES_FILE"'
    answer = subprocess.run(
        ["bash", "-c", script, "_", str(repo), str(tmp_path)],
        env={"PATH": os.environ["PATH"], "STACK_HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.splitlines() == [",ERP_URL,CRM_URL", str(tmp_path / ".env.sources")]


def test_every_container_that_speaks_http_asks_no_proxy_for_the_others(compose: dict[str, Any]) -> None:
    for name, row in compose["services"].items():
        if row["image"].startswith("postgres:"):
            continue
        listed = row["environment"]["NO_PROXY"]
        assert row["environment"]["no_proxy"] == listed, name
        hosts = listed.removesuffix("${NO_PROXY:+,}${NO_PROXY:-}").split(",")
        speaking = CONTAINERS - {"airflow-scheduler", "airflow-dag-processor", "webhook-worker", "dbt", "elt-agent"}
        assert set(hosts) == {"localhost", "127.0.0.1", "::1", *speaking}, name


def test_no_command_line_stands_in_the_compose_file_that_natively_stands_elsewhere(compose: dict[str, Any]) -> None:
    for name in commands.TABLE:
        if name == "clickhouse-server":
            continue
        words = compose["services"][name]["command"]
        assert words == [name] or words == ["stack.container", name]


def test_health_checks_are_those_of_the_native_way(compose: dict[str, Any]) -> None:
    for name in set(health.CHECKS) - {"clickhouse-server"}:
        assert compose["services"][name]["healthcheck"]["test"] == ["CMD", "python", "-m", "stack.table.health", name]


def test_every_name_of_the_compose_file_stands_in_the_example_and_every_secret_is_asked_for(
    repo: Path, compose: dict[str, Any]
) -> None:
    text = (repo / "docker-compose.yml").read_text()
    own = {
        "STACK_ENV_FILE",
        "STACK_PIPELINE_FILE",
        "STACK_SERVER_FILES",
        "STACK_SOURCES_FILE",
        "STACK_SOURCE_NAMES",
        "STACK_VERSION",
        "NO_PROXY",
    }
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text)) - own
    known = set(env_file.read_values(repo / ".env.example"))
    assert asked <= known
    read = {name for row in services.SERVICES for name in row.reads}
    assert read <= known
    for name in set(env_file.SECRETS) & asked - {"POSTGRES_READER_PASSWORD"}:
        assert f"${{{name}:?run ./run.sh once, it makes .env}}" in text, name


def test_every_native_name_is_read_by_somebody(repo: Path) -> None:
    read = {name for row in services.SERVICES for name in row.reads}
    places = [repo / "docker-compose.yml", *(repo / "scripts" / "stack").rglob("*.py")]
    text = "\n".join(file.read_text() for file in places)
    for name in env_file.read_values(repo / ".env.example"):
        assert name in read or text.count(name) >= 2, name


@pytest.mark.parametrize("folder", sorted(OWN_IMAGES))
def test_an_image_copies_what_exists_installs_its_lock_and_runs_as_nobody_special(repo: Path, folder: str) -> None:
    text = (repo / folder / "Dockerfile").read_text()
    assert text.count("FROM python:3.11-slim") == 2
    assert f"COPY {folder}/requirements.lock" in text
    assert "--require-hashes" in text
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _target = line.split()
        for source in sources:
            assert (repo / source).exists(), source
    assert not [name for name in env_file.SECRETS if name in text]


def test_what_the_images_copy_passes_the_dockerignore(repo: Path) -> None:
    kept = {line[1:] for line in (repo / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for folder in OWN_IMAGES:
        for line in re.findall(r"^COPY (?!--from)(.*)$", (repo / folder / "Dockerfile").read_text(), re.MULTILINE):
            for source in line.split()[:-1]:
                assert any(source == top or source.startswith(f"{top}/") for top in kept), source


@pytest.mark.parametrize("folder", ["airflow", "dbt", "superset", "clickhouse", "postgres", "scripts", "tests"])
def test_a_lock_is_in_step_with_its_requirements(repo: Path, folder: str) -> None:
    lock = (repo / folder / "requirements.lock").read_text()
    locked = {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)}
    for line in (repo / folder / "requirements.in").read_text().splitlines():
        if not line or line.startswith(("#", "-c")):
            continue
        name, pin = re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?(==\S+)?", line).groups()  # type: ignore[union-attr]
        assert re.sub(r"[-_.]+", "-", name).lower() in locked, line
        if pin:
            assert f"{name}{pin} " in lock, line
    assert "://" not in lock
    assert "--hash=sha256:" in lock


def test_the_grants_for_sql_managed_users_are_made_from_the_users_file(repo: Path) -> None:
    assert (repo / "clickhouse" / "grants.sql").read_text() == grants.as_sql()


def test_compose_itself_takes_the_file(repo: Path, made: Path) -> None:
    """By the Compose v2 plugin where it is installed; its structure is tested above in any case."""
    plugin = shutil.which("docker-compose") or shutil.which("docker")
    words = [plugin] if plugin and plugin.endswith("docker-compose") else [plugin, "compose"]
    if plugin is None or subprocess.run([*words, "version"], capture_output=True, check=False).returncode != 0:
        assert yaml.safe_load((repo / "docker-compose.yml").read_text())["services"]
        return
    version = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=True).stdout
    if version.lstrip("v").startswith("1."):
        return
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    file = str(repo / "docker-compose.yml")
    answer = subprocess.run(
        [*words, "--env-file", str(made), "-f", file, "config", "-q"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    # Without .env it says how to get one.
    empty = made.with_name("empty")
    empty.touch()
    refused = subprocess.run(
        [*words, "--env-file", str(empty), "-f", file, "config", "-q"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "run ./run.sh once" in refused.stderr


def test_a_container_starts_the_command_of_the_table(repo: Path, tmp_path: Path, venvs: Path) -> None:
    """`stack.container` needs the standard library alone, and becomes the command."""
    env = {"PYTHONPATH": str(repo / "scripts"), "PATH": os.environ["PATH"]}
    answer = subprocess.run(
        [str(venvs / "postgres/bin/python"), "-m", "stack.container", "webhook-worker"],
        env=env, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # The table's command is `python -m webhook.worker`, which this environment finds and cannot import.
    assert "scripts/webhook/worker" in answer.stderr and "No module named" in answer.stderr


def test_native_and_container_launch_read_one_table(repo: Path, made: Path, venvs: Path) -> None:
    context = Context(Paths(home=made.parent, env_file=made, venvs=venvs), env_file.load(made))
    for name in commands.TABLE:
        row = services.by_name(name)
        env = launch.environment(context, row)
        python = str(context.paths.python(commands.TABLE[name][0]))
        assert row.commands(context) == commands.commands(name, python=python, repo=str(repo), env=env)


def test_the_image_of_the_tools_holds_each_file_that_they_read(repo: Path) -> None:
    """Folders and files below the repository that scripts/stack names stand in the image, and in what Docker is given."""
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (repo / "scripts/Dockerfile").read_text(), re.MULTILINE)
    there = {name for words in copied for name in words.split()}
    assert {"VERSION", ".env.example", "pipeline.yml", "clickhouse/init", "clickhouse/config/users.xml"} <= there
    let_in = {line.removeprefix("!") for line in (repo / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert all(any(name == one or name.startswith(f"{one}/") for one in let_in) for name in there)
