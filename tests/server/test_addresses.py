"""Addresses that lead nowhere are refused at the start, and passwords are shown to nobody."""

from __future__ import annotations

import pytest

from server.addresses import check_database, check_storage, has_password, without_secrets
from server.command_line import BadSettings, read_settings

SECRET = "postgresql://ann:s3cret@db.example:5433/sd?sslmode=verify-full"


@pytest.mark.parametrize("address", ["jobs.sqlite", "/a/b.sqlite", ":memory:", "postgres://db/sd", SECRET])
def test_databases_that_a_store_has_are_allowed(address: str) -> None:
    assert check_database(address) == address


@pytest.mark.parametrize("address", ["mysql://db/sd", "sqlite:///jobs.sqlite", "http://example.org", "POSTGRESQLX://a"])
def test_other_urls_are_no_folders_of_that_name(address: str) -> None:
    with pytest.raises(ValueError, match="expected the path of an SQLite file"):
        check_database(address)
    with pytest.raises(BadSettings, match="--database: its value is not allowed; expected the path"):
        read_settings({"database": address, "backend": "instant"})


def test_storages_that_cannot_be_opened_are_refused() -> None:
    assert check_storage("outputs") == "outputs"
    assert check_storage("memory://pictures") == "memory://pictures"
    with pytest.raises(ValueError, match="scheme that fsspec knows"):
        check_storage("nowhere://pictures")
    for name in ("outputs", "inputs"):
        with pytest.raises(BadSettings, match=f"--{name}: 'nowhere://x' is not allowed; expected a folder"):
            read_settings({name: "nowhere://x", "backend": "instant"})


@pytest.mark.parametrize("address", [SECRET, "postgresql://db/sd?password=s3cret"])
def test_a_password_in_a_flag_is_refused_without_being_shown(address: str) -> None:
    assert has_password(address)
    with pytest.raises(BadSettings, match="SD_DATABASE") as refused:
        read_settings({"database": address, "backend": "instant"})
    assert "s3cret" not in str(refused.value)


def test_a_password_in_the_environment_is_taken_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SD_DATABASE", SECRET)
    settings = read_settings({"backend": "instant"})
    assert settings.database == SECRET
    assert "s3cret" not in repr(settings)


def test_a_log_shows_where_a_database_is() -> None:
    assert without_secrets(SECRET) == "postgresql://ann@db.example:5433/sd"
    assert without_secrets("postgresql://db/sd?password=s3cret") == "postgresql://db/sd"
    assert without_secrets("/a/jobs.sqlite") == "/a/jobs.sqlite"
