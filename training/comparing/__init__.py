"""The parts of `m3-train compare`: every candidate on the same outcome tables, each file one noun."""
