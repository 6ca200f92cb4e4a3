"""Stores for tests: on a disk, with keys of the native floor."""

from pathlib import Path

from runbound import engine
from runbound.state.opening import StoreKeys
from runbound.state.store import Store


def keys(secret: bytes = b"s" * 32, audit: bytes = b"a" * 32) -> StoreKeys:
    """Keys of a state; the same secrets give the same."""
    return StoreKeys(engine.SecretKey(secret), engine.SecretKey(audit), protected=True)


class Opener:
    """Opens the store of one folder, again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: Store | None = None

    def __call__(self, given: StoreKeys | None = None) -> Store:
        """Closes the store that is open, and opens it anew."""
        self.close()
        self._open = Store.open(str(self.folder), given or keys(), engine)
        return self._open

    def close(self) -> None:
        """Closes the store."""
        if self._open is not None:
            self._open.close()
            self._open = None
