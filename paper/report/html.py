"""HTML of the generated Markdown pages, and of tables whose columns can be sorted."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

NUMBER = re.compile(r"\s*[+−-]?\d+(\.\d+)?(e[+-]?\d+)?")
"""What a cell is sorted by, if it begins with it."""


def of_markdown(text: str, level: int = 3) -> str:
    """A page of ours as part of a larger one: its title becomes a heading of this level.

    Tables can be sorted and scroll by themselves; links to other files of the repository, which a
    page by itself has not, become plain text.
    """
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + level - 1)}"
        if token.type == "inline":
            token.children = [each for each in token.children if not _is_link(each)]
    _sortable(tokens)
    html = parser.renderer.render(tokens, parser.options, {})
    return html.replace("<table", '<div class="scroll"><table').replace(
        "</table>", "</table></div>"
    )


def _is_link(token: Token) -> bool:
    if token.type == "link_open" and str(token.attrs["href"]).startswith(("http://", "https://")):
        raise ValueError(f"a generated page links to {token.attrs['href']}: give it here by name")
    return token.type in ("link_open", "link_close")


def _sortable(tokens: list[Token]) -> None:
    """Marks tables, and each cell that begins with a number with that number."""
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "table_open":
            token.attrSet("class", "sortable")
        if token.type == "td_open" and (key := sort_key(following.content)) is not None:
            token.attrSet("data-sort", key)


def sort_key(text: str) -> str | None:
    """The number that a cell begins with, marks of emphasis aside; None where there is none."""
    found = NUMBER.match(text.lstrip("*_ "))
    return found and found.group().strip().replace("−", "-")


def data_uri(path: Path, kind: str = "image/png") -> str:
    """A file's bytes as an address, so that the page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
