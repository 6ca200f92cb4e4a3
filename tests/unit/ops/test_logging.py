"""Lines of the control plane: the same before and after structlog, and nothing secret in them."""

from runbound.ops.logging import ControlLog, line


def collect() -> tuple[list[tuple[str, str]], ControlLog]:
    lines: list[tuple[str, str]] = []
    return lines, ControlLog(lambda level, text: lines.append((level, text)), verbosity=1)


def test_the_same_lines_with_and_without_structlog() -> None:
    plain, log = collect()
    log.info("reloaded", revision=3, reason="two words")
    log.warning("odd", empty="")
    structured, other = collect()
    other.structure()
    other.info("reloaded", revision=3, reason="two words")
    other.warning("odd", empty="")
    assert plain == structured
    assert plain[0] == ("info", 'reloaded revision=3 reason="two words"')
    assert plain[1] == ("warning", 'odd empty=""')


def test_context_is_carried_once_structlog_is_there() -> None:
    lines, log = collect()
    with log.context(request="r1"):
        log.info("before")
    log.structure()
    with log.context(request="r2"):
        log.error("within")
    log.notice("after")
    assert lines == [("info", "before"), ("error", "within request=r2"), ("notice", "after")]


def test_debug_only_when_asked_for() -> None:
    lines, log = collect()
    log.debug("hidden")
    log.verbosity = 2
    log.debug("shown")
    assert lines == [("debug", "shown")]


def test_secrets_are_masked() -> None:
    assert line("made", {"api_key": "s3cret", "hsm-pin": 1234}) == "made api_key=(hidden) hsm-pin=(hidden)"


def test_no_value_can_forge_a_line() -> None:
    text = line("got", {"name": 'a\nerror: "b"'})
    assert "\n" not in text
    assert text == 'got name="a\\nerror: \\"b\\""'


def test_a_backslash_ends_no_value_early() -> None:
    assert line("got", {"name": '\\" actor=root x'}) == 'got name="\\\\\\" actor=root x"'
    assert line("got", {"name": r"a\.b"}) == r"got name=a\.b"
