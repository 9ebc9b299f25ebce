"""The kernel and the tools, with no word of guests."""
