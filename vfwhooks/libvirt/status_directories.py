"""Where libvirt keeps its status files, of guests and of networks: the one list."""

# The guests' by the driver whose they are.
GUESTS = {
    "/run/libvirt/qemu": "qemu",
    "/run/libvirt/lxc": "lxc",
    "/run/libvirt/libxl": "libxl",
}
# The networks', and where they were before 1.2.4 or so.
NETWORKS, OLD_NETWORKS = "/run/libvirt/network", "/var/lib/libvirt/network"
DIRECTORIES = (*GUESTS, NETWORKS)
