"""The benchmarks' arithmetic and table; nothing here takes its time."""

from benchmarks.harness import Limit, Measured, Row, to_dict, to_markdown


def test_row_compares_rates_turn_by_turn() -> None:
    # Ours does 10 in 2, 5, 4 s; the other 20 in 4, 5, 16 s. Rates of the turns: 5, 2, 2.5 by 5, 4, 1.25.
    ours, reference = Measured("ours", (2.0, 5.0, 4.0), 10), Measured("other", (4.0, 5.0, 16.0), 20)
    row = Row(what="work", unit="images", ours=ours, reference=reference, aim=0.9)
    assert row.ratios == (1.0, 0.5, 2.0)
    assert (row.ratio, row.met, ours.rate, ours.spread) == (1.0, True, 2.5, (2.0, 5.0))
    line = "| work | 2.5 images/s (2 to 5) | other: 4 images/s (1.25 to 5) | 1.00 (0.50 to 2.00) | 0.9: met |"
    assert to_markdown([row]).splitlines()[2:] == [line]


def test_limit_is_kept_by_the_median() -> None:
    kept = Limit(what="help", unit="s", values=(0.1, 0.9, 0.3), most=0.3, note="why")
    passed = Limit(what="help", unit="s", values=(0.1, 0.9, 0.4), most=0.3)
    assert [kept.met, passed.met, Limit(what="", unit="s", values=(1.0,)).met] == [True, False, None]
    lines = to_markdown([kept, passed]).splitlines()[2:]
    assert lines == [
        "| help | 0.3 s (0.1 to 0.9) | - | - | at most 0.3 s: met |",
        "| help | 0.4 s (0.1 to 0.9) | - | - | at most 0.3 s: missed |",
        "",
        "- help: why",
    ]
    expected = {"what": "help", "unit": "s", "values": (0.1, 0.9, 0.3), "most": 0.3, "note": "why", "value": 0.3, "met": True}
    assert to_dict(kept) == expected
