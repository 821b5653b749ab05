"""The handlers, by subject. :mod:`.routes` is the URL table."""
