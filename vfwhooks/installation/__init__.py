"""The hooks as installed files, and whether libvirt's daemons may run them."""
