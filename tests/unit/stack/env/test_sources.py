"""`.env.sources`: addresses of further sources, for exactly the variables that pipeline.yml names."""

from pathlib import Path

import pytest
from stack.env import file as env_file
from stack.env import sources
from stack.env.file import Env
from stack.errors import StackError
from stack.native import launch
from stack.paths import Paths
from stack.table import services
from stack.table.services import Context

PIPELINE = """
sources:
  - {name: shop, kind: postgres, schedule: '@hourly', tables: all}
  - {name: erp, kind: postgres, url: {env: ERP_URL}, schedule: manual, tables: all}
  - {name: crm, kind: postgres, url: {env: CRM_URL}, schedule: 30 2 * * 1-5, tables: all}
  - {name: plan, kind: files, url: 'file:///srv/plan', tables: []}
"""
ADDRESS = "postgresql://reader:s3cr%40t@erp.example/erp"


@pytest.fixture
def paths(repo: Path, tmp_path: Path, venvs: Path) -> Paths:
    (tmp_path / "pipeline.yml").write_text(PIPELINE)
    file = tmp_path / ".env"
    env_file.write_new(file, env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="native"))
    return Paths(home=tmp_path, env_file=file, venvs=venvs, repo=tmp_path)


@pytest.fixture
def env(paths: Paths) -> Env:
    return env_file.load(paths.env_file)


def write(paths: Paths, *lines: str, mode: int = 0o600) -> None:
    file = sources.file_of(paths)
    file.write_text("\n".join(lines) + "\n")
    file.chmod(mode)


def test_only_what_the_pipeline_names_is_read(paths: Paths, env: Env) -> None:
    assert sources.read(paths, env) == {}
    write(
        paths, f"ERP_URL={ADDRESS}", "SOURCE_URL=postgresql://a/b", "OTHER=1", "export CRM_URL='postgresql://c$x@d/e'"
    )
    assert sources.read(paths, env) == {"ERP_URL": ADDRESS, "CRM_URL": "postgresql://c$x@d/e"}


def test_secrets_of_headers_and_parameters_are_read_too(paths: Paths, env: Env) -> None:
    endpoint = "{name: items, path: /items, params: {key: {env: API_KEY}}}"
    text = f"sources:\n- {{name: api, kind: rest, url: 'https://x', headers: {{Authorization: {{env: API_TOKEN}}}}, endpoints: [{endpoint}]}}\n"
    (paths.repo / "pipeline.yml").write_text(text)
    write(paths, "API_TOKEN='Bearer x'", "API_KEY=k", "OTHER=1")
    assert sources.read(paths, env) == {"API_TOKEN": "Bearer x", "API_KEY": "k"}


def test_in_a_container_the_environment_has_them(paths: Paths, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERP_URL", ADDRESS)
    assert sources.read(paths, env) == {}
    assert sources.read(paths, env.model_copy(update={"in_compose": True})) == {"ERP_URL": ADDRESS}


def test_a_name_that_is_not_set_is_told_with_the_cure(paths: Paths, env: Env) -> None:
    write(paths, f"ERP_URL={ADDRESS}")
    (told,) = sources.check(paths, env)
    assert "CRM_URL, the address of the source crm in pipeline.yml, is not set" in told
    assert ".env.sources" in told
    write(paths, f"ERP_URL={ADDRESS}", f"CRM_URL={ADDRESS}")
    assert sources.check(paths, env) == []


def test_a_file_that_others_can_read_is_told(paths: Paths, env: Env) -> None:
    write(paths, f"ERP_URL={ADDRESS}", f"CRM_URL={ADDRESS}", mode=0o644)
    (told,) = sources.check(paths, env)
    assert "chmod 600" in told


@pytest.mark.parametrize(
    ("mode", "value"), [("native", "mysql://hidden@h/d"), ("docker", "postgresql://hidden@localhost/d")]
)
def test_a_value_that_is_no_address_is_refused_and_not_shown(paths: Paths, env: Env, mode: str, value: str) -> None:
    write(paths, f"ERP_URL={value}", f"CRM_URL={ADDRESS}")
    with pytest.raises(StackError, match=r"ERP_URL in .*\.env\.sources") as refused:
        sources.check(paths, env.model_copy(update={"STACK_MODE": mode}))
    assert "hidden" not in str(refused.value)


def test_a_schedule_that_never_fires_is_refused(paths: Paths, env: Env) -> None:
    pipeline = paths.repo / "pipeline.yml"
    pipeline.write_text(PIPELINE.replace("30 2 * * 1-5", "30 25 * * *"))
    with pytest.raises(StackError, match=r"'30 25 \* \* \*' of the source crm in pipeline.yml has '25' as its hour"):
        sources.check(paths, env)


def test_what_is_no_pipeline_is_left_to_the_loader(paths: Paths, env: Env) -> None:
    for text in ("", "[]", "sources: 7", "sources: [7, {name: x}]", "{"):
        (paths.repo / "pipeline.yml").write_text(text)
        assert (sources.read(paths, env), sources.check(paths, env)) == ({}, [])


def test_only_what_runs_the_loader_gets_the_addresses_and_masks_them(paths: Paths, env: Env, repo: Path) -> None:
    context = Context(
        Paths(home=paths.home, env_file=paths.env_file, venvs=paths.venvs, repo=repo), env, {"ERP_URL": ADDRESS}
    )
    rows = (*services.SERVICES, services.DBT_SHELL)
    told = {
        row.name
        for row in rows
        if row.name != "postgres-source" and ADDRESS in launch.environment(context, row).values()
    }
    assert told == {"airflow-init", "airflow-scheduler", "airflow-dag-processor"}
    for name in told:
        assert "ERP_URL" in services.by_name(name).names(context)["STACK_SECRETS"].split(",")
