"""What every JSON body that a client sends has in common.

Owns strictness: a member nobody knows and a value of another type are refused, not guessed at. It must never be the
base of what is answered.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Body(BaseModel):
    """A request's body. `false` is no number here, and `"1"` neither; `60.0` is the integer that JSON says it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _integers(cls, members: Any) -> Any:
        if not isinstance(members, dict):
            return members
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in members.items()
        }
