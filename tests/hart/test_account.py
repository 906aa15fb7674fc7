"""Who runs a service, and what it inherits."""

import os
import pwd

import pytest

from hart.account import account_of, clean_environment, own_account
from hart.errors import ServiceError

MISSING = "no-such-user-here"


def test_users_are_switched_only_where_we_may_and_shall() -> None:
    """Without the capabilities, or with --own-user, everything runs as we do."""
    assert account_of("nobody", "nogroup", switch=False) == own_account()
    assert account_of(MISSING, None, switch=False) == own_account()


def test_a_package_runs_as_the_user_it_names() -> None:
    """The group is the named one, else the user's name."""
    nobody = pwd.getpwnam("nobody")
    account = account_of("nobody", "nogroup", switch=True)
    if os.geteuid() != nobody.pw_uid:
        assert (account.uid, account.home) == (nobody.pw_uid, nobody.pw_dir)
        assert account.switches()["user"] == nobody.pw_uid


def test_a_service_does_not_quietly_get_a_larger_account_than_it_was_written_for() -> None:
    """A named user that does not exist is refused, with the command that creates it."""
    with pytest.raises(ServiceError, match=MISSING) as caught:
        account_of(MISSING, None, switch=True)
    assert f"useradd --system --user-group {MISSING}" in caught.value.next


def test_habitats_default_user_falls_back_to_ours_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package of Habitat that names nobody names `hab`; where that does not exist we run it, and the notice tells."""

    def nobody_is_there(_: str) -> object:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwnam", nobody_is_there)
    account = account_of("hab", "hab", switch=True)
    assert account.uid is None
    assert "hab:hab does not exist" in account.notice
    assert account_of(None, None, switch=True).notice == ""


def test_a_service_inherits_no_secret_of_ours() -> None:
    """W31: an allow-list, not a block-list."""
    given = {"SECRET": "x", "STEAD_TOKEN": "y", "TZ": "UTC", "LC_ALL": "C", "https_proxy": "p"}
    kept = clean_environment(given, own_account())
    assert kept["TZ"] == "UTC"
    assert kept["LC_ALL"] == "C"
    assert not {"SECRET", "STEAD_TOKEN", "https_proxy"} & kept.keys()
    assert clean_environment(given, own_account(), also={"HTTPS_PROXY"})["https_proxy"] == "p"
