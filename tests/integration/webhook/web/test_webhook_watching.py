"""A run as it can be watched: event stream, pages, metrics, documentation; and a project that changes under a warm dbt."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from testing.waiting import until


@pytest.fixture(scope="module")
def webhook(
    repo: Any,
    venvs: Any,
    clickhouse: Any,
    raw_shop_for_webhook: None,
    project: Path,
    parsed: Path,
    free_port: Any,
    tmp_path_factory: Any,
    webhook_class: Any,
) -> Iterator[Any]:
    """One service for all of this module, with a project of its own that tests may change."""
    home = tmp_path_factory.mktemp("webhook") / "home"
    own = tmp_path_factory.mktemp("own") / "dbt"
    shutil.copytree(project, own)
    webhook = webhook_class(repo, venvs, home, own, free_port(), clickhouse.env("dbt", "webhook"))
    webhook.start_web()
    webhook.start_worker()
    yield webhook
    webhook.end()


def done(webhook: Any, *select: str, **body: Any) -> dict[str, Any]:
    """The run that these words start, once it has ended."""
    return dict(webhook.final(webhook.post(*select, **body)["id"], 120))


def stream(webhook: Any, run: dict[str, Any], last_event_id: str = "") -> Iterator[dict[str, str]]:
    """Server-sent events, parsed, to the end of the answer."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    with webhook.call("GET", run["logs_url"], headers=headers, stream=True) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                yield event
                event = {}


def test_the_event_stream_follows_a_run_to_its_end_and_can_be_taken_up_anywhere(webhook: Any) -> None:
    run = webhook.post("quick")
    events = list(stream(webhook, run))
    assert events[-1]["event"] == "end"
    final = json.loads(events[-1]["data"])
    assert (final["id"], final["status"]) == (run["id"], "success"), final["error"]
    lines = [event for event in events if event["event"] == "log"]
    text = webhook.call("GET", run["logs_url"]).text
    assert [event["data"] for event in lines] == text.splitlines()
    assert any(event["event"] == "progress" for event in events), "followed while it ran"
    rest = [event["data"] for event in stream(webhook, run, lines[1]["id"]) if event["event"] == "log"]
    assert rest == text.splitlines()[2:]


def test_readers_of_the_log_never_hold_up_other_calls(webhook: Any) -> None:
    run = webhook.post("slow")
    until(lambda: webhook.run(run["id"])["at_work"] == ["slow"], "dbt is at work")
    readers = [
        webhook.call("GET", run["logs_url"], headers={"Accept": "text/event-stream"}, stream=True) for _ in range(10)
    ]
    try:
        assert [reader.status_code for reader in readers] == [200] * 8 + [503] * 2
        assert webhook.call("GET", "/status", timeout=5).status_code == 200
        page = webhook.call("GET", "/").text
        assert "slow" in page and "<progress" in page and 'http-equiv="refresh" content="2"' in page
    finally:
        webhook.call("POST", f"{run['url']}/cancel")
        for reader in readers:
            reader.close()
    webhook.final(run["id"])
    again = until(lambda: _reader(webhook, run), "the places are free again", 20)
    again.close()


def _reader(webhook: Any, run: dict[str, Any]) -> Any:
    reader = webhook.call("GET", run["logs_url"], headers={"Accept": "text/event-stream"}, stream=True)
    if reader.status_code == 200:
        return reader
    reader.close()
    return None


def test_pages_show_what_ran_and_repeat_nothing_as_markup(webhook: Any) -> None:
    good, bad = done(webhook, "quick"), done(webhook, "wrong")
    overview = webhook.call("GET", "/")
    assert "script-src 'self'" in overview.headers["Content-Security-Policy"]
    assert good["id"] in overview.text and "not_negative_wrong_one" in overview.text
    page = webhook.call("GET", f"/view/{bad['id']}").text
    assert "not_negative_wrong_one" in page and 'class="state fail"' in page
    assert webhook.call("GET", "/view/nobody").status_code == 404
    nasty = done(webhook, "quick", command="test", key="k", vars={"x": "<script>alert(1)</script>"})
    for path in ("/", f"/view/{nasty['id']}"):
        assert "<script>alert" not in webhook.call("GET", path).text
    assert "with <code>x</code>" in webhook.call("GET", "/").text


def test_metrics_count_runs_by_result_and_know_the_last_success(webhook: Any) -> None:
    def metrics() -> dict[str, float]:
        text = webhook.call("GET", "/metrics").text
        return {
            sample.name + "".join(sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    before = metrics()
    run = done(webhook, "quick")
    done(webhook, "wrong")
    after = metrics()
    for status in ("success", "error"):
        assert after[f"dbt_runs_total{status}"] == before[f"dbt_runs_total{status}"] + 1
        assert after[f"dbt_run_duration_seconds_count{status}"] == after[f"dbt_runs_total{status}"]
        assert after[f"dbt_run_duration_seconds_bucket+Inf{status}"] == after[f"dbt_runs_total{status}"]
    ended = run["ended_at"]
    assert after["dbt_last_success_timestamp_seconds"] > before["dbt_last_success_timestamp_seconds"], ended
    assert (after["dbt_runs_queued"], after["dbt_runs_running"]) == (0, 0)


def test_the_documentation_is_that_of_the_last_good_run(webhook: Any) -> None:
    done(webhook, "quick")
    until(lambda: webhook.call("GET", "/docs/").status_code == 200, "the documentation is written", 60)
    page = webhook.call("GET", "/docs/")
    assert page.headers["Content-Type"].startswith("text/html") and "model.ecommerce.quick" in page.text
    assert webhook.call("GET", "/docs/", headers={"If-None-Match": page.headers["ETag"]}).status_code == 304


def test_the_worker_is_alive_while_it_writes_documentation_that_takes_long(webhook: Any, clickhouse: Any) -> None:
    """The catalog here takes a minute; a run that is asked for ends it."""
    macro = webhook.project / "macros/slow_catalog.sql"
    sql = "select sleepEachRow(0.5) as catalogued from numbers(120) settings max_block_size = 1"
    macro.write_text(
        "".join(
            f'{{% macro clickhouse__{name} %}}{{% do run_query("{sql}") %}}{{% endmacro %}}\n'
            for name in (
                "get_catalog(information_schema, schemas)",
                "get_catalog_relations(information_schema, relations)",
            )
        )
    )
    at_work = "SELECT count() FROM system.processes WHERE query LIKE '%catalogued%' AND query NOT LIKE '%system.proc%'"
    lock = webhook.home / "worker.lock"
    try:
        done(webhook, "quick")
        with clickhouse.client() as client:
            until(lambda: client.command(at_work), "dbt reads the catalog", said=webhook.log)
            seen = lock.stat().st_mtime
            until(lambda: lock.stat().st_mtime > seen, "a heartbeat", 20)
            assert client.command(at_work), "the heartbeat came while dbt read the catalog"
    finally:
        macro.unlink()
        done(webhook, "quick")


def test_the_process_that_is_forked_has_one_thread(webhook: Any) -> None:
    done(webhook, "quick")
    (host,) = (
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if _is_child(stat, webhook.processes[-1].pid) and b"dbt/host.py" in (stat.parent / "cmdline").read_bytes()
    )
    assert len(list(Path(f"/proc/{host}/task").iterdir())) == 1


def _is_child(stat: Path, parent: int) -> bool:
    try:
        return int(stat.read_text().rsplit(")", 1)[1].split()[1]) == parent
    except OSError:
        return False


def test_variables_reach_the_project_and_the_next_run_is_free_of_them(webhook: Any, clickhouse: Any) -> None:
    (webhook.project / "models/marts/told.sql").write_text('select \'{{ var("word", "nothing") }}\' as word\n')

    def word() -> Any:
        with clickhouse.client() as admin:
            return admin.command("SELECT word FROM analytics.told")

    run = done(webhook, "told", vars={"word": "it's {{ 1 + 1 }}"})
    assert run["status"] == "error" or word() != "it's 2", "a value is a value and no template"
    run = done(webhook, "told", vars={"word": "--target dev; rm -rf ~"})
    assert (run["status"], run["vars"]) == ("success", {"word": "--target dev; rm -rf ~"})
    assert word() == "--target dev; rm -rf ~"
    assert done(webhook, "told")["status"] == "success"
    assert word() == "nothing"


def test_a_changed_model_is_what_the_next_run_builds(webhook: Any, clickhouse: Any) -> None:
    model = webhook.project / "models/marts/quick.sql"
    for number in (2, 3):
        model.write_text(f"select {number} as one\n")
        assert done(webhook, "quick")["status"] == "success"
        with clickhouse.client() as admin:
            assert admin.command("SELECT one FROM analytics.quick") == number
    model.write_text("select {{ nonsense(\n")
    broken = done(webhook, "quick")
    assert broken["status"] == "error" and "quick.sql" in broken["error"], broken["error"]
    model.write_text("select 1 as one\n")
    assert done(webhook, "quick")["status"] == "success"
    answer = webhook.call("POST", "/webhook", json={"select": ["quik"]})
    assert answer.status_code == 422 and "quick" in answer.json()["detail"]
