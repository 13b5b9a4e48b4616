"""A table in a SQL database: the flow, once for all dialects."""
