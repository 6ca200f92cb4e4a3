"""Whom `username:` means, for root and for others."""

import pytest

from runbound.errors import RunboundError
from runbound.ops.privileges import Account, find_account, plan

RUNBOUND = Account("runbound", 990, 990, (990,))
UNBOUND = Account("unbound", 991, 991, (991,))


def accounts(*known: Account) -> dict[str, Account]:
    return {account.name: account for account in known}


def test_root_becomes_the_named_account() -> None:
    assert plan("unbound", euid=0, find=accounts(RUNBOUND, UNBOUND).get).account == UNBOUND


def test_root_without_a_name_takes_runbound_then_unbound() -> None:
    assert plan(None, euid=0, find=accounts(RUNBOUND, UNBOUND).get).account == RUNBOUND
    assert plan(None, euid=0, find=accounts(UNBOUND).get).account == UNBOUND


def test_root_without_any_account_is_refused_and_told_how_to_stay_root() -> None:
    with pytest.raises(RunboundError) as error:
        plan(None, euid=0, find=accounts().get)
    assert 'username: ""' in str(error.value)


def test_an_unknown_account_is_refused_where_it_stands() -> None:
    with pytest.raises(RunboundError) as error:
        plan("nobdoy", "x.conf:3:5", euid=0, find=accounts().get)
    assert str(error.value).startswith('x.conf:3:5: username: there is no account "nobdoy"')


def test_empty_keeps_root_and_says_so() -> None:
    made = plan("", euid=0, find=accounts(RUNBOUND).get)
    assert made.account is None
    assert made.note is not None


def test_without_root_nothing_can_change() -> None:
    assert plan(None, euid=1000, find=accounts(RUNBOUND).get) == plan("", euid=1000, find=accounts().get)
    assert plan("runbound", euid=990, find=accounts(RUNBOUND).get).note is None
    note = plan("runbound", euid=1000, find=accounts(RUNBOUND).get).note
    assert note is not None
    assert "no effect" in note


def test_accounts_come_from_the_system() -> None:
    root = find_account("root")
    assert root is not None
    assert (root.uid, root.gid) == (0, 0)
    assert 0 in root.groups
    assert find_account("no-such-account-here") is None
