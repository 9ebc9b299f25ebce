"""The laboratory: hosts, guests and networks for tests, all of them real."""
