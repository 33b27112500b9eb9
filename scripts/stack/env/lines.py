"""Parses `.env` so that this program, Docker Compose and scripts/docker.sh see the same values.

It refuses a line that they would read differently. The message gives number and name of the line, never its value.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError
from stack.paths import shown

_PAIR = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)")
# Byte order mark, which some editors write; Compose skips it too.
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Pair:
    """A value and its origin: `line 7`, or `the environment`."""

    value: str
    where: str


class Lines:
    """The lines of one file. `pairs` holds the last line of each name, which Compose uses too; `at` holds all line numbers."""

    def __init__(self, file: Path, text: str) -> None:
        self.text = text
        self.pairs: dict[str, Pair] = {}
        self.at: dict[str, list[int]] = {}
        bad = []
        for number, line in enumerate(text.removeprefix(_BYTE_ORDER_MARK).split("\n"), start=1):
            try:
                pair = _parse(line.removesuffix("\r"))
            except ValueError as error:
                bad.append(f"line {number}: {error}")
                continue
            if pair is not None:
                name, value = pair
                self.pairs[name] = Pair(value, f"line {number}")
                self.at.setdefault(name, []).append(number)
        if bad:
            raise StackError(refusal(file, bad))

    @property
    def values(self) -> dict[str, str]:
        return {name: pair.value for name, pair in self.pairs.items()}


def refusal(file: Path, mistakes: list[str]) -> str:
    """Returns a message with every mistake of a file."""
    ordered = sorted(mistakes, key=_line_of)
    return "\n  ".join([f"{shown(file)} cannot be used, and nothing was changed or started:", *ordered])


def _line_of(mistake: str) -> int:
    """Returns the line number of a mistake; mistakes without one sort last."""
    match = re.match(r"line (\d+)", mistake)
    return int(match[1]) if match else 1 << 30


def read(file: Path) -> Lines:
    """Reads an env file. Raises StackError that names each unreadable line, or why the file cannot be read."""
    try:
        if file.exists() and not file.is_file():
            raise StackError(f"{shown(file)} is no plain file: put one in its place.")
        text = file.read_bytes().decode()
    except FileNotFoundError:
        gone = f"links to {file.readlink()}, which is not there" if file.is_symlink() else "is not there"
        raise StackError(f"{shown(file)} {gone}: put the file back.") from None
    except PermissionError:
        raise StackError(
            f"{shown(file)} cannot be read by this user: `chmod 600` and `chown` it, or run as its owner."
        ) from None
    except OSError as error:
        raise StackError(f"{shown(file)} cannot be read ({error.strerror}): put a plain file in its place.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise StackError(
            refusal(file, [f"line {line}: holds bytes that are not UTF-8; save the file in that encoding."])
        ) from None
    return Lines(file, text)


def _parse(line: str) -> tuple[str, str] | None:
    """Returns name and value of a line, None for a comment. Raises ValueError with cause and cure, without the value."""
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    match = _PAIR.fullmatch(line)
    if match is None:
        raise ValueError(_no_pair(line))
    name, rest = match.groups()
    if not rest.replace("\t", " ").isprintable():
        raise ValueError(f"{name} holds a character that cannot be seen, such as NUL; type its value anew.")
    if rest[:1] in ("'", '"'):
        return name, _quoted(name, rest)
    value = rest.split(" #")[0].rstrip()
    if "#" in value:
        raise ValueError(f"{name} has a # that Compose may take for a comment; put the value in single quotes.")
    if "$" in value:
        raise ValueError(f"{name} has a $ that Compose would replace; put the value in single quotes.")
    return name, value


def _quoted(name: str, rest: str) -> str:
    value, closed, after = rest[1:].partition(rest[0])
    if not closed:
        raise ValueError(f"{name} opens a quote that its line does not close; close it, or take it out.")
    if after.strip() and not after.lstrip().startswith("#"):
        raise ValueError(f"{name} has text after its closing quote; take out the quote or the text.")
    if "\\" in value:
        raise ValueError(f"{name} has a backslash in quotes, which programs read differently; leave out the quotes.")
    if rest[0] == '"' and "$" in value:
        raise ValueError(f"{name} has a $ that Compose would replace; put the value in single quotes.")
    return value


def _no_pair(line: str) -> str:
    if not line.replace("\t", " ").isprintable():
        return "holds a character that cannot be seen, such as NUL or a lone carriage return; type the line anew."
    if "=" not in line:
        return "has no =; write NAME=value, or begin a comment with #."
    return "does not begin with a name; write NAME=value, with letters, digits and _ in the name."


def render(name: str, value: str) -> str:
    """Returns the line for `value`. Raises ValueError if no line can hold it."""
    for line in (f"{name}={value}", f"{name}='{value}'"):
        try:
            if "\n" not in value and _parse(line) == (name, value):
                return line
        except ValueError:
            continue
    raise ValueError(f"{name} holds what no line of the file can: a line break, or a $ or # beside a single quote.")
