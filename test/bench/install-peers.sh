#!/bin/bash
# install-peers.sh - install what `make bench` compares with, by apt (root, Debian or Ubuntu): crun, runc, podman and
# Docker. No service is started: the benchmark starts the Docker daemon itself, in namespaces.
set -euo pipefail
command -v apt-get >/dev/null || { echo "please install crun, runc, podman and docker with your package manager" >&2; exit 1; }

# Debian asks this file whether a package may start its service.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends busybox-static crun runc iptables
# The image for the peers comes from a tar; podman wants conmon and a network back end besides.
apt-get install -q -y --no-install-recommends podman conmon netavark aardvark-dns || echo "no podman here" >&2
apt-get install -q -y --no-install-recommends docker.io || echo "no docker here" >&2
