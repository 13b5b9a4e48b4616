"""One declared service, as the rest of the code sees it."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.fresh import USUAL
from backup_sync.model.keep import KeepHistory, parse_keep, parse_time
from backup_sync.model.loss import LossLimits
from backup_sync.model.mask import Mask
from backup_sync.model.names import parse_table, without_case
from backup_sync.model.running import parse_running
from backup_sync.model.verdicts import parse_share
from backup_sync.model.where import Condition, parse_where

ASSIGNED = ("_rid", "_self", "_etag", "_attachments", "_ts", "_lsn")
"""Properties of a document that Cosmos DB assigns (https://learn.microsoft.com/azure/cosmos-db/resource-model)."""

HISTORY, UNFILLED, STATE, UNDO, LOG = "SyncHistory", "_Unfilled", "SyncState", "_Undo", "_RestoreLog"
"""Tables beside the copy of a SQL backup: the run history unless a service names another, what ends the name of the one with
columns to be filled in, the states, and what ends the names of the copy's history of records and of its restore log."""

CONTENT = "content"
"""In place of fields and rules: a record is changed when anything of it is."""

Rule = Literal["higher", "newer", "different"]
Name = Annotated[str, Field(min_length=1, max_length=255)]


class Guard(BaseModel):
    """How much loss is too much: over ``count`` records, and over ``share`` of the backup or ``ceiling`` records."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    share: float = Field(default=0.20, ge=0, le=1, description="share of the backup's records, 0..1")
    count: int = Field(default=10, ge=0, description="number of records that may always go")
    ceiling: int = Field(default=10_000, ge=0, description="number of records that is too many of any backup")
    updates: Literal["tell", "withhold"] = Field(default="tell", description="when most of a backup changes at once")

    @property
    def limits(self) -> LossLimits:
        return LossLimits(self.share, self.count, self.ceiling, ask_updates=self.updates == "withhold")


class Rejects(BaseModel):
    """How many records that cannot be copied are too many: only over *both* limits does the run fail for them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    share: float = Field(default=0.01, ge=0, le=1, description="share of the source's records, 0..1")
    count: int = Field(default=10, ge=0, description="number of records")

    @property
    def limits(self) -> LossLimits:
        return LossLimits(self.share, self.count, ceiling=sys.maxsize)


class Service(BaseModel):
    """A thing to back up: where from, where to, and what makes a record count as changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name
    source: Name = Field(description="Airflow connection id of the operational store")
    backup: Name = Field(description="Airflow connection id of the backup store")
    table: Name | None = Field(
        default=None, description="schema.table, for mssql and sqlite connections; parts may stand in brackets"
    )
    container: Name | None = Field(default=None, description="container name, for azure_cosmos connections")
    key: list[Name] | None = Field(default=None, description="key columns of a table; default: its primary key")
    changed: dict[Name, Rule] = Field(
        description="field → when a record counts as changed; or the word content: when anything of it does"
    )
    where: dict[Name, Any] = Field(
        default_factory=dict,
        description="only records like this: field → value, and for a table also column → what it has to be",
    )
    exclude: list[Name] = Field(default_factory=list, description="table: columns that are not backed up")
    mask: dict[Name, Mask] = Field(default_factory=dict, description="table: column → what the backup has in its place")
    mask_key: Name | None = Field(
        default=None, description="Airflow connection whose password is the secret of the hashes of 'mask'"
    )
    on_schema_change: Literal["evolve", "fail"] = Field(
        default="evolve", description="table: what becomes of the copy when the source's columns change"
    )
    history: Name | None = Field(default=None, description="table or container of the run history")
    keep_history: str | dict[str, str] | None = Field(
        default=None, description="how long what a run replaces is kept, such as 30d; null: not at all"
    )
    verify: str | None = Field(
        default=None, description="share of the records whose whole content each run checks, such as 1/7; null: none"
    )
    verify_again_seconds: float = Field(
        default=10, ge=0, description="how long after what differs is looked at once more, because the source is in use"
    )
    drill: Name | None = Field(
        default=None,
        description="Airflow connection of a scratch database, into which backup_drill restores for practice",
    )
    drill_within: str = Field(default="35d", description="how old the last drill may become before runs say so")
    fresh_within: str = Field(default=USUAL, description="how old the last success may become, such as 26h")
    airflow: dict[str, Any] = Field(
        default_factory=dict, description="how Airflow runs its tasks: schedule, retries, pool, owner and others"
    )
    guard: Guard = Guard()
    rejects: Rejects = Rejects()
    concurrency: int = Field(default=16, ge=1, le=256, description="container: requests in flight at most")
    retry_seconds: float = Field(default=120, ge=1, description="container: how long a request is tried again")
    lock_wait_seconds: float = Field(default=90, ge=0, description="how long to wait for another run to end")

    @field_validator("table")
    @classmethod
    def _schema_and_table(cls, value: str | None) -> str | None:
        if value is not None:
            parse_table(value)
        return value

    @field_validator("keep_history")
    @classmethod
    def _times(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        if value is not None:
            parse_keep(value)
        return value

    @field_validator("airflow")
    @classmethod
    def _running(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            parse_running(value)
        except ValueError as error:
            raise ValueError(str(error).removeprefix("airflow.")) from None
        return value

    @field_validator("mask", mode="before")
    @classmethod
    def _in_quotes(cls, value: Any) -> Any:
        if isinstance(value, dict) and None in value.values():
            raise ValueError('write "null" in quotes, or hash')
        return value

    @field_validator("verify")
    @classmethod
    def _share(cls, value: str | None) -> str | None:
        if value is not None:
            parse_share(value)
        return value

    @field_validator("drill_within", "fresh_within")
    @classmethod
    def _time(cls, value: str) -> str:
        parse_time(value)
        return value

    _content: bool = PrivateAttr(default=False)

    @model_validator(mode="wrap")
    @classmethod
    def _content_or_fields(cls, data: Any, handler: ModelWrapValidatorHandler[Service]) -> Service:
        content = isinstance(data, dict) and data.get("changed") == CONTENT
        made = handler({**data, "changed": {}} if content else data)
        if not (content or made.changed):
            raise ValueError("changed: name a field and its rule, or write 'changed: content'")
        made._content = content
        return made

    @model_validator(mode="after")
    def _one_kind(self) -> Service:
        if (self.table is None) == (self.container is None):
            raise ValueError("name either a table or a container, and not both")
        if self.table is not None:
            parse_where(self.where)
        elif odd := [name for name, value in self.where.items() if not isinstance(value, (str, int))]:
            raise ValueError(
                f"'where' of a container compares a field with text, a whole number, true or false; correct {odd[0]}"
            )
        if self.container is not None and self.exclude:
            raise ValueError("'exclude' works for tables only; remove it")
        needed = {without_case(name) for name in (*(self.key or ()), *self.changed)}
        if both := [name for name in self.exclude if without_case(name) in needed]:
            raise ValueError(
                f"'exclude' names {both[0]}, which is in 'key' or 'changed'; a backup cannot do without it"
            )
        chosen_by = {without_case(name) for name in self.where}
        if both := [name for name in self.exclude if without_case(name) in chosen_by]:
            raise ValueError(
                f"'exclude' names {both[0]}, which is in 'where'; without it in the backup a restore could not bring back what "
                "belongs to the service"
            )
        self._check_mask()
        if self.container is not None and self.key is not None:
            raise ValueError("'key' works for tables only (documents have id and partition key); remove it")
        if self.container is not None and "on_schema_change" in self.model_fields_set:
            raise ValueError("'on_schema_change' works for tables only (documents have no columns); remove it")
        assigned = [name for name in (*self.changed, *self.where) if _first(name) in ASSIGNED]
        if self.container is not None and assigned:
            raise ValueError(
                f"Cosmos DB assigns {', '.join(assigned)} anew in the copy, so that it can be compared with nothing; name a "
                "property that your application writes"
            )
        history = self.history or HISTORY
        beside = {without_case(name) for name in (history, history + UNFILLED, STATE)}
        if self.table is not None and without_case(parse_table(self.table)[1]) in beside:
            raise ValueError(
                f"table {self.table} is called as one that the backup needs for its history; name another 'history', or back "
                "up a view of it"
            )
        if self.drill in (self.source, self.backup):
            raise ValueError(
                "'drill' is the same connection as source or backup; name one to a separate scratch database"
            )
        if self.source == self.backup:
            raise ValueError("source and backup are the same connection; a store cannot be its own backup")
        return self

    def _check_mask(self) -> None:
        if self.container is not None and (self.mask or self.mask_key):
            raise ValueError("'mask' works for tables only; remove it")
        for setting, names in (
            ("key", self.key or ()),
            ("changed", self.changed),
            ("where", self.where),
            ("exclude", self.exclude),
        ):
            taken = set(map(without_case, names))
            if both := [name for name in self.mask if without_case(name) in taken]:
                raise ValueError(f"'mask' names {both[0]}, which is in '{setting}'; remove it from one of them")
        if self.needs_key and self.mask_key is None:
            raise ValueError(
                "'mask' hashes, so 'mask_key' has to name an Airflow connection whose password is the secret of the hashes"
            )

    @property
    def needs_key(self) -> bool:
        """Whether a column is masked by a hash."""
        return "hash" in self.mask.values()

    @property
    def by_content(self) -> bool:
        """Whether whole records are compared, since no field tells when one changed; :attr:`changed` is empty then."""
        return self._content

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that make up a stamp, in order."""
        return tuple(self.changed)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What a row of the source has to be to belong to the service; none of a container, whose ``where`` is plain."""
        return parse_where(self.where) if self.table is not None else ()

    @property
    def keep(self) -> KeepHistory | None:
        """How long the history of records is kept; None: none is."""
        return parse_keep(self.keep_history) if self.keep_history is not None else None

    @property
    def verify_of(self) -> int | None:
        """Each run checks one of so many shares of the records; None: none."""
        return parse_share(self.verify) if self.verify is not None else None

    @property
    def rules(self) -> tuple[str, ...]:
        """For each of :attr:`fields`, when it counts as changed."""
        return tuple(self.changed.values())


def _first(name: str) -> str:
    """The first part of a field's path."""
    return name.strip("/").partition("/")[0].strip("\"'")


def parse_service(name: str, entry: dict[str, Any], *, where: str) -> Service:
    """Validate one entry of the file. ``where`` names it in messages.

    Raises :class:`ConfigurationError`: one sentence with every field that is wrong and why. Values are left out of
    it, since what was put in the wrong place may be a password.
    """
    if "name" in entry:
        raise ConfigurationError(f"{where}: remove 'name'; the key of the entry is the service's name")
    try:
        return Service(name=name, **entry)
    except TypeError:
        raise ConfigurationError(f"{where}: every setting's name must be text") from None
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False, include_input=False, include_context=False):
            field = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                known = ", ".join(item for item in Service.model_fields if item != "name")
                problems.append(f"unknown field '{field}' (known: {known})")
            else:
                text = item["msg"].removeprefix("Value error, ")
                problems.append(f"{field}: {text}" if field else text)
        raise ConfigurationError(f"{where}: {'; '.join(problems)}") from None
