"""Reports of cost against accuracy: one page that opens offline, its numbers as JSON, and Markdown."""
