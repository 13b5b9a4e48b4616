"""The setting ``mask`` of a table as it stands in the file, and the key of its hashes."""

from __future__ import annotations

from typing import Any

import pytest

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.mask import key_of, print_of
from backup_sync.model.service import parse_service

ENTRY = {
    "source": "a",
    "backup": "b",
    "table": "app.Things",
    "key": ["Id"],
    "changed": {"Version": "higher"},
    "where": {"Status": "open"},
    "exclude": ["Photo"],
    "mask_key": "secret",
}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"mask": {"ID": "null"}}, "'mask' names ID, which is in 'key'; remove it from one of them"),
        ({"mask": {"version": "hash"}}, "'mask' names version, which is in 'changed'"),
        ({"mask": {"status": "hash"}}, "'mask' names status, which is in 'where'"),
        ({"mask": {"photo": "null"}}, "'mask' names photo, which is in 'exclude'"),
        ({"mask": {"Email": None}}, 'mask: write "null" in quotes, or hash'),
        ({"mask": {"Email": "md5"}}, "mask.Email: Input should be 'hash' or 'null'"),
        ({"mask": {"Email": "hash"}, "mask_key": None}, "'mask_key' has to name an Airflow connection"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        parse_service("thing", {**ENTRY, **changes}, where="test")
    assert said in str(wrong.value)


def test_documents_have_no_columns_to_be_masked() -> None:
    entry = {"source": "a", "backup": "b", "container": "c", "changed": {"version": "higher"}, "mask": {"x": "null"}}
    with pytest.raises(ConfigurationError, match="'mask' works for tables only"):
        parse_service("thing", entry, where="test")


def test_nothing_needs_no_key_and_a_hash_does() -> None:
    assert not parse_service("thing", {**ENTRY, "mask": {"Email": "null"}, "mask_key": None}, where="test").needs_key
    assert parse_service("thing", {**ENTRY, "mask": {"Email": "hash"}}, where="test").needs_key


def test_a_key_is_made_of_a_secret_of_some_length_and_its_print_tells_neither() -> None:
    with pytest.raises(ValueError, match=r"^at least 16 characters"):
        key_of("fifteen letters")
    key = key_of("sixteen letters!")
    assert len(key) == len(key_of("sixteen letters, and many more of them: żó")) == 64
    assert key != key_of("sixteen letters?")
    assert print_of(key) not in key
    assert print_of(key) != print_of(key_of("sixteen letters?"))
