import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhook.dbt import events


def read_event(text: str) -> events.Event:
    return events.read_event(text, lambda told: told.replace("hush", "***"))


def line(name: str, data: object, level: str = "info") -> str:
    return json.dumps({"info": {"name": name, "level": level, "msg": "text"}, "data": data})


def finished(resource_type: str, **result: object) -> str:
    info = {"unique_id": f"{resource_type}.shop.a", "node_name": "a", "resource_type": resource_type}
    return line("NodeFinished", {"node_info": info, "run_result": result}, "debug")


def test_a_finished_model_has_state_seconds_and_rows() -> None:
    node = read_event(
        finished("model", status="success", execution_time=0.5, adapter_response={"rows_affected": 7})
    ).node
    assert node is not None and node.ended_at is not None
    assert (node.name, node.status, node.seconds, node.rows) == ("a", "success", 0.5, 7)


def test_a_failed_test_counts_its_failing_rows() -> None:
    node = read_event(finished("test", status="fail", num_failures=3, message="Got 3 results")).node
    assert node is not None and (node.status, node.rows, node.message) == ("fail", 3, "Got 3 results")


def test_a_started_node_is_running_and_a_start_line_tells_the_total() -> None:
    info = {"node_info": {"unique_id": "model.shop.a", "node_name": "a", "resource_type": "model"}}
    node = read_event(line("NodeStart", info)).node
    assert node is not None and node.status == "running" and node.ended_at is None
    assert read_event(line("LogStartLine", {"index": 1, "total": 9})).total == 9


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "{", "[1]", '{"info": 1}', "[" * 100_000])
def test_a_line_that_is_no_event_is_kept_as_text(text: str) -> None:
    event = read_event(text)
    assert (event.level, event.text) == ("raw", text)


def test_secrets_are_masked_in_texts_and_messages_before_those_are_cut() -> None:
    told = json.dumps({"info": {"name": "x", "level": "info", "msg": "a hush"}, "data": {}})
    assert read_event(told).text == "a ***"
    assert read_event("Traceback: hush").text == "Traceback: ***"
    node = read_event(finished("model", status="error", message="x" * 1998 + "hush")).node
    assert node is not None and node.message == "x" * 1998 + "**"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(["NodeStart", "NodeFinished", "LogStartLine", "x"]), json_values)
def test_no_line_can_raise(name: str, data: object) -> None:
    read_event(line(name, data))
    read_event(line(name, {"node_info": data, "run_result": data, "total": data}))
    read_event(
        line(name, {"node_info": {"unique_id": "a"}, "run_result": {"execution_time": data, "num_failures": data}})
    )
