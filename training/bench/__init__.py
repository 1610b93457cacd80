"""The backbone measured against the reference's way, in one process: `m3-train bench-backbone`."""
