"""Where things are on a host, unless the environment says otherwise. Import-light."""

STATE, CONFIG = "/run/vfwhooks", "/etc/vfwhooks/forwards.yaml"
