#!/bin/bash
# install-deps.sh            install what the tests need, by apt (root, Debian or Ubuntu)
# install-deps.sh --check    only say what is missing; fails when something is
#
# The product itself needs iptables and nothing else; the rest are the judges (ip, iptables-save, runc, skopeo...) that
# the tests ask what really happened.
set -euo pipefail

# program to look for, package that has it
needs() {
    cat <<'LIST'
ip            iproute2
iptables      iptables
nft           nftables
busybox       busybox-static
unshare       util-linux
lsns          util-linux
ifconfig      net-tools
pgrep         procps
brctl         bridge-utils
conntrack     conntrack
runc          runc
crun          crun
skopeo        skopeo
umoci         umoci
buildah       buildah
mmdebstrap    mmdebstrap
docker-registry docker-registry
htpasswd      apache2-utils
openssl       openssl
mkfs.ext4     e2fsprogs
jq            jq
curl          curl
socat         socat
chromium      chromium
strace        strace
zsh           zsh
fish          fish
groff         groff-base
mandoc        mandoc
tcpdump       tcpdump
ping          iputils-ping
xz            xz-utils
zstd          zstd
make          make
podman        podman
conmon        conmon
containerd    containerd
dockerd       docker.io
git           git
gcc           gcc
apparmor_parser apparmor
newuidmap     uidmap
secilc        secilc
qemu-system-aarch64 qemu-system-arm
cpio          cpio
depmod        kmod
LIST
}

export PATH=$PATH:/usr/sbin:/sbin
missing=()
while read -r program package; do
    command -v "$program" >/dev/null || missing+=("$package")
done < <(needs)
# Without a Chinese font the browser's Chinese pages are made of empty boxes, whose width says nothing.
[[ -e /usr/share/fonts/truetype/wqy/wqy-microhei.ttc ]] || missing+=(fonts-wqy-microhei)
# The race detector is linked with a C library.
[[ -e /usr/include/stdlib.h ]] || missing+=(libc6-dev)
((${#missing[@]})) || exit 0

if [[ ${1-} == --check ]]; then
    echo "the tests need packages that are not installed: ${missing[*]}" >&2
    echo "run as root: test/install-deps.sh" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "this is not Debian or Ubuntu; please install: ${missing[*]}" >&2
    exit 1
fi
# Debian asks this file whether a package may start its service: the registry, containerd and Docker are for the tests to start.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
# A mirror that does not answer, and somebody else's dpkg, are waited for.
apt() { apt-get -q -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 "$@"; }
for try in 1 2 3 4 5; do
    if apt update && apt install -y --no-install-recommends "${missing[@]}"; then exit 0; fi
    echo "install-deps.sh: try $try of 5 has failed" >&2
    sleep $((try * 10))
done
exit 1
