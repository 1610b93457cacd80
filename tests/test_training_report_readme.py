"""A README's blocks of figures, and the Markdown that they are filled with."""

from __future__ import annotations

import pytest

from training.report.readme import ReadmeError, blocks, filled
from training.report.readme_markdown import WIDTH, paragraph, table

TEXT = """# Title

<!-- figures: one -->
old
<!-- end -->
between <!-- figures: not-one --> the blocks
<!-- figures: two-b -->

kept

<!-- end -->
after
"""


def test_blocks_are_found_by_name_and_stand_alone_on_their_lines() -> None:
    assert blocks(TEXT) == {"one": "old", "two-b": "kept"}


def test_a_filled_block_is_replaced_and_everything_else_stays_to_the_byte() -> None:
    done = filled(TEXT, {"one": "new\n\nlines"})
    assert blocks(done) == {"one": "new\n\nlines", "two-b": "kept"}
    start, _, rest = TEXT.partition("old\n")
    assert done == f"{start}\nnew\n\nlines\n\n{rest}"


def test_filling_twice_changes_nothing_more() -> None:
    figures = {"one": "\nnew\n", "two-b": "too"}
    once = filled(TEXT, figures)
    assert filled(once, figures) == once
    assert filled(once, blocks(once)) == once


def test_an_empty_block_and_a_last_line_without_an_end_are_read() -> None:
    text = "<!-- figures: one -->\n<!-- end -->"
    assert blocks(text) == {"one": ""}
    assert filled(text, {"one": "new"}) == "<!-- figures: one -->\n\nnew\n\n<!-- end -->"


def test_figures_without_a_block_are_refused() -> None:
    with pytest.raises(ReadmeError, match="no block for four, three"):
        filled(TEXT, {"one": "", "three": "", "four": ""})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- figures: one -->\nnever closed", "'one' is never closed"),
        ("<!-- figures: one -->\n<!-- figures: two -->\n<!-- end -->", "Line 2 opens a block within 'one'"),
        ("text\n<!-- end -->", "Line 2 has value '<!-- end -->'"),
        (TEXT + TEXT, "opens the block 'one' a second time"),
    ],
)
def test_blocks_that_cannot_be_told_apart_are_refused(text: str, said: str) -> None:
    with pytest.raises(ReadmeError, match=said):
        blocks(text)


def test_a_cell_ends_neither_its_row_nor_its_column() -> None:
    assert table(["a", "b"], [["x|y", "two\nlines"]]).splitlines()[2] == "| x\\|y | two lines |"


def test_a_paragraph_is_broken_between_words_alone() -> None:
    text = " ".join(["−0.4", "look-up", "`a-long-name`"] * 40)
    lines = paragraph(text).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(lines) == text
