"""A command, a setting, a column or a code that is not in the docs fails here; `make reference` mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dmarcview import syntax
from dmarcview.config import read
from dmarcview.config.reader import settings_paths
from dmarcview.reference import PAGES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_reference_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / "reference" / f"{name}.md").read_text() == PAGES[name](), "run `make reference`"


def test_every_command_is_documented() -> None:
    page = (DOCS / "reference" / "commands.md").read_text()
    for command in syntax.COMMANDS:
        assert f"\n## {command.name}\n" in page


def test_every_setting_is_documented() -> None:
    page = (DOCS / "reference" / "config.md").read_text()
    for path in settings_paths():
        assert f"`{path[-1]}`" in page, path


@pytest.mark.parametrize("name", ["operating.md", "flow.md", "alerts.md"])
def test_settings_shown_in_the_docs_are_accepted(name: str, tmp_path: Path) -> None:
    text = (DOCS / name).read_text()
    for block in re.findall(r"```toml\n(.*?)```", text, re.S):
        read(block, {}, tmp_path)


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in DOCS.glob("*.md")))
def test_commands_named_in_the_docs_exist(page: str) -> None:
    known = {command.name for command in syntax.COMMANDS}
    for word in re.findall(r"`dmarcview ([a-z]+)", (ROOT / page).read_text()):
        assert word in known, f"{page} names `dmarcview {word}`"


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")))
def test_links_between_the_docs_lead_somewhere(page: str) -> None:
    file = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text()):
        assert (file.parent / target).exists(), f"{page} links to {target}"
