"""The ends of a service: SQL tables and Cosmos containers behind one small protocol."""
