"""What a task tells OpenLineage (https://openlineage.io): which dataset it read, which it wrote, how many rows, and what a comparison found.

Airflow's provider of that name asks the operator for it when the task has ended. Without the provider, or with nowhere to send it
to, nothing is gathered. Names of datasets follow https://openlineage.io/docs/spec/naming; SQLite, which has none there, is named likewise.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from backup_sync.model.errors import BackupSyncError
from backup_sync.model.verdicts import VERDICTS

if TYPE_CHECKING:
    from backup_sync.model.result import SyncResult
    from backup_sync.stores.base import Store

log = logging.getLogger(__name__)

Columns = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Place:
    """A table or container: its address (:attr:`Store.uri`), and name and type of its columns; a container has none."""

    uri: str
    columns: Columns = ()


@dataclass(frozen=True)
class Lineage:
    """What a task did: it read ``source`` and wrote ``target``; or, without a target, compared both of ``compared``. ``result`` is
    filled in as it goes on."""

    result: SyncResult
    source: Place
    target: Place | None = None
    compared: Place | None = None


def place(store: Store) -> Place:
    """The place of a store, with its columns if anybody wants to know them: that is a query."""
    columns: Columns = ()
    if wanted():
        with suppress(BackupSyncError):
            shape = store.catalog.describe()
            columns = [(column.name, column.type) for column in getattr(shape, "columns", ())]
    return Place(store.uri, columns)


def wanted() -> bool:
    """Whether there is a provider of OpenLineage that sends anything."""
    try:
        if find_spec("airflow.providers.openlineage") is None:
            return False
        from airflow.providers.openlineage.conf import is_disabled
    except (ImportError, ValueError):
        return False
    return not is_disabled()


def dataset_name(uri: str) -> tuple[str, str]:
    """(namespace, name) of the dataset at an address.

    >>> dataset_name("mssql://sql:1433/CustomerDb/customer/My%20Table")
    ('mssql://sql:1433', 'CustomerDb.customer.My Table')
    >>> dataset_name("cosmos://orders.documents.azure.com/orderdb/orders")
    ('azurecosmos://orders.documents.azure.com/dbs/orderdb', 'colls/orders')
    >>> dataset_name("sqlite:/data/shop.db/shop/Items")
    ('sqlite:/data/shop.db', 'shop.Items')
    """
    found = urlsplit(uri)
    parts = [unquote(part) for part in found.path.strip("/").split("/")]
    if found.scheme == "mssql":
        return f"mssql://{found.netloc}", ".".join(parts)
    if found.scheme == "cosmos":
        return f"azurecosmos://{found.netloc}/dbs/{parts[0]}", f"colls/{parts[1]}"
    return f"{found.scheme}:/{'/'.join(parts[:-2])}", ".".join(parts[-2:])


def told(lineage: Lineage | None) -> Any:
    """An ``OperatorLineage`` of Airflow's provider, or None where there is nothing to tell or nobody to tell it to."""
    if lineage is None or not lineage.source.uri or lineage.result.dry_run:
        return None
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    result = lineage.result
    if lineage.compared is not None:
        copy = _input(
            lineage.compared, {"dataQualityAssertions": assertions} if (assertions := _assertions(result)) else {}
        )
        return OperatorLineage(inputs=[_input(lineage.source), copy])
    outputs = [_output(lineage.target, result)] if lineage.target is not None else []
    return OperatorLineage(inputs=[_input(lineage.source)], outputs=outputs)


def _facets(where: Place) -> dict[str, Any]:
    from openlineage.client.facet_v2 import datasource_dataset, schema_dataset

    namespace, _ = dataset_name(where.uri)
    found: dict[str, Any] = {"dataSource": datasource_dataset.DatasourceDatasetFacet(name=namespace, uri=namespace)}
    if where.columns:
        fields = [schema_dataset.SchemaDatasetFacetFields(name=name, type=kind) for name, kind in where.columns]
        found["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields)
    return found


def _input(where: Place, facets: dict[str, Any] | None = None) -> Any:
    from openlineage.client.event_v2 import InputDataset

    namespace, name = dataset_name(where.uri)
    return InputDataset(namespace=namespace, name=name, facets=_facets(where), inputFacets=facets or {})


def _output(where: Place, result: SyncResult) -> Any:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    namespace, name = dataset_name(where.uri)
    written = statistics.OutputStatisticsOutputDatasetFacet(rowCount=result.inserted + result.updated)
    return OutputDataset(
        namespace=namespace, name=name, facets=_facets(where), outputFacets={"outputStatistics": written}
    )


def _assertions(result: SyncResult) -> Any:
    """One for each verdict: there is no record of it. And the columns that drifted, each as one of its own."""
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

    if result.verified is None:
        return None
    found = []
    for verdict in VERDICTS:
        one = result.verified[verdict.capitalize()]
        found.append(quality.Assertion(assertion=f"no_{verdict}", success=not one["Count"]))
        found += [
            quality.Assertion(assertion=f"no_{verdict}", success=False, column=name) for name in one.get("Fields", {})
        ]
    return quality.DataQualityAssertionsDatasetFacet(assertions=found)
