"""The cases, one file a topic; each has a function cases(quick)."""
