"""The stack in containers, on a real engine, as a new user meets it: booted, looked into, killed, stopped, started again."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from testing.waiting import until

# The first test builds all images.
pytestmark = pytest.mark.timeout(1800)

OWN_IMAGES = ("airflow", "dbt", "superset", "tools")


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=120).stdout


def until_healthy(stack: Any) -> None:
    def health() -> dict[str, str]:
        return {name: stack.health(name) for name in stack.names(long_lived=True)}

    until(
        lambda: set(health().values()) == {"healthy"},
        "every container healthy",
        300,
        every=1,
        said=lambda: str(health()),
    )


def test_the_first_boot_ends_with_a_green_run_and_says_where_everything_is(stack: Any, booted: str) -> None:
    assert "The first DAG run is green" in booted
    for name in ("Airflow", "Superset", "Webhook", "ClickHouse", "Postgres"):
        assert re.search(rf"^{name} +\S*127\.0\.0\.1:\d+", booted, re.MULTILINE)
    for image in ("tools", "airflow-webserver", "webhook-server", "superset"):
        assert re.search(rf"^Building the image (of |ecommerce-pipeline/){image}$", booted, re.MULTILINE)
    assert (stack.home / ".env").stat().st_mode & 0o777 == 0o600


def test_every_service_does_its_job_and_the_numbers_are_those_of_postgres(stack: Any, booted: str) -> None:
    said = stack.call("check_all_works.sh", "--exact")
    assert "FAIL" not in said
    assert "marts equal Postgres" in said


def test_every_container_is_healthy_and_the_one_shots_have_ended_well(stack: Any, booted: str) -> None:
    until_healthy(stack)
    for name in stack.names(long_lived=False):
        state = stack.inspect(name)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0), name


def users_of_service(stack: Any, name: str) -> set[str]:
    """User ids of the container's first process and all below it. Health checks and `docker exec` are no part of them."""
    rows = [line.split() for line in docker("top", name, "-eo", "pid,ppid,uid").splitlines()[1:]]
    own = {str(stack.inspect(name)["State"]["Pid"])}
    while more := {pid for pid, parent, _ in rows if parent in own} - own:
        own |= more
    return {user for pid, _, user in rows if pid in own}


def test_no_process_of_a_service_is_root_and_ports_are_on_the_bind_address(stack: Any, booted: str) -> None:
    for name in stack.names(long_lived=True):
        users = users_of_service(stack, name)
        assert users and "0" not in users, (name, users)
        for bindings in stack.inspect(name)["NetworkSettings"]["Ports"].values():
            assert {binding["HostIp"] for binding in bindings or []} <= {"127.0.0.1"}, name


def test_our_images_run_on_a_root_that_nobody_can_write_and_hold_what_their_dockerfiles_copy(
    stack: Any, booted: str
) -> None:
    lines = (stack.repo / ".dockerignore").read_text().splitlines()
    left_out = tuple(f"{line}/" for line in lines if line and line[0] not in "#*!")
    for image in OWN_IMAGES:
        copied = set()
        text = (stack.repo / ("scripts" if image == "tools" else image) / "Dockerfile").read_text()
        for line in re.findall(r"^COPY (?!--from)(.*)$", text.partition("FROM python:3.11-slim\n")[2], re.MULTILINE):
            *sources, target = line.split()
            for source in sources:
                files = subprocess.run(
                    ["git", "ls-files", source], cwd=stack.repo, capture_output=True, text=True, check=True
                ).stdout.split()
                folder = target.rstrip("/") if not target.startswith(".") else ""
                inside = source if (stack.repo / source).is_dir() else Path(folder, Path(source).name).as_posix()
                copied |= {file.replace(source, inside, 1) for file in files if not file.startswith(left_out)}
        listing = ["run", "--rm", "--entrypoint", "find", f"ecommerce-pipeline/{image}", "/app", "-type", "f"]
        found = {line.removeprefix("/app/") for line in docker(*listing).split()}
        assert {file for file in found if "__pycache__" not in file} == copied, image
    for name in ("webhook-worker", "airflow-scheduler", "superset", "dbt"):
        assert stack.inspect(name)["HostConfig"]["ReadonlyRootfs"], name


def test_no_secret_stands_in_an_image_a_log_or_a_command_line(stack: Any, booted: str, secrets: set[str]) -> None:
    texts = {"run.sh": booted}
    for image in OWN_IMAGES:
        texts[f"image {image}"] = docker("history", "--no-trunc", f"ecommerce-pipeline/{image}") + docker(
            "image", "inspect", f"ecommerce-pipeline/{image}"
        )
    for name in stack.names(long_lived=True) + stack.names(long_lived=False):
        answer = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
        texts[f"log of {name}"] = answer.stdout + answer.stderr
    for name in stack.names(long_lived=True):
        texts[f"commands of {name}"] = docker("top", name, "-eo", "pid,args")
    assert not [where for where, text in texts.items() if any(secret in text for secret in secrets)]


def test_exec_and_logs_reach_a_container(stack: Any, booted: str) -> None:
    said = stack.call("scripts/exec", "dbt", "dbt", "build", "--target", "dev")
    assert "ERROR=0" in said
    assert "ready" in stack.call("scripts/logs", "webhook-worker", "-n", "1000")
    assert "host.docker.internal" in docker("exec", "airflow-scheduler", "getent", "hosts", "host.docker.internal")


@pytest.mark.parametrize("verb", ["scripts/exec", "scripts/logs"])
def test_a_service_that_is_not_there_is_told_with_those_that_are(stack: Any, booted: str, verb: str) -> None:
    for words in ([verb], [verb, "supersett"]):
        said = stack.call(*words, check=False)
        assert re.match(rf"error  ({verb} wants a service|supersett is not a service): one of .*superset", said), said


def test_what_the_source_gains_reaches_the_marts_with_the_next_run(stack: Any, booted: str) -> None:
    stack.call("scripts/generate_data", "--orders", "2000", "--seed", "7")
    said = stack.call("check_all_works.sh")
    assert re.search(r"public\.orders \+2,000", said)
    said = stack.call("scripts/refresh")
    assert "Refreshed in " in said and f"Dashboards: http://127.0.0.1:{stack.values()['SUPERSET_PORT']}" in said
    assert "FAIL" not in stack.call("check_all_works.sh", "--exact")


def test_a_table_is_added_by_one_command(stack: Any, booted: str) -> None:
    psql = ["psql", "-U", "ecommerce", "-d", "ecommerce_db", "-c"]
    made = "CREATE TABLE visits (id bigint PRIMARY KEY, at timestamptz); INSERT INTO visits VALUES (1, now()); GRANT SELECT ON visits TO elt_reader"
    stack.call("scripts/exec", "postgres-source", *psql, made)
    kept = (stack.repo / "pipeline.yml").read_bytes()
    staging = stack.repo / "dbt/models/staging"
    before = {file: file.read_bytes() for file in staging.rglob("*") if file.is_file()}

    def servers() -> list[str]:
        return [stack.inspect(name)["State"]["StartedAt"] for name in ("postgres-source", "clickhouse-server")]

    started = servers()
    try:
        said = stack.call("scripts/add_table", "visits")
        assert (
            f"visits stands in {stack.repo}/pipeline.yml" in said
            and b"visits" in (stack.repo / "pipeline.yml").read_bytes()
        )
        written = [file for file in staging.rglob("*visits*") if file.is_file()]
        assert written and all(file.stat().st_uid == os.geteuid() for file in written)
        mounted = docker("exec", "airflow-scheduler", "cat", "/app/pipeline.yml")
        assert "visits" in mounted
        assert servers() == started, "a table more restarts no server"
        until_healthy(stack)
        assert "FAIL" not in stack.call("check_all_works.sh")
    finally:
        (stack.repo / "pipeline.yml").write_bytes(kept)
        for file in staging.rglob("*"):
            if file.is_file() and file not in before:
                file.unlink()
        for file, content in before.items():
            file.write_bytes(content)
        stack.call("run.sh")


def test_dashboards_as_they_are_change_no_file_and_go_back_to_the_files_by_force(stack: Any, booted: str) -> None:
    assert "0 files changed in superset/assets" in stack.call("scripts/export_dashboards")
    said = stack.call("scripts/exec", "superset", "python", "superset/provision.py", "--force")
    assert "Provisioning" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="a container's process is killed from outside")
def test_what_is_killed_comes_back_with_all_its_data(stack: Any, booted: str) -> None:
    killed = {name: stack.inspect(name)["State"] for name in stack.names(long_lived=True)}
    for state in killed.values():
        os.kill(state["Pid"], signal.SIGKILL)

    def started_again() -> bool:
        return all(stack.inspect(name)["State"]["StartedAt"] != state["StartedAt"] for name, state in killed.items())

    # Before that, the engine may show the health of the killed process.
    until(started_again, "every killed container started again", every=0.25)
    until_healthy(stack)
    assert "FAIL" not in stack.call("check_all_works.sh", "--exact")


def test_a_source_on_this_machine_is_refused_with_its_name_in_containers(stack: Any, booted: str) -> None:
    file = stack.home / ".env"
    kept = file.read_text()
    file.write_text(
        re.sub(r"^SOURCE_URL=.*$", "SOURCE_URL=postgresql://a:b@localhost:5432/c", kept, flags=re.MULTILINE)
    )
    try:
        said = stack.call("run.sh", check=False)
    finally:
        file.write_text(kept)
    assert "localhost" in said and "host.docker.internal" in said


def test_a_container_that_cannot_start_is_named_with_its_words(stack: Any, booted: str) -> None:
    file = stack.home / ".env"
    kept = file.read_text()
    file.write_text(re.sub(r"^AIRFLOW_DB_PASSWORD=.*$", "AIRFLOW_DB_PASSWORD=another", kept, flags=re.MULTILINE))
    try:
        said = stack.call("run.sh", check=False)
    finally:
        file.write_text(kept)
    assert "AIRFLOW_DB_PASSWORD" in said or "airflow-init is" in said
    stack.call("run.sh")


def test_stopped_and_started_again_it_has_all_its_data(stack: Any, booted: str) -> None:
    file = stack.home / ".env"
    kept = file.read_text()
    file.write_text(f'{kept}ELT_SCHEDULE="never\n')
    try:
        assert "ELT_SCHEDULE" in stack.call("run.sh", check=False)
        assert "Everything is stopped" in stack.call("stop.sh"), "a bad .env keeps nobody from stopping"
    finally:
        file.write_text(kept)
    assert docker("ps", "--quiet", "--filter", "label=com.docker.compose.project=ecommerce-pipeline") == ""
    assert "Building" in stack.call("run.sh")
    assert "FAIL" not in stack.call("check_all_works.sh", "--exact")


def test_a_wipe_asks_and_leaves_no_volume(stack: Any, booted: str) -> None:
    assert "say --yes" in stack.call("stop.sh", "--wipe", check=False)
    stack.call("stop.sh", "--wipe", "--yes")
    volumes = docker("volume", "ls", "--quiet").split()
    assert not [name for name in volumes if name.startswith("ecommerce-pipeline")]
