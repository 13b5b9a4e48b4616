"""Cosmos DB, API for NoSQL."""
