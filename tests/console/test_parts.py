"""Charts, and what can be ordered."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

import pytest

from backup_sync.console import chart
from backup_sync.console.orders import ORDERS, order

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def test_a_day_has_the_largest_value_or_the_total_and_a_day_without_runs_has_none() -> None:
    points = [
        (NOW - timedelta(days=1), 3.0),
        (NOW - timedelta(days=1, hours=2), 5.0),
        (NOW, 0.0),
        (NOW - timedelta(days=500), 9.0),
    ]
    assert [day.value for day in chart.by_day(points, NOW, days=3)] == [None, 5.0, 0.0]
    assert [day.value for day in chart.by_day(points, NOW, days=3, total=True)] == [None, 8.0, 0.0]


def test_a_chart_is_well_formed_says_in_words_what_it_shows_and_escapes_its_title() -> None:
    drawn = chart.bars('<script>"', chart.by_day([(NOW, 1_500.0)], NOW), " s")
    root = ElementTree.fromstring(str(drawn))
    assert root.attrib["aria-label"] == '<script>": 1 of 90 days, at most 1.5k s'
    assert len(root.findall("rect")) == 1
    assert "nothing yet" in chart.bars("Records", chart.by_day([], NOW))
    assert "rect" in chart.bars("Records", chart.by_day([(NOW, 0.0)], NOW))


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (0.5, "0.5"), (12.4, "12"), (1_000, "1.0k"), (4_000_000, "4.0M"), (10**15, "1000000.0G")],
)
def test_numbers_are_short(value: float, said: str) -> None:
    assert chart.short(value) == said


def test_an_order_names_the_service_and_only_the_parameters_that_were_given() -> None:
    force = order("force")
    assert force is not None
    assert force.conf("customer", {"allow_deletes": " 7 "}) == {
        "service": "customer",
        "force": True,
        "allow_deletes": 7,
    }
    assert force.conf("customer", {"allow_deletes": ""}) == {"service": "customer", "force": True}
    assert order("nothing") is None


@pytest.mark.parametrize(
    ("verb", "form"),
    [
        ("sync", {"allow_deletes": "-1"}),
        ("sync", {"allow_deletes": "many"}),
        ("verify", {"against": "me"}),
        ("restore", {"keys": "7, 8"}),
        ("restore", {"where": "City = 1"}),
    ],
)
def test_what_cannot_be_a_parameter_is_refused_in_a_sentence(verb: str, form: dict[str, str]) -> None:
    found = order(verb)
    assert found is not None
    with pytest.raises(ValueError, match="has to be"):
        found.conf("customer", form)


@pytest.mark.airflow
def test_every_order_is_one_that_its_dag_knows() -> None:
    from airflow.dag_processing.dagbag import DagBag

    from tests.console.past import DAGS

    dags = DagBag(str(DAGS)).dags
    for found in ORDERS:
        params = set(dags[found.dag("backup_sync")].params)
        assert {"service", *dict(found.fixed), *(field.name for field in found.fields)} <= params
