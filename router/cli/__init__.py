"""The command line ``m3-router``: one file per verb, `main.main` is the entry point."""
