"""Readers of libvirt's XML and files, and the state of libvirt's daemons."""
