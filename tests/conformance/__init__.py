"""One suite that every kind of store must pass, against every server at hand."""
