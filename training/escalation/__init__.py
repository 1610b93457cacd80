"""The second look: what is learned from an answer's confidence, and candidates that use it."""
