"""Keys that live in a hardware security module: how to find it, what is said to it, what its answers mean.

Owns what the `hsm-*` options say (`settings`, `uri`), where a PIN comes from, the messages exchanged with the helper
process (`messages`), and the words for everything that can go wrong (`words`). It must never start the helper, hold a
key or log anything: `ops` does that. A PIN passes through here only as the place where it can be read.
"""

from typing import Final

from runbound.config import options
from runbound.config.model import Config

OPTIONS: Final = (
    *("hsm-pkcs11-lib", "hsm-slot", "hsm-pin", "hsm-pin-file", "hsm-uri", "hsm-token-label", "hsm-token-serial"),
    *("hsm-api-key-label", "hsm-store-key-label", "hsm-audit-key-label", "hsm-mode", "hsm-timeout", "hsm-final-try"),
)

options.honour("server", *OPTIONS)


def names_module(config: Config) -> bool:
    """Whether the file says anything about a module. Who says nothing pays for none of this room."""
    return any(config.given("server", option) for option in OPTIONS)
