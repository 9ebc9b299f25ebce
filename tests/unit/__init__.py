"""Tests of one module at a time: no root, no network, no libvirt, no kernel."""
