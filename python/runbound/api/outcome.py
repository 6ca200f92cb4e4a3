"""What a change of the configuration answers: what changed, what waits for a restart, and how to keep it.

Owns one shape for all of them. It must never show a value that is a secret: a difference holds none.
"""

from pydantic import BaseModel, Field

from runbound.api.edits import items
from runbound.api.problems import DiagnosticItem
from runbound.ops.change import Edited


class ChangedOption(BaseModel):
    """One thing that changed."""

    option: str = Field(examples=["verbosity"])
    effect: str = Field(description="`live`: in effect now; `restart`: at the next start", examples=["live"])


class Outcome(BaseModel):
    """What a change did, or with `dry_run=1` would do."""

    revision: int = Field(description="The new revision; the one in force if nothing changed")
    dry_run: bool = Field(default=False, description="True: nothing was done")
    changes: list[ChangedOption] = Field(description="Options of the configuration that changed")
    summary: dict[str, dict[str, int]] = Field(
        description="For each kind how many entries were `added`, `changed` and `removed`",
        examples=[{"setting": {"added": 1}}],
    )
    diff: list[str] = Field(
        description="`+` what came, `-` what went; 100 lines at most", examples=[["+ verbosity: 2"]]
    )
    more: int = Field(description="Lines of the difference that are left out")
    warnings: list[DiagnosticItem]
    confirm: str | None = Field(
        default=None, description="The token that keeps the change, if it reverts by itself (`confirm_within`)"
    )
    pinned: int | None = Field(
        default=None,
        description=(
            "The revision whose view of the configuration file is in force instead of the file as it is, after a "
            "rollback; a reload ends it, and so does an edit of the file with a restart"
        ),
    )


def outcome(made: Edited) -> Outcome:
    """What the API says of it."""
    return Outcome(
        revision=made.revision,
        dry_run=made.dry_run,
        changes=[ChangedOption(option=item.option, effect=item.effect) for item in made.changes],
        summary=made.diff.summary,
        diff=list(made.diff.lines),
        more=made.diff.more,
        warnings=items(made.warnings),
        confirm=made.confirm,
        pinned=made.pinned,
    )
