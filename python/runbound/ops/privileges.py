"""Which account the process serves as.

Owns the meaning of `username:` and turns names into ids; the switch itself is made by the engine's `drop_privileges`,
after the sockets are open and before any thread starts. It must never start a service as root unless the file says so
in as many words (`username: ""`).
"""

import os
import pwd
from collections.abc import Callable
from typing import Final

import msgspec

from runbound.config import options
from runbound.errors import RunboundError

options.honour("server", "username")

DEFAULT_ACCOUNTS: Final = ("runbound", "unbound")
"""Accounts tried, in this order, when the file names none."""


class Account(msgspec.Struct, frozen=True):
    """A user to become: name, user id, primary group, and all groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


class Plan(msgspec.Struct, frozen=True):
    """What to do about privileges: the account to become (None keeps the current one), and a note worth a log line."""

    account: Account | None
    note: str | None = None


def plan(
    username: str | None,
    where: str | None = None,
    *,
    euid: int | None = None,
    find: Callable[[str], Account | None] | None = None,
) -> Plan:
    """Decides what `username` means for this process. `username` is None when the file does not say.

    Raises RunboundError when the account does not exist, or when root would have to go on as root unasked.
    """
    find = find or find_account
    current = os.geteuid() if euid is None else euid
    if username == "":
        return Plan(None, "running as root because username is empty" if current == 0 else None)
    if current != 0:
        return Plan(None, _unprivileged_note(username, current, find))
    if username is not None:
        account = find(username)
        if account is None:
            raise RunboundError(
                f'username: there is no account "{username}"',
                where,
                f'create it (useradd --system {username}), name another one, or write username: "" to stay root',
            )
        return Plan(account)
    for name in DEFAULT_ACCOUNTS:
        account = find(name)
        if account is not None:
            return Plan(account)
    raise RunboundError(
        f"started as root, and neither account {' nor '.join(DEFAULT_ACCOUNTS)} exists to switch to",
        fix=f'create one (useradd --system {DEFAULT_ACCOUNTS[0]}), name one with username:, or write username: "" '
        "to stay root",
    )


def find_account(name: str) -> Account | None:
    """Looks the name up in the system's user database."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def _unprivileged_note(username: str | None, euid: int, find: Callable[[str], Account | None]) -> str | None:
    if username is None:
        return None
    account = find(username)
    if account is not None and account.uid == euid:
        return None
    return f'username: "{username}" has no effect: only root can switch accounts, serving as user id {euid}'
