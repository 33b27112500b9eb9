"""antd takes its styles from our file (stack_superset/styles.py), and pages look as if it had computed them."""

from antd_styles import FOLDER, computed, file_name, without_file
from browser import Visitor

COMPUTED_STYLES = "() => document.querySelectorAll('style[data-css-hash]').length"
# Of each element: where it is and all that its style says. What moves by itself is left out, and the title, which says how many minutes ago it was
# changed.
LOOKS = """() => [...document.querySelectorAll("#app *")].filter(part => !part.closest(".title-panel")).map(part => {
  const style = getComputedStyle(part);
  const box = part.getBoundingClientRect();
  const told = [...style].filter(name => !/^(transition|animation|will-change|perspective-origin|transform-origin)/.test(name));
  return [part.tagName, ...[box.x, box.y, box.width, box.height].map(Math.round), ...told.map(name => name + ":" + style.getPropertyValue(name))];
}).map(words => words.join(" "))"""


def test_the_file_holds_what_antd_computes_now(admin_visitor: Visitor, believable: None) -> None:
    (file,) = FOLDER.glob("*.css")
    text = file.read_text()
    assert file.name == file_name(text)
    styles = computed(admin_visitor)
    assert len(styles) > 20
    for path, style in styles.items():
        held = (
            f"{path}:{style.hash};" in text
            and style.css in text
            and all(effect in text for effect in style.effects.values())
        )
        assert held, f"{path} is another one now: take the file again, tests/e2e/antd_styles.py says how."


def test_a_dashboard_computes_no_style_and_looks_the_same(admin_visitor: Visitor, believable: None) -> None:
    def looks() -> list[str]:
        admin_visitor.open("sales")
        admin_visitor.page.wait_for_timeout(1500)
        return list(admin_visitor.page.evaluate(LOOKS))

    with_file, styles = looks(), admin_visitor.page.evaluate(COMPUTED_STYLES)
    with without_file(admin_visitor):
        without, all_styles = looks(), admin_visitor.page.evaluate(COMPUTED_STYLES)
    assert styles == 0 < all_styles
    assert len(with_file) == len(without)
    assert [pair for pair in zip(with_file, without, strict=True) if pair[0] != pair[1]] == []


def test_what_the_file_does_not_hold_is_computed_beside_it(admin_visitor: Visitor) -> None:
    admin_visitor.page.goto(f"{admin_visitor.url}/dashboard/list/")
    admin_visitor.page.wait_for_load_state("networkidle")
    assert 0 < admin_visitor.page.evaluate(COMPUTED_STYLES) < 20
    assert admin_visitor.page.get_by_role("link", name="Sales", exact=True).first.is_visible()
