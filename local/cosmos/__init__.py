"""A Cosmos-compatible development server: the official SDK talks to it over plain HTTP.

It is a tool for development and tests, not a database. What it does: databases and containers; documents with etags,
partition keys (Hash of version 1 and 2, and MultiHash) and transactional batch; times to live and unique keys; the
subset of Cosmos SQL named in `syntax` and `compare`, over physical ranges with continuation tokens and query plans; the
change feed in latest-version mode; master-key signatures, and tokens in the form of those of Entra ID with the two
built-in roles for data (by https, as the SDK sends them no other way); request charges and 429 answers; failures, delays, cut
connections and partition splits on order. Documents are kept in a SQLite file as the JSON text that came in, and survive
the death of the process.

What it does not do: change throughput (an offer shows the server's limit), index by policy, run scripts and triggers,
JOIN, GROUP BY, LIKE, arithmetic, subqueries, full-text, vector or spatial functions, other consistency levels than an
immediate one, several regions, users and permissions, roles for a part of the account. Request charges are plausible, not those of the service. The
physical ranges and the throughput limit are those of the whole server, not of one container.
"""

from .auth import DEFAULT_KEY
from .process import EmbeddedCosmos

__all__ = ["DEFAULT_KEY", "EmbeddedCosmos"]
