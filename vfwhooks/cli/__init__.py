"""The command line: one command a module, and what is printed."""
