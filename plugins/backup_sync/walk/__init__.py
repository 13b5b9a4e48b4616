"""The jobs, and the walk that they share: find out what differs, judge it, write it."""
