"""The Markdown tables of evaluations and benchmarks."""

from training.tables import markdown_table


def test_a_table_has_a_dash_for_no_figure_and_text_as_it_is():
    text = markdown_table(
        ("a", "b"), {"x": [float("nan"), 3], "y": ["", None]}, (".2f", "d"), "set"
    )
    assert text.splitlines() == [
        "| set | a | b |",
        "|---|---|---|",
        "| x | – | 3 |",
        "| y |  | – |",
    ]
