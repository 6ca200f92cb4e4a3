"""SoftHSM2's files, looked at from outside: may an account use the tokens in them?

SoftHSM2 shows an account only the tokens whose files it can read, and says nothing of the others: a token that root
made with softhsm2-util is invisible to the service, which is the most frequent reason why a first start fails. This
module finds such tokens and the command that gives them away. It loads nothing, and changes nothing.
"""

import grp
import os
import pwd
import re
import stat
from typing import Final

import msgspec

from runbound.keys.words import Words
from runbound.ops.privileges import Account

VARIABLE: Final = "SOFTHSM2_CONF"
CONFIGURATIONS: Final = ("/etc/softhsm/softhsm2.conf", "/etc/softhsm2.conf")
"""Where distributions put its configuration; the first that exists."""
TOKENS: Final = "/var/lib/softhsm/tokens"
"""Where tokens are if the configuration does not say."""
_READ, _WRITE, _SEARCH = 4, 2, 1


def is_softhsm(module: str) -> bool:
    """Whether a module is SoftHSM2, by its name."""
    return "softhsm" in os.path.basename(os.path.realpath(module))


def troubles(account: Account) -> list[Words]:
    """What keeps an account from SoftHSM2's tokens, and the commands that mend it."""
    conf = os.environ.get(VARIABLE) or next((path for path in CONFIGURATIONS if os.path.exists(path)), "")
    if not conf or not os.path.exists(conf):
        what = f"SoftHSM2 has no configuration: there is no {conf or CONFIGURATIONS[0]}"
        return [Words(what, "apt install softhsm2, or set SOFTHSM2_CONF in /etc/runbound/env")]
    found = []
    folder = _token_folder(conf)
    if not os.path.isdir(folder):
        what = f"the folder of SoftHSM2's tokens, {folder}, is not there"
        found.append(Words(what, f"install -d -o {account.name} -g {_group_name(account.gid)} -m 700 {folder}"))
    for path, bits, use in (
        (conf, _READ, "may not read {path}, so SoftHSM2 does not start for it"),
        (folder, _READ | _WRITE | _SEARCH, "may not use {path}, where the tokens are"),
    ):
        if not os.path.exists(path) or _may(path, account, bits):
            continue
        what = f"{account.name} {use.format(path=path)}"
        group = _group_that_may(path, account, bits)
        if group is None:
            return [*found, Words(what, f"chown -R {account.name}: {_first_closed(path, account)}")]
        found.append(Words(what, f"usermod -a -G {_group_name(group)} {account.name}   # and restart the service"))
        account = msgspec.structs.replace(account, groups=(*account.groups, group))
    return [*found, *_hidden(folder, account)]


def _hidden(folder: str, account: Account) -> list[Words]:
    try:
        entries = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    except OSError:
        return []
    hidden = [path for path in entries if os.path.isdir(path) and not _whole(path, account)]
    if not hidden:
        return []
    owners = ", ".join(sorted({_user(os.stat(path).st_uid) for path in hidden}))
    many = f"{len(hidden)} tokens" if len(hidden) > 1 else "a token"
    what = f"{many} in {folder} cannot be seen by {account.name}: made by {owners}"
    return [Words(what, f"chown -R {account.name}: {' '.join(hidden)}")]


def _token_folder(conf: str) -> str:
    try:
        with open(conf, encoding="utf-8", errors="replace") as file:
            found = re.search(r"^\s*directories\.tokendir\s*=\s*(\S+)", file.read(65536), re.MULTILINE)
    except OSError:
        found = None
    return (found[1].rstrip("/") or "/") if found is not None else TOKENS


def _whole(folder: str, account: Account) -> bool:
    """Whether an account may read and write a token: SoftHSM2 opens its files for both."""
    if not _may(folder, account, _READ | _WRITE | _SEARCH):
        return False
    files = (os.path.join(folder, name) for name in os.listdir(folder))
    return all(_allowed(path, account, _READ | _WRITE) for path in files if os.path.isfile(path))


def _may(path: str, account: Account, bits: int) -> bool:
    """Whether an account may do that with a file, and may come to it."""
    above = os.path.dirname(os.path.abspath(path))
    while above != "/":
        if not _allowed(above, account, _SEARCH):
            return False
        above = os.path.dirname(above)
    return _allowed(path, account, bits)


def _allowed(path: str, account: Account, bits: int) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    if account.uid == 0:
        return True
    if found.st_uid == account.uid:
        shift = 6
    elif found.st_gid in (account.gid, *account.groups):
        shift = 3
    else:
        shift = 0
    return (stat.S_IMODE(found.st_mode) >> shift) & bits == bits


def _first_closed(path: str, account: Account) -> str:
    """The outermost part of a path at which an account is stopped."""
    closed = path
    above = os.path.dirname(path)
    while above != "/":
        if not _allowed(above, account, _SEARCH):
            closed = above
        above = os.path.dirname(above)
    return closed


def _group_that_may(path: str, account: Account, bits: int) -> int | None:
    """A group, not root's, whose members may: the one of what stops the account first."""
    closed = _first_closed(path, account)
    found = os.stat(closed)
    member = msgspec.structs.replace(account, groups=(*account.groups, found.st_gid))
    return found.st_gid if found.st_gid != 0 and _may(path, member, bits) else None


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
