"""How much is read, held in memory and written at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pieces:
    """How the keys of a table are cut by arithmetic when they are whole numbers.

    ``few``: pieces to aim at, as long as each holds at least ``keys`` keys. ``parts``: statements that digest the whole
    table, at most; a larger table gets wider pieces.
    """

    few: int
    keys: int
    parts: int


@dataclass(frozen=True)
class Limits:
    """Sizes that bound the memory of a run and the length of its statements. The defaults are what was measured to be fast.

    The walk: ``range_records``, records whose (key, stamp) pairs are compared at once; ``held_pairs``, pairs of one side
    in memory (a range may turn out to hold more than planned); ``pending_keys``, changed records that are read and
    written together; ``asked_keys``, keys that a store is asked about or told to delete at once.

    Whole records: ``first_page``, records of the first page, before anything is known of their weight; ``page_weight``
    and ``batch_weight``, characters and bytes of a page and of a batch, about (three batches are in memory at once).

    SQL: ``pieces``, None for what suits the product; ``digests``, digests of one side in memory at once; ``posted_keys``,
    keys sent with one statement; ``packed_keys``, neighbouring keys whose pairs come in one row; ``bulk_rows`` and
    ``bulk_rows_again``, rows from which a bulk copy is quicker than OPENJSON (its first use in a session costs about a
    third of a second); ``batch_rows``, whole rows read and written together; ``json_rows``, rows written with one
    statement; ``pull_rows``, rows that SQLite takes over in one transaction, about; ``lock_seconds``, how long a statement
    waits for a lock of another session.

    Cosmos DB: ``page``, documents of a page; ``stamps_page``, keys and stamps of a page (a request costs more than it
    carries); ``batch``, documents written together; ``few_slices``, slices from which it pays to count the service's
    documents; ``batch_from``, documents of one partition key value that go by a transactional batch; ``lease_seconds``,
    how long the lock holds unless it is renewed.
    """

    range_records: int = 50_000
    held_pairs: int = 100_000
    pending_keys: int = 10_000
    asked_keys: int = 1_000

    first_page: int = 64
    page_weight: int = 4_000_000
    batch_weight: int = 16_000_000

    pieces: Pieces | None = None
    digests: int = 2_048
    posted_keys: int = 2_500
    packed_keys: int = 32
    bulk_rows: int = 4_000
    bulk_rows_again: int = 500
    batch_rows: int = 16_000
    json_rows: int = 2_000
    pull_rows: int = 250_000
    lock_seconds: float = 30.0

    page: int = 1_000
    stamps_page: int = 2_500
    batch: int = 2_000
    few_slices: int = 16
    batch_from: int = 2
    lease_seconds: float = 60.0
