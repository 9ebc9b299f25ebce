"""The one use case: events lead to partial and full syncs."""
