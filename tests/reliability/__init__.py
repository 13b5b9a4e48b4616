"""Faults on purpose: what docs/reliability.md promises, tried."""
