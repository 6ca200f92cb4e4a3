"""What every JSON body that a client sends has in common.

Owns strictness: a member nobody knows and a value of another type are refused, not guessed at. It must never be the
base of what is answered.
"""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A request's body. `false` is no number here, and `"1"` neither."""

    model_config = ConfigDict(extra="forbid", strict=True)
