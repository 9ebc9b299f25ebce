"""The one list of the directories with libvirt's status files of guests and
networks."""

# Directories of guests, with the driver of each.
GUESTS = {
    "/run/libvirt/qemu": "qemu",
    "/run/libvirt/lxc": "lxc",
    "/run/libvirt/libxl": "libxl",
}
# The directory of networks, and its path before libvirt 1.2.4 or so.
NETWORKS, OLD_NETWORKS = "/run/libvirt/network", "/var/lib/libvirt/network"
DIRECTORIES = (*GUESTS, NETWORKS)
