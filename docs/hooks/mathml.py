"""Renders mathematics to MathML while the site is built: browsers draw it themselves, without a script or a font.

Arithmatex finds the TeX of a page, between dollars or from a docstring's roles; this converts what it found. TeX that
cannot be converted stops the build.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

FOUND = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
SPELLING = ((r"\arg", r"\operatorname{arg}"), ("{aligned}", "{split}"))  # what the converter knows by another name
PASSED_ON = re.compile(r'\\[a-zA-Z]*|(?<=>)&(?=<)|linebreak="newline"')  # what it did not know, and left for browsers

NAMED = r"<mi>(?:log|exp|cos|sin)</mi>"
THIN = '<mspace width="0.167em" />'
SPACES = (  # TeX sees from its neighbours how much room a sign wants, MathML is told
    (rf'(?<!<msub>)(?<!<msup>)({NAMED})(?!<mo stretchy="false">&#x00028;|</)', rf"\1{THIN}"),
    (rf"(</mi>|</mn>|</msub>|</msup>|</msubsup>|</mfrac>)({NAMED})", rf"\1{THIN}\2"),
    (r"<mo([^>]*)>(\||&#x0007C;)</mo>", r'<mo\1 lspace="0" rspace="0">\2</mo>'),
    (r"((?:&#x00028;|&#x0003D;|&#x0005B;)</mo>)<mo>(&#x02212;)</mo>", r'\1<mo form="prefix">\2</mo>'),
)


def on_page_content(html: str, page: Page, **_: Any) -> str:
    def rendered(found: re.Match[str]) -> str:
        tag, tex = found[1], unescape(found[2]).strip()[2:-2].strip()
        try:
            formula = mathml(tex, block=tag == "div")
        except ValueError as error:
            raise PluginError(f"{page.file.src_uri}: {error} in the TeX {tex!r}") from error
        return f'<{tag} class="arithmatex">{formula}</{tag}>'

    return FOUND.sub(rendered, html)


def mathml(tex: str, *, block: bool) -> str:
    """One formula, with its TeX as the text for those who cannot see it.

    Raises:
        ValueError: If the TeX cannot be converted.
    """
    known = tex
    for ours, theirs in SPELLING:
        known = known.replace(ours, theirs)
    bare = re.sub(r"\\.", "", known)
    if bare.count("{") != bare.count("}"):
        raise ValueError("braces that do not match")
    try:
        formula = convert(known, display="block" if block else "inline")
    except Exception as error:
        raise ValueError(f"{type(error).__name__} {error}".strip()) from error
    if left := PASSED_ON.search(formula):
        raise ValueError(f"something unknown, {left[0]}")
    for tight, apart in SPACES:
        formula = re.sub(tight, apart, formula)
    return formula.replace("<math ", f'<math alttext="{escape(" ".join(tex.split()))}" ', 1)
