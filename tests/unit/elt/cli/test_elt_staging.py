"""Names and comments of a source are text to dbt, whatever of Jinja they hold."""

from elt.cli.staging import in_jinja
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import Environment

PIECES = st.lists(
    st.sampled_from(
        ["{", "}", "{{", "{%", "{#", "}}", "%}", "#}", "-", "'", '"', "\\", "`", "raw", "endraw", " ", "\n", "x"]
    )
)


@given(PIECES.map("".join))
@example("Liquid: {% if user %} hello")
@example("{{{%{#")
@example("{% raw %}{{ x }}{% endraw %}")
def test_any_text_renders_to_itself(text: str) -> None:
    assert Environment(keep_trailing_newline=True).from_string(in_jinja(text)).render() == text
