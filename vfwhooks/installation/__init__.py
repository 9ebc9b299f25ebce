"""Where hooks are laid, and whether libvirt's daemons may run them."""
