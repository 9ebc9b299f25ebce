"""Port forwards to libvirt guests, put in and taken out by libvirt's own hooks."""

__version__ = "0.1.0"
