"""Lines of the control plane, written through the engine's sink so that there is one log and one writer.

`ControlLog` is the one object every room logs to. Until `structure()` is called it formats by itself, because the first
answer must not wait for an import; afterwards structlog carries the same lines with the bound context of a request. The
shape of the line around the text (Unbound's or JSON, `log-format`) is the sink's. It must never print a secret: values
under a telling name are masked whatever they are.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

Sink = Callable[[str, str], None]
"""Writes one line: level (`error`, `warning`, `notice`, `info`, `debug`) and text. The engine's `log`."""

DEBUG_VERBOSITY: Final = 2
"""Lowest `verbosity` at which debug lines of the control plane are written, Unbound's "detailed" level."""

SECRET_WORDS: Final = ("key", "token", "secret", "password", "pin", "authorization")
"""A field whose name ends in one of these is masked."""

MASK: Final = "(hidden)"


class ControlLog:
    """Writes events with fields: `log.info("reloaded", revision=3)`. Safe from every thread."""

    def __init__(self, sink: Sink, verbosity: int = 1) -> None:
        self._sink = sink
        self._emit: Callable[[str, str, dict[str, object]], None] = self._direct
        self._bound: Callable[..., AbstractContextManager[object]] | None = None
        self.verbosity = verbosity

    def error(self, event: str, /, **fields: object) -> None:
        """Something does not work."""
        self._emit("error", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Something is not as it should be, and goes on."""
        self._emit("warning", event, fields)

    def notice(self, event: str, /, **fields: object) -> None:
        """Worth a line in the quietest log."""
        self._emit("notice", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """An ordinary event."""
        self._emit("info", event, fields)

    def debug(self, event: str, /, **fields: object) -> None:
        """Detail, from `verbosity: 2` on."""
        if self.verbosity >= DEBUG_VERBOSITY:
            self._emit("debug", event, fields)

    def context(self, **fields: object) -> AbstractContextManager[object]:
        """Adds fields to every line written within, in this thread or task; nothing before `structure()`."""
        return self._bound(**fields) if self._bound is not None else nullcontext()

    def structure(self) -> None:
        """Hands the lines to structlog. Imports it, so call it when the engine answers already."""
        import structlog

        def to_sink(_logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
            text = event.pop("event")
            self._sink(level, line(str(text), event))
            raise structlog.DropEvent

        logger = structlog.wrap_logger(
            None, processors=[structlog.contextvars.merge_contextvars, to_sink], wrapper_class=structlog.BoundLoggerBase
        ).bind()

        def emit(level: str, event: str, fields: dict[str, object]) -> None:
            logger._proxy_to_logger(level, event, **fields)

        self._emit = emit
        self._bound = structlog.contextvars.bound_contextvars

    def _direct(self, level: str, event: str, fields: dict[str, object]) -> None:
        self._sink(level, line(event, fields))


def line(event: str, fields: Mapping[str, object]) -> str:
    """`event key=value key="two words"`, on one line whatever stands in the values, secrets masked."""
    return " ".join([_printable(event), *_pairs(fields)])


def _pairs(fields: Mapping[str, object]) -> Iterator[str]:
    for name, value in fields.items():
        text = MASK if name.lower().endswith(SECRET_WORDS) else str(value)
        shown = _printable(text)
        if not shown or any(c in ' "=' for c in shown):
            # Backslashes too, or one before a quote would end the value early and the rest stand as a field.
            shown = '"' + _printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
        yield f"{name}={shown}"


def _printable(text: str) -> str:
    """Control characters and undecodable octets escaped, so that no value can forge a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
