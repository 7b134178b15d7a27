"""Lets Markdown read docstrings, which are written for a terminal: doctests become code, Sphinx's mathematics TeX."""

from __future__ import annotations

import re

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority

ROLE = re.compile(r":math:`([^`]+)`")
DIRECTIVE = re.compile(r"^( *)\.\. math::[ \n]*(\S.*(?:\n\1 +\S.*)*)", re.MULTILINE)
DOCTEST = re.compile(r"^>>> .*(?:\n.*\S.*)*", re.MULTILINE)
FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


class AsMarkdown(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        return as_markdown("\n".join(lines)).split("\n")


class DocstringExtension(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(AsMarkdown(md), "docstring", 26)  # just before fenced code is put aside


@event_priority(100)  # before mkdocstrings takes over the extensions
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.markdown_extensions.append(DocstringExtension())  # type: ignore[arg-type]
    return config


def as_markdown(text: str) -> str:
    r"""Sphinx's `:math:` and `.. math::` as `\(...\)` and `\[...\]`, doctests fenced; what is fenced already stays."""
    parts = FENCED.split(text)
    return "".join(part if place % 2 else _prose(part) for place, part in enumerate(parts))


def _prose(text: str) -> str:
    text = DOCTEST.sub(lambda found: f"```pycon\n{found[0]}\n```", text)
    text = DIRECTIVE.sub(lambda found: f"\n{found[1]}\\[{' '.join(found[2].split())}\\]\n", text)
    return ROLE.sub(lambda found: rf"\({found[1]}\)", text)
