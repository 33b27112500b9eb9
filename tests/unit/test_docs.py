"""The pages: relative links lead to files and headings that exist, commands exist, every page is listed in an index."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
# `./run.sh` and `scripts/logs SERVICE`, in text or in a block.
COMMAND = re.compile(
    r"(?:^|[`\s])(\./[\w/]+\.sh|(?:scripts|benchmarks)/\w+(?:\.sh)?)(?=[`\s,]|\.?(?:\s|$))", re.MULTILINE
)
# A scheme, such as https: or mailto:.
FOREIGN = re.compile(r"^[a-z][a-z0-9+.-]*:")


def pages(repo: Path) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True).stdout
    return [repo / name for name in listed.splitlines() if (repo / name).exists()]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings: lower case, punctuation dropped, blanks as hyphens, repeats numbered."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        repeats = sum(1 for other in found if re.fullmatch(re.escape(anchor) + r"(-\d+)?", other))
        found.add(f"{anchor}-{repeats}" if repeats else anchor)
    return found


def broken_links(page: Path) -> list[str]:
    """The targets of a page's relative links that do not exist."""
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if FOREIGN.match(link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name) if name else page
        is_broken = not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target.read_text())
        )
        if is_broken:
            broken.append(link)
    return broken


def test_every_relative_link_leads_to_a_file_and_a_heading(repo: Path) -> None:
    found = pages(repo)
    broken = [f"{page.relative_to(repo)}: {link}" for page in found for link in broken_links(page)]
    assert len(found) > 10 and not broken, "\n".join(broken)


@pytest.mark.parametrize("folder", ["docs", "docs/decisions"])
def test_the_index_of_a_folder_links_every_page_in_it(repo: Path, folder: str) -> None:
    index = repo / folder / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    missing = {page.name for page in pages(repo) if page.parent == index.parent} - {index.name}
    assert not missing - {page.name for page in linked if page.parent == index.parent}


def test_every_command_that_a_page_names_exists(repo: Path) -> None:
    named = {command for page in pages(repo) for command in COMMAND.findall(page.read_text())}
    missing = {command for command in named if not (repo / command).exists()}
    assert "scripts/logs" in named and not missing


def test_the_readme_fits_two_screens(repo: Path) -> None:
    assert len((repo / "README.md").read_text().splitlines()) <= 100


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("there.md", False),
        ("there.md#two-words-and-code", False),
        ("there.md#again-1", False),
        ("#here", False),
        ("https://example.org/nothing.md", False),
        ("gone.md", True),
        ("there.md#gone", True),
        ("there.md#not-a-heading", True),
        ("#gone", True),
        ("folder/../../gone", True),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, link: str, is_broken: bool) -> None:
    (tmp_path / "there.md").write_text("# Two words, and `code`\n\n## Again\n\n## Again\n\n```\n# not a heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n\nSee [it]({link}).\n\n```\n[not a link](gone-too.md)\n```\n")
    assert broken_links(page) == ([link] if is_broken else [])
