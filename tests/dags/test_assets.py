"""The Assets page of Airflow learns of each backup that is fresh, of what was restored, and of drills."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dags.conftest import World


def events() -> list[tuple[str, dict[str, Any]]]:
    """(address, what it carries) of all events, oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(AssetModel.uri, AssetEvent.extra).join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
        return [(uri, dict(extra)) for uri, extra in found.order_by(AssetEvent.id)]


@pytest.mark.airflow
def test_a_sync_makes_an_event_of_its_backup_that_says_what_it_did(world: World) -> None:
    before = len(events())
    world.seed()
    world.run("backup_sync")
    found = dict(events()[before:])
    customer = next(uri for uri in found if uri.startswith("sqlite:/"))
    order = next(uri for uri in found if uri.startswith("cosmos://"))
    assert customer.endswith("/customer/Customers")
    assert order.endswith("/orders")
    assert len(found) == 2
    told = found[customer]
    assert (told["ServiceName"], told["InsertedCount"], told["RunNumber"]) == ("customer", 20, 1)
    assert told["RestorableSince"] is not None
    assert told["Seconds"] > 0
    assert found[order]["RequestCharge"] > 0
    assert not [name for name in told if "Key" in name or "Password" in name]


@pytest.mark.airflow
def test_a_dry_run_a_failure_and_a_service_that_was_not_asked_for_make_none(world: World) -> None:
    world.seed()
    world.run("backup_sync")
    before = len(events())
    world.run("backup_sync", {"dry_run": True})
    world.run("backup_sync", {"service": "customer", "allow_deletes": 0})
    assert [extra["ServiceName"] for _, extra in events()[before:]] == ["customer"]
