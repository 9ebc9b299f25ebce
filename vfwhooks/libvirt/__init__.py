"""What libvirt says: its XML, its files, its daemons."""
