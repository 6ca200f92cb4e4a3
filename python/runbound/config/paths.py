"""Where the files are that a configuration names.

Owns the rule for relative names and for `chroot:`. It must never open anything.
"""

import os

from runbound.config.model import Config


def inside_chroot(config: Config, path: str) -> str:
    """The path with the `chroot:` prefix, which it may carry already.

    The process is not confined (the service unit does that), so a name that Unbound would open inside the new root is
    opened there by its whole path.
    """
    prefix = config.server.chroot.rstrip("/")
    if not prefix or path == prefix or path.startswith(f"{prefix}/"):
        return path
    return prefix + path if path.startswith("/") else os.path.join(prefix, path)


def working_directory(config: Config, main_file: str) -> str:
    """Where relative names start: `directory:`, else the folder of the configuration file."""
    if config.server.directory:
        return inside_chroot(config, config.server.directory)
    return os.path.dirname(os.path.abspath(main_file))


def resolve(config: Config, main_file: str, name: str) -> str:
    """The path of a file that an option names."""
    return inside_chroot(config, os.path.join(working_directory(config, main_file), name))
