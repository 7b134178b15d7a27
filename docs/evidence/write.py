"""Write the numbers of the evidence into the pages that show them, and draw the figure.

python docs/evidence/write.py            # write
python docs/evidence/write.py --check    # say which page or picture does not show what the records say, and fail

A number stands between two comments, `<!-- evidence: NAME -->` and `<!-- /evidence -->`; what is there is made anew.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable

from again import again
from figure import draw
from measures import HERE, Cells, read
from recipe_tables import every_loss, outcome, recipe
from sentences import gain, gence, strengths, ties
from side_studies import batches, networks
from tables import all_settings, progress, promises, same_recipe, short, term

ROOT = HERE.parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs/evidence.md", ROOT / "docs/which-loss.md")
PICTURE = HERE / "differences.svg"
PARTS: dict[str, Callable[[Cells], str]] = {
    "short": short,
    "gence": gence,
    "promises": promises,
    "recipe": recipe,
    "every_loss": every_loss,
    "again": again,
    "outcome": outcome,
    "strengths": strengths,
    "ties": ties,
    "gain": gain,
    "batches": batches,
    "networks": networks,
    "term": term,
    "same_recipe": same_recipe,
    "settings": all_settings,
    "progress": progress,
}
_PART = re.compile(r"(<!-- evidence: (\w+) -->\n).*?(<!-- /evidence -->)", re.DOTALL)


def filled(text: str, cells: Cells) -> str:
    """The text of a page with its numbers as the records have them."""
    return _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]](cells)}\n{found[3]}", text)


def drawn(cells: Cells) -> bytes:
    """The picture as it is for these records."""
    stream = io.BytesIO()
    draw(cells, stream)
    return stream.getvalue()


def main() -> int:
    cells = read()
    if "--check" in sys.argv[1:]:
        stale = [page for page in PAGES if filled(page.read_text(), cells) != page.read_text()]
        stale += [] if drawn(cells) == PICTURE.read_bytes() else [PICTURE]
        for page in stale:
            print(f"{page.relative_to(ROOT)}: not what the records say; run python docs/evidence/write.py")
        return bool(stale)
    for page in PAGES:
        page.write_text(filled(page.read_text(), cells))
    PICTURE.write_bytes(drawn(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
