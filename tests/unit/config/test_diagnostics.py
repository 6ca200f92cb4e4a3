"""The printed form of messages."""

from __future__ import annotations

from runbound.config.diagnostics import Diagnostic, count_errors, has_errors

ACL = Diagnostic(
    "error",
    "runbound.conf",
    41,
    17,
    11,
    'access-control: "10.0.0.0/33" is not a network (prefix is 0 to 32)',
    "write 10.0.0.0/32",
    "access-control: 10.0.0.0/33 allow",
)


def test_the_first_line_says_where_and_what() -> None:
    assert ACL.headline == 'runbound.conf:41:17: access-control: "10.0.0.0/33" is not a network (prefix is 0 to 32)'
    assert str(ACL).splitlines()[1:] == [
        "    41 | access-control: 10.0.0.0/33 allow",
        "       |                 ^^^^^^^^^^^",
        "       help: write 10.0.0.0/32",
    ]
    assert "\x1b" not in str(ACL)
    assert "\x1b[31m" in ACL.render(color=True)


def test_without_a_place_only_the_file_is_named() -> None:
    assert str(Diagnostic("warning", "a.conf", 0, 0, 0, "something")) == "a.conf: warning: something"


def test_nothing_reaches_the_terminal_that_it_would_obey() -> None:
    source = "port: \x1b[2J\udcff ü"
    shown = str(Diagnostic("error", "a\x07", 1, 7, 4, "bad \x1b[1m", None, source))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_long_lines_are_cut_around_the_caret() -> None:
    source = "x" * 5000 + " wrong " + "y" * 5000
    lines = str(Diagnostic("error", "a", 1, 5002, 5, "bad", None, source)).splitlines()
    assert len(lines[1]) < 250
    at = lines[2].index("^")
    assert lines[1][at : at + 5] == "wrong"


def test_counting() -> None:
    warning = Diagnostic("warning", "a", 1, 1, 1, "x")
    assert not has_errors([warning])
    assert has_errors([warning, ACL])
    assert count_errors([warning, ACL, ACL]) == 2
