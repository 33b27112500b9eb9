"""Mistakes in pipeline.yml are named with their line and with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from elt.errors import PipelineFileError
from elt.sources.registry import read_pipeline

HEAD = "sources:\n- name: api\n  kind: rest\n  url: https://api.example.com\n"


def _read(tmp_path: Path, text: str) -> object:
    file = tmp_path / "pipeline.yml"
    file.write_text(text)
    return read_pipeline(file)


def test_the_example_of_the_documentation_is_read(tmp_path: Path, repo: Path) -> None:
    text = (repo / "docs" / "rest.md").read_text()
    example = text[text.index("```yaml\n") + 8 : text.index("```\n", text.index("```yaml\n") + 8)]
    found = read_pipeline(_written(tmp_path, example))
    assert [one.target_name for source in found.sources for one in source.entries] == [
        "fakestore__products",
        "fakestore__users",
        "fakestore__carts",
        "github__issues",
    ]


def _written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "pipeline.yml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (HEAD, "endpoints: is missing"),
        (
            HEAD.replace("https://api", "https://me:secret@api") + "  endpoints: [{name: a, path: /a}]",
            "a password does not stand in pipeline.yml",
        ),
        (HEAD.replace("https", "ftp") + "  endpoints: [{name: a, path: /a}]", "is no address of an API"),
        (HEAD + "  endpoints: [{name: a, path: a}]", "line 5: sources.0.endpoints.0.path: 'a' is no path"),
        (HEAD + "  endpoints: [{name: a, path: /a}, {name: a, path: /b}]", "the endpoints a stand twice"),
        (HEAD + "  endpoints: [{name: a, path: /a, paging: pages}]", "paging is none, or one of link, page"),
        (HEAD + "  endpoints: [{name: a, path: /a, paging: {page: {parm: p}}}]", "parm: is not a known key"),
        (HEAD + "  endpoints: [{name: a, path: /a, paging: {cursor: {param: c}}}]", "a cursor stands at: a key"),
        (HEAD + "  endpoints: [{name: a, path: /a, since: interval_start}]", "since and until are for paging: keyset"),
        (HEAD + "  endpoints: [{name: a, path: '/{repo}'}]", "{repo} is not known; name it under for_each"),
        (HEAD + "  endpoints: [{name: a, path: /a, for_each: {repo: [x]}}]", "repo of for_each stands neither in path"),
        (HEAD + "  endpoints: [{name: a, path: /a, exclude: [x]}]", "exclude is not for an endpoint: drop: leaves"),
        (HEAD + "  endpoints: [{name: a, path: /a, drop: [x], mask: [x]}]", "x stands under drop and mask"),
        (HEAD + "  headers: {Authorization: {var: X}}\n  endpoints: [{name: a, path: /a}]", "env: is missing"),
        (HEAD + "  limits: {wait_at_most: soon}\n  endpoints: [{name: a, path: /a}]", "limits.wait_at_most"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, mistake: str) -> None:
    with pytest.raises(PipelineFileError) as error:
        _read(tmp_path, text)
    assert mistake in str(error.value)
