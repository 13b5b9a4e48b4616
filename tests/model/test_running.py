"""How Airflow runs a service is read from its block 'airflow', and what is wrong there is said in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.config import read_services
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.running import Running, parse_running
from backup_sync.model.schedules import cron_of, name_of
from backup_sync.model.service import parse_service

ENTRY = {"source": "s", "backup": "b", "table": "app.Things", "changed": {"Version": "higher"}}


def test_what_is_not_said_is_left_to_the_settings() -> None:
    assert parse_running(None) == parse_running({}) == Running()


def test_all_of_it_is_read() -> None:
    block = {
        "schedule": "*/15 * * * *",
        "retries": 0,
        "retry_delay": 1.5,
        "execution_timeout": 60,
        "dagrun_timeout": 600,
        "pool": "sql",
        "priority_weight": 3,
        "owner": "team-crm",
        "tags": ["crm"],
    }
    assert parse_running(block) == Running("*/15 * * * *", 0, 1.5, 60, 600, "sql", 3, "team-crm", ("crm",))


@pytest.mark.parametrize(
    "block, said",
    [
        ("@hourly", "'airflow' must be a mapping"),
        ({"sched": "@hourly"}, "unknown setting 'sched' (known: schedule, retries"),
        ({"schedule": "@sometimes"}, "airflow.schedule has to be five cron fields or one of @hourly"),
        ({"schedule": "* * * *"}, "airflow.schedule"),
        ({"schedule": None}, "airflow.schedule"),
        ({"retries": -1}, "airflow.retries has to be a whole number"),
        ({"retries": True}, "airflow.retries"),
        ({"retry_delay": 0}, "airflow.retry_delay has to be a number of seconds above 0"),
        ({"execution_timeout": "1h"}, "airflow.execution_timeout"),
        ({"pool": " "}, "airflow.pool has to be the name of a pool"),
        ({"tags": "crm"}, "airflow.tags has to be a list"),
        ({"tags": ["x" * 101]}, "airflow.tags"),
    ],
)
def test_a_mistake_is_named_wherever_it_is_read(block: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as wrong:
        parse_running(block)
    assert said in str(wrong.value)
    with pytest.raises(ConfigurationError, match="airflow"):
        parse_service("thing", {**ENTRY, "airflow": block}, where="test")


def test_a_mistake_there_is_one_of_that_service_alone(tmp_path: Path) -> None:
    text = "services:\n  bad: {table: app.A, airflow: {retries: many}}\n  good: {table: app.B, airflow: {retries: 1}}\n"
    (tmp_path / "backup_sync.yaml").write_text(text)
    declared = read_services(tmp_path / "backup_sync.yaml")
    assert list(declared.services) == list(declared.running) == ["good"]
    assert "line 2: service 'bad' airflow.retries has to be a whole number" in declared.problems["bad"]


@pytest.mark.parametrize(
    "schedule, name",
    [
        ("@hourly", "hourly"),
        ("0  * * * *", "hourly"),
        ("*/15 * * * *", "by15_x_x_x_x"),
        ("30 2 * * 1-5", "30_2_x_x_1to5"),
        ("0 6,18 * * MON", "0_6and18_x_x_MON"),
    ],
)
def test_a_schedule_names_its_dag(schedule: str, name: str) -> None:
    assert name_of(schedule) == name


def test_the_name_of_a_long_schedule_is_one_that_airflow_takes() -> None:
    every, other = (f"{','.join(map(str, range(first, 60)))} * * * *" for first in (0, 1))
    assert len(name_of(every)) < 80
    assert name_of(every) != name_of(other)


def test_two_ways_to_write_a_schedule_are_one() -> None:
    assert cron_of("@daily") == cron_of("0 0  * * *") == "0 0 * * *"
    assert cron_of(None) is None


def test_approvals_have_their_settings() -> None:
    found = parse_running({"approve_deletes": True, "approvers": ["anna"], "approve_within": 60})
    assert (found.approve_deletes, found.approvers, found.approve_within) == (True, ("anna",), 60)
    assert parse_running({}).approve_deletes is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("approve_deletes", "yes"),
        ("approve_deletes", 1),
        ("approvers", "anna"),
        ("approvers", [""]),
        ("approve_within", 0),
    ],
)
def test_an_approval_that_cannot_be_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"airflow.{name} has to be"):
        parse_running({name: value})
