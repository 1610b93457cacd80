"""One file per group of endpoints; each offers ``router``, which `create_app` includes."""
