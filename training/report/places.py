"""Names that reports look for among outcome tables."""

FINAL = "test"
"""The split that only `--final` may open."""

MANIFEST = "manifest.json"
"""A folder with this file holds a table."""

SUFFIX = "+1"
"""``dev+1`` is the replicate of ``dev``: the folder's name, and the split that its manifest may name."""
