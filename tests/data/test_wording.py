from __future__ import annotations

import pytest

from gence.data.wording import counted, listing, one_line


@pytest.mark.parametrize(
    ("count", "noun", "phrase"), [(0, "row", "0 rows"), (1, "row", "1 row"), (2, "class", "2 classes")]
)
def test_a_count_takes_the_plural_unless_it_is_one(count: int, noun: str, phrase: str) -> None:
    assert counted(count, noun) == phrase


def test_a_long_list_is_cut_and_the_rest_counted() -> None:
    assert listing(range(5), most=3) == "0, 1, 2 and 2 more"
    assert listing(range(3), most=3) == "0, 1, 2"


def test_names_that_run_over_lines_stay_in_one() -> None:
    assert listing(["how old\nare you?", "sex"]) == "how old, sex"


def test_an_error_without_words_gives_its_kind() -> None:
    assert one_line(EOFError()) == "EOFError"
    assert one_line(ValueError("\n  broken page\nat byte 4")) == "broken page"
