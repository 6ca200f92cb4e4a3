"""How many records and blocks there may be: `max-records`, `max-blocks`.

Owns what is said when there would be more. The options are registered with the API's other limits.
"""

import contextlib
from collections.abc import Iterator, Sequence

from runbound.config.model import Config
from runbound.ops.answers import ANSWERS
from runbound.ops.refusals import too_many
from runbound.ops.view import Altered, View
from runbound.state.entries import TooManyError


def most(config: Config, kind: str) -> int:
    """How many entries of a kind there may be."""
    return config.server.max_records if kind == "record" else config.server.max_blocks


def hold(view: View, altered: Sequence[Altered]) -> None:
    """Raises TooManyRecords or TooManyBlocks if these edits would make more than there may be."""
    for kind in ANSWERS:
        more = sum(item.growth for item in altered if item.edit.kind == kind)
        if more > 0 and view.count(kind) + more > most(view.config, kind):
            raise too_many(kind, view.count(kind) + more, most(view.config, kind))


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Says of too many entries in one bulk what `hold` says of single ones."""
    try:
        yield
    except TooManyError as error:
        raise too_many(error.kind, error.count, error.most) from error
