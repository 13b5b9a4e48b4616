"""README and docs stay true: what they list is what the code has, what they quote is what it says, links lead somewhere."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from backup_sync.model.errors import BackupSyncError, ConfigurationError, ConnectionMistake, FatalError, LockHeld
from local.environment import ROOT

README = "README.md"
DOCUMENTS = [README, "CHANGELOG.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
CODE = [path for folder in ("plugins", "dags", "local") for path in (ROOT / folder).rglob("*.py")]
VARIES = "…"


# Markdown


@cache
def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def prose(document: str) -> str:
    """A document without its code blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", text(document), flags=re.MULTILINE | re.DOTALL)


def blocks(document: str, language: str) -> list[str]:
    """Its code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(document), re.MULTILINE | re.DOTALL)


def headings(document: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)


def section(document: str, heading: str) -> str:
    """What stands between a heading and the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", prose(document), re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no heading '{heading}'"
    return found[1]


def table(document: str, heading: str, column: str) -> list[dict[str, str]]:
    """The rows of the table below a heading whose header has this column."""
    for lines in re.findall(r"(?:^\|.*\|\n)+", section(document, heading), re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines.splitlines()]
        if column in rows[0]:
            assert all(len(row) == len(rows[0]) for row in rows), f"a row of '{heading}' has another number of cells"
            return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
    pytest.fail(f"{document}, '{heading}': no table with a column '{column}'")


def codes(cell: str) -> list[str]:
    """What a cell has in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def listed(document: str, heading: str, column: str) -> list[str]:
    """All that is in backticks in one column of a table."""
    return [code for row in table(document, heading, column) for code in codes(row[column])]


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


# commands


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_table_of_commands_has_every_make_target_and_no_other() -> None:
    assert sorted(listed("CONTRIBUTING.md", "Commands", "command")) == sorted(
        f"make {target}" for target in makefile_targets()
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_command_exists(document: str) -> None:
    code = "\n".join(
        [*re.findall(r"`([^`\n]+)`", prose(document)), *re.findall(r"^make [a-z].*", text(document), re.M)]
    )
    assert set(re.findall(r"\bmake ([a-z]+)", code)) <= makefile_targets()


def test_the_options_of_commands_exist() -> None:
    conftest = (ROOT / "tests" / "conftest.py").read_text()
    assert re.findall(r"pytest \S+ (--[a-z-]+)", text("CONTRIBUTING.md")) == ["--update-tsql"]
    assert '"--update-tsql"' in conftest


@pytest.mark.parametrize("document", [README, "docs/run.md"])
def test_the_backfill_command_is_one_that_airflow_takes(document: str) -> None:
    from airflow.cli.cli_parser import get_parser

    [command] = re.findall(r"airflow (backfill create .*?)\s+#", text(document).replace("\\\n", ""), re.DOTALL)
    given = get_parser().parse_args(command.split())
    assert (given.dag_id, given.max_active_runs, given.dry_run) == ("backup_sync", 1, True)
    assert given.from_date < given.to_date


@pytest.mark.parametrize("document", [README, "docs/start.md"])
def test_the_output_of_the_demo_has_its_form(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    from local.demo import print_table

    print_table([])
    header = capsys.readouterr().out.strip()
    [shown] = [block for block in blocks(document, "text") if header in block]
    rows = [line.split() for line in shown.split(header)[1].split("\n\n")[0].splitlines() if line]
    assert len(rows) == 16
    assert all(row[-2] == "yes" for row in rows)


# tables of settings


def settings_of(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Setting → default, as the docs write it."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        if isinstance(default, BaseModel):
            found |= settings_of(type(default), f"{name}.")
        elif field.is_required():
            found[prefix + name] = "required"
        else:
            found[prefix + name] = (
                "none" if default in (None, {}, []) else f"`{default:{'' if isinstance(default, str) else 'g'}}`"
            )
    return found


def test_every_setting_of_a_service_is_explained_with_its_default() -> None:
    from backup_sync.model.service import Service

    rows = table("docs/configure.md", "Services: `dags/backup_sync.yaml`", "setting")
    expected = settings_of(Service)
    del expected["name"]  # the key of the entry
    assert {codes(row["setting"])[0]: row["default"] for row in rows} == expected
    assert all(row["meaning"] for row in rows)


def test_every_rule_and_every_kind_of_connection_is_named() -> None:
    from typing import get_args

    from backup_sync.model.service import Rule

    rules = next(
        row
        for row in table("docs/configure.md", "Services: `dags/backup_sync.yaml`", "setting")
        if "`changed`" in row["setting"]
    )
    assert set(get_args(Rule)) <= set(codes(rules["meaning"]))
    kinds = re.findall(r'"(\w+)": _\w+', (ROOT / "plugins" / "backup_sync" / "hooks.py").read_text())
    assert kinds
    for kind in kinds:
        assert any(f"`{kind}`" in heading for heading in headings("docs/connections.md"))


def test_every_option_of_airflow_cfg_is_explained_with_its_variable_and_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from backup_sync import settings

    expected = {}

    class Defaults:
        def get(self, section: str, option: str, fallback: Any) -> Any:
            shown = f"{fallback:g}" if isinstance(fallback, float) else str(fallback)
            expected[option] = (f"`AIRFLOW__BACKUP_SYNC__{option.upper()}`", f"`{shown}`" if shown else "none")
            return fallback

        getboolean = getint = getfloat = get

    monkeypatch.setattr(settings, "conf", Defaults())
    assert settings.read_settings().problems == {}
    assert len(expected) >= 4
    from backup_sync.provider import OPTIONS

    assert {name: f"`{default}`" if default else "none" for name, (_, default, _) in OPTIONS.items()} == {
        name: default for name, (_, default) in expected.items()
    }
    rows = table("docs/configure.md", "Airflow: section `[backup_sync]`", "option")
    assert {codes(row["option"])[0]: (row["environment"], row["default"]) for row in rows} == expected


def test_every_schedule_preset_is_named() -> None:
    from backup_sync.model.schedules import PRESETS

    assert set(re.findall(r"@\w+", section("docs/configure.md", "Airflow: section `[backup_sync]`"))) == set(PRESETS)


def test_every_parameter_of_the_dags_is_explained_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_STALE", "some.Notifier")  # without it one DAG is not there
    dags = DagBag(str(ROOT / "dags")).dags
    expected: dict[str, tuple[str, set[str]]] = {}
    for dag_id in sorted(dags, reverse=True):
        for name in dags[dag_id].params:
            value = dags[dag_id].params.get_param(name).value
            default = str(value).lower() if isinstance(value, bool) else "null" if value is None else value
            expected.setdefault(name, (f"`{default}`", set()))[1].add(dag_id)
    rows = table("docs/run.md", "Parameters", "parameter")
    found = {codes(row["parameter"])[0]: (row["default"], set(codes(row["DAG"]))) for row in rows}
    assert {name: where for name, (_, where) in found.items()} == {name: where for name, (_, where) in expected.items()}
    assert {name: default for name, (default, _) in found.items()} == {name: one for name, (one, _) in expected.items()}
    assert sorted(listed("docs/run.md", "Runs", "DAG")) == sorted(dags)


def test_every_environment_variable_is_explained_and_every_explained_one_is_read() -> None:
    used = set()
    for path in [*CODE, *(ROOT / "tests" / "conformance").glob("*.py")]:
        used |= set(re.findall(r"\bBACKUP_SYNC_(?:CONFIG|TEST_\w+)\b", path.read_text(encoding="utf-8")))
    shown = {
        name
        for name in listed("docs/configure.md", "Environment variables", "variable")
        if not name.startswith("AIRFLOW")
    }
    assert shown == {re.sub(r"_$", "", name) for name in used}


def test_every_extra_of_a_cosmos_connection_is_explained() -> None:
    from backup_sync.hooks import COSMOS_OPTIONS

    assert listed("docs/connections.md", "Cosmos DB, API for NoSQL: `azure_cosmos`", "extra") == list(COSMOS_OPTIONS)


def test_every_extra_of_a_sql_server_connection_is_one_that_the_driver_takes() -> None:
    import inspect

    import pymssql

    from backup_sync.hooks import MSSQL_EXTRA

    ours = {"joined_rows"}  # which the driver never sees
    taken = set(inspect.signature(pymssql.connect).parameters) | ours
    assert ours <= set(MSSQL_EXTRA)
    assert set(listed("docs/connections.md", "SQL Server: `mssql`", "extra")) <= taken


def test_every_field_of_the_history_is_explained() -> None:
    from backup_sync.stores.cosmos.history import PROPERTIES
    from backup_sync.stores.sql.journal import HISTORY_COLUMNS

    rows = table("docs/history.md", "The history", "column")
    assert listed("docs/history.md", "The history", "column") == [name for name, _, _ in HISTORY_COLUMNS]
    assert set(listed("docs/history.md", "The history", "property")) == set(PROPERTIES.values())
    assert all(row["column"] or row["property"] for row in rows)


def test_the_examples_of_connections_open_the_stores_that_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_sync.hooks import open_store
    from backup_sync.model.config import load_service

    for document in (README, "docs/connections.md"):
        found = re.findall(r"export AIRFLOW_CONN_(\w+)='(.*?)'", text(document), re.DOTALL)
        assert found
        for name, value in found:
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", value.replace("\n", " "))
            service = load_service(ROOT / "dags" / "backup_sync.yaml", name.partition("_")[0].lower())
            with closing(open_store(service, name.lower())) as store:
                assert f'"{store.kind}"' in value


def test_the_example_of_a_service_is_one(tmp_path: Path) -> None:
    from backup_sync.model.config import load_service, read_services

    for document in ("docs/configure.md", "docs/start.md"):
        examples = blocks(document, "yaml")
        assert examples
        for example in examples:
            (tmp_path / "backup_sync.yaml").write_text(example)
            for name in read_services(tmp_path / "backup_sync.yaml").services:
                load_service(tmp_path / "backup_sync.yaml", name)


# messages


@cache
def templates() -> list[list[str]]:
    """Every text in the code, as its fixed parts; what is filled in stands between them."""
    found = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [""]
                for value in node.values:
                    if isinstance(value, ast.Constant):
                        parts[-1] += str(value.value)
                    else:
                        parts.append("")
                found.append(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.split(r"%[a-z.\d]*[sdrf]", node.value))
    return found


@cache
def patterns() -> list[re.Pattern[str]]:
    """What the templates of some length become when their gaps are filled."""
    return [
        re.compile("(.*?)".join(map(re.escape, parts)), re.DOTALL) for parts in templates() if len("".join(parts)) >= 5
    ]


@cache
def fixed_texts() -> str:
    """All fixed parts, and all whole numbers, of the code."""
    numbers = [
        str(node.value)
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, int)
    ]
    return "\0".join([*(part for parts in templates() for part in parts), *numbers])


def is_said_by_the_code(message: str) -> bool:
    """Whether some text of the code becomes this message when its gaps are filled with … or with other fixed texts.

    What another text is appended to may be followed by …
    """
    for pattern in patterns():
        for wanted in {message, message.removesuffix(VARIES)}:
            match = pattern.fullmatch(wanted)
            if match and all(_is_filled_in(group) for group in match.groups()):
                return True
    return False


def _is_filled_in(filling: str) -> bool:
    pieces = [piece.strip() for piece in filling.split(VARIES)]
    return all(not re.search(r"\w", piece) or piece in fixed_texts() for piece in pieces)


def quoted_messages() -> Iterator[tuple[str, str]]:
    """(document, message) for the first columns called 'message', and for lines that consist of a message alone."""
    for document in ("docs/troubleshoot.md", "docs/runbook.md"):
        for heading in headings(document):
            if "| message |" in section(document, heading):
                yield from ((document, code) for code in listed(document, heading, "message"))
        yield from ((document, code) for code in re.findall(r"^`([^`]+)`$", prose(document), re.MULTILINE))


def test_messages_are_quoted() -> None:
    assert len(list(quoted_messages())) > 20


@pytest.mark.parametrize("document, message", sorted(set(quoted_messages())))
def test_a_quoted_message_is_one_that_the_code_says(document: str, message: str) -> None:
    assert is_said_by_the_code(message), f"{document} quotes a message that the code does not say"


def test_a_quoted_error_number_goes_with_its_message() -> None:
    from backup_sync.stores.mssql.errors import translate

    found = [(message, re.findall(r"\(error (\d+)\)$", message)) for _, message in quoted_messages()]
    numbered = [(message, int(numbers[0])) for message, numbers in found if numbers]
    assert numbered
    for message, number in numbered:
        assert str(translate(VARIES, number, Exception())) == message


@pytest.mark.parametrize(
    "message",
    [
        "…: SQL Server refused the door; correct login and password of the connection (error 18456)",
        "…: SQL Server refused the login; correct login and password of the connection (error 18457)",
        "…: withheld … deletes from a backup of … records because …; inserts and updates were applied.",
        "…: the backup of … is being read by …; waited … s for it to end",
        "nobody says this",
    ],
)
def test_a_message_that_the_code_does_not_say_is_noticed(message: str) -> None:
    assert not is_said_by_the_code(message)


# structure


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), f"{document}: {target}"
        if anchor:
            name = file.resolve().relative_to(ROOT).as_posix()
            assert anchor in map(slug, headings(name)), f"{document}: {target}"


@pytest.mark.parametrize("document, folder", [("docs/index.md", ""), (README, "docs/")])
def test_every_page_is_in_the_table_of_contents(document: str, folder: str) -> None:
    linked = set(re.findall(r"\]\(([^)\s#]+)[^)]*\)", text(document)))
    assert {f"{folder}{path.name}" for path in (ROOT / "docs").glob("*.md")} - {"index.md"} <= linked


def test_the_readme_is_short() -> None:
    assert len(text(README).splitlines()) <= 170


def test_the_pages_that_code_and_examples_name_are_there() -> None:
    files = [*CODE, ROOT / "dags" / "backup_sync.yaml", ROOT / "airflow.cfg.example", ROOT / ".env.example"]
    named = {name for path in files for name in re.findall(r"[\w./]+\.md\b", path.read_text(encoding="utf-8"))}
    assert named
    assert [name for name in named if not any((ROOT / where / name).is_file() for where in ("", "docs"))] == []


def ignored() -> set[str]:
    lines = (ROOT / ".gitignore").read_text().splitlines()
    return {line.strip().rstrip("/") for line in lines if line.strip()}


def test_the_top_level_is_the_promised_one() -> None:
    present = {path.name for path in ROOT.iterdir()} - ignored() - {".git"}
    assert sorted(name.rstrip("/") for name in listed("CONTRIBUTING.md", "Layout", "path")) == sorted(present)


@pytest.mark.parametrize(
    "error",
    [BackupSyncError, *BackupSyncError.__subclasses__(), *FatalError.__subclasses__(), ConnectionMistake, LockHeld],
)
def test_the_page_that_an_error_points_to_is_there(error: type[BackupSyncError]) -> None:
    page, _, anchor = error.page.partition("#")
    anchors = [re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings(f"docs/{page}")]
    assert not anchor or anchor in anchors


def test_a_mistake_points_to_the_page_that_lists_what_was_mistaken() -> None:
    assert ConfigurationError.page == "configure.md"
    assert ConnectionMistake.page == "connections.md"


def test_the_architecture_names_every_module_and_no_other() -> None:
    package = ROOT / "plugins" / "backup_sync"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.name != "__init__.py"}
    dags = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dags").glob("*.py")}
    assert sorted(listed("docs/architecture.md", "Floors", "modules")) == sorted(modules | dags)


def test_the_picture_of_the_floors_is_that_of_the_code() -> None:
    import runpy

    drawn = runpy.run_path(str(ROOT / "docs" / "floors.py"))["picture"]()
    assert drawn == text("docs/floors.svg"), "run python docs/floors.py and look at the picture"


def test_the_public_api_is_the_documented_one_and_each_name_of_it_is_there() -> None:
    import backup_sync

    assert sorted(listed("docs/architecture.md", "The public API", "name")) == sorted(backup_sync.__all__)
    for name in backup_sync.__all__:
        assert getattr(backup_sync, name).__doc__, f"{name} says nothing of itself"
    assert set(backup_sync.__all__) <= set(dir(backup_sync))
    with pytest.raises(AttributeError, match="no attribute 'stores_of'"):
        backup_sync.stores_of  # noqa: B018


def test_numbers_that_the_architecture_states_are_those_of_the_code() -> None:
    from backup_sync.model.limits import Limits
    from backup_sync.stores.mssql.cutter import MssqlCutter
    from backup_sync.stores.sql import digest
    from backup_sync.stores.sql.cutter import WIDE_PIECE_KEYS
    from backup_sync.stores.sqlite.cutter import SqliteCutter
    from backup_sync.walk import guard

    stated, limits, tsql = text("docs/architecture.md"), Limits(), MssqlCutter.pieces
    assert (digest.DIGEST_P, digest.DIGEST_Q) == (2**31 - 1, 2**31 - 19)
    assert "P = 2³¹ − 1" in stated
    assert "Q = 2³¹ − 19" in stated
    assert f"{limits.range_records:,} (key, stamp) pairs" in stated
    assert f"more than {limits.held_pairs:,} pairs of a piece" in stated
    assert f"{limits.digests:,} digests" in stated
    assert f"some {tsql.few} pieces of {tsql.keys} to {WIDE_PIECE_KEYS:,} keys" in stated
    assert f"pieces of {SqliteCutter.pieces.keys} keys" in stated
    assert f"packs {limits.packed_keys} neighbours" in stated
    assert f"gathered, up to {limits.pending_keys:,}," in stated
    assert f"({limits.batch:,} documents, {limits.asked_keys:,} deletes)" in stated
    assert f"a lease of {limits.lease_seconds:.0f} s" in stated
    assert f"more than half of a backup of more than {guard.MOST_UPDATES_FROM:,} records" in text("docs/configure.md")


def test_the_sql_server_that_is_asked_for_is_the_one_that_the_statements_need() -> None:
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "plugins" / "backup_sync" / "stores" / "mssql").glob("*.py")
    )
    assert ("STRING_AGG" in sources, "OPENJSON" in sources) == (True, True)
    for document in (README, "docs/connections.md", "docs/limits.md"):
        assert re.search(r"SQL Server 2017 or newer.*compatibility level 130 or higher", text(document), re.DOTALL)


def test_refused_types_are_named() -> None:
    from backup_sync.stores.mssql.types import REFUSED

    for document, heading in (("docs/troubleshoot.md", "Troubleshooting"), ("docs/limits.md", "Limits")):
        assert all(f"`{name}`" in section(document, heading) for name in REFUSED)


def test_the_ports_of_the_stack_are_those_of_the_compose_file() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    published = {int(str(port).split(":")[-2]) for service in services.values() for port in service.get("ports", [])}
    rows = table("docs/containers.md", "The whole stack in containers", "ports (loopback only)")
    assert {int(port) for row in rows for port in re.findall(r"\d+", row["ports (loopback only)"])} == published


def test_the_change_log_knows_this_version() -> None:
    from backup_sync import __version__

    assert __version__ in text("CHANGELOG.md")


# continuous integration


@cache
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    return found["jobs"]


def test_every_supported_python_is_tested() -> None:
    tested = workflow()["test"]["strategy"]["matrix"]["python"]
    [(first, last)] = re.findall(r"Python (3\.\d+) to (3\.\d+) and make", text(README))
    minors = range(int(first.split(".")[1]), int(last.split(".")[1]) + 1)
    assert tested == [f"3.{minor}" for minor in minors]
    assert f'requires-python = ">={first}"' in (ROOT / "pyproject.toml").read_text()
    assert workflow()["test"]["steps"][-1]["run"] == ".ci/run"


def test_the_sql_servers_of_the_workflow_are_those_that_the_suite_asks_for() -> None:
    from tests.conformance.conftest import MSSQL

    job = workflow()["sql-server"]
    assert set(job["env"]) == set(MSSQL)
    for name, service in zip(MSSQL, job["services"].values(), strict=True):
        port, _, inside = service["ports"][0].partition(":")
        assert inside == "1433"
        assert job["env"][name].endswith(f":{service['env']['MSSQL_SA_PASSWORD']}@127.0.0.1:{port}")
    tests = job["steps"][-1]["run"].partition("pytest ")[2].split()
    assert all((ROOT / path).is_dir() for path in tests)


def test_the_workflow_knows_no_secret() -> None:
    assert "secrets." not in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


# what the runbook tells to do


def test_orders_are_restored_as_the_runbook_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from azure.cosmos import CosmosClient, PartitionKey

    from local.cosmos import EmbeddedCosmos
    from local.sample_data import order

    [script] = blocks("docs/runbook.md", "python")
    with ExitStack() as stack:
        containers = {}
        for role, database in (("TARGET", "orderdb"), ("BACKUP", "orderdb-backup")):
            server = stack.enter_context(EmbeddedCosmos(tmp_path / f"{role}.sqlite"))
            monkeypatch.setenv(f"{role}_ENDPOINT", server.endpoint)
            monkeypatch.setenv(f"{role}_KEY", server.key)
            client = stack.enter_context(CosmosClient(server.endpoint, server.key))
            containers[role] = client.create_database(database).create_container("orders", PartitionKey("/customerId"))
        for number in range(5, 10):
            containers["BACKUP"].upsert_item(order(number, 100))
        exec(compile(script, "docs/runbook.md", "exec"), {})
        stored = {item["id"]: item for item in containers["TARGET"].read_all_items()}
    assert "restored order-000007" in capsys.readouterr().out
    for number in (7, 8):
        found = stored.pop(f"order-{number:06d}")
        assert {name: found[name] for name in order(number, 100)} == order(number, 100)
    assert not stored


def test_customers_are_restored_as_the_runbook_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from local.sample_data import CUSTOMER_COLUMNS, customer

    [script] = [block for block in blocks("docs/runbook.md", "sql") if "ATTACH" in block]
    monkeypatch.chdir(tmp_path)
    columns = ", ".join(CUSTOMER_COLUMNS)
    marks = ", ".join("?" * len(CUSTOMER_COLUMNS))
    for name, extra, numbers in (("customer.sqlite", "", [1, 2]), ("customer_backup.sqlite", ", SyncedAt", [1, 2, 3])):
        with closing(sqlite3.connect(name)) as db, db:
            db.execute(f"CREATE TABLE Customers ({columns}{extra})")
            db.executemany(f"INSERT INTO Customers ({columns}) VALUES ({marks})", map(customer, numbers))
    with closing(sqlite3.connect("customer.sqlite")) as db:
        db.executescript(script)
        assert db.execute("SELECT * FROM Customers ORDER BY Id").fetchall() == [tuple(customer(n)) for n in (1, 2, 3)]


def test_customers_are_looked_at_as_they_were_as_the_page_says(tmp_path: Path) -> None:
    from backup_sync.model.result import SyncResult, sync_id
    from backup_sync.model.service import parse_service
    from backup_sync.stores.sqlite.store import sqlite_store
    from backup_sync.walk.initialize import initialize
    from backup_sync.walk.sync import Options, sync
    from local.sample_data import CUSTOMER_COLUMNS, customer

    entry = {"source": "s", "backup": "b", "table": "customer.Customers", "changed": {"Version": "higher"}}
    service = parse_service("customer", entry | {"keep_history": "30d"}, where="test")
    [query] = [block for block in blocks("docs/history.md", "sql") if "WITH first" in block]
    columns = ", ".join(["Id INTEGER PRIMARY KEY", *CUSTOMER_COLUMNS[1:]]).replace(
        "Version", "Version INTEGER NOT NULL"
    )
    source, backup = tmp_path / "source.sqlite", tmp_path / "backup.sqlite"

    def ends() -> list[Any]:
        def store(path: Path, *, copy: bool) -> Any:
            return sqlite_store(service, lambda _: sqlite3.connect(path, check_same_thread=False), path.stem, copy=copy)

        return [store(source, copy=False), store(backup, copy=True)]

    def run(path: Path, sql: str, *params: Any) -> list[Any]:
        with closing(sqlite3.connect(path)) as db, db:
            return db.execute(sql, params).fetchall()

    def night(name: str) -> list[Any]:
        result = SyncResult(sync_id("dag", name, "customer"), "customer", run_id=name)
        sync(service, *ends(), result, Options())
        return sorted(run(backup, "SELECT * FROM Customers"))

    run(source, f"CREATE TABLE Customers ({columns})")
    for number in range(1, 21):
        run(source, f"INSERT INTO Customers VALUES ({', '.join('?' * len(CUSTOMER_COLUMNS))})", *customer(number))
    initialize(*ends())
    states = {1: night("first")}
    run(source, "DELETE FROM Customers WHERE Id = 3")
    run(source, "UPDATE Customers SET Version = Version + 1, City = 'X' WHERE Id < 6")
    states[2] = night("second")
    run(source, "UPDATE Customers SET Version = Version + 1, City = 'Y' WHERE Id = 1")
    run(
        source,
        "INSERT INTO Customers SELECT 30, * FROM (SELECT "
        + ", ".join(CUSTOMER_COLUMNS[1:])
        + " FROM Customers LIMIT 1)",
    )
    night("third")
    for number, state in states.items():
        assert sorted(run(backup, query.replace("41", str(number)))) == state


# reliability


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    rows = table("docs/reliability.md", "Faults", "test")
    assert all(codes(row["test"]) for row in rows), "a fault without a test"
    assert set(listed("docs/reliability.md", "Faults", "test")) <= there
