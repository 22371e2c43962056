#!/bin/bash
# debian-images.sh DIR          make real images of Debian packages for the tests (root, Debian or Ubuntu; half a minute, once)
# debian-images.sh DIR big      and the one that `make bench` pulls and loads
#
# DIR/layout becomes an OCI layout, written by umoci, with two images:
#
#   debian    a minimal Debian, more than 100 MB
#   nginx     its layer, and one with nginx
#
# DIR/big becomes one with an image `big` besides: these two layers, and three with Perl and Python, git, vim: 340 MB.
# What is there already is kept.
set -euo pipefail

suite=bookworm
self=$(realpath "${BASH_SOURCE[0]}")

# In a hook of mmdebstrap, $2 is the root file system, in which the network works; what follows is installed in it. What is
# mounted there is on other file systems and stays out of the archive.
stage() {
    local name=$1 root=$2 status=0
    shift 2
    [[ -n $root && $root != / && -e $root/etc/debian_version ]] || { echo "no root file system at '$root'" >&2; exit 1; }
    if (($#)); then chroot "$root" apt-get install -q --yes --no-install-recommends "$@"; fi
    tar -C "$root" --one-file-system --warning=no-file-changed --xattrs --numeric-owner \
        --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/cache/apt/*.bin' --exclude='./var/lib/apt/lists/*_*' --exclude=./etc/resolv.conf \
        -cf "$STAGES/$name.tar" . || status=$?
    ((status <= 1)) # 1: a file changed meanwhile; /sys does, when something is mounted on it or unmounted
}

# Each archive is laid over the bundle of the one before, and umoci finds out what has changed.
repack() {
    local layout=$1 tag=$2 name=$3
    tar -C "$STAGES/bundle/rootfs" --xattrs --numeric-owner -xpf "$STAGES/$name.tar"
    rm "$STAGES/$name.tar"
    umoci repack --refresh-bundle --image "$layout:$tag" "$STAGES/bundle"
}

make_images() {
    local dir=$1 result=$2 layout name hooks=()
    export STAGES
    mkdir -p "$dir"
    STAGES=$(mktemp -d "$dir/new-XXXXXX")
    trap 'rm -rf "$STAGES"' EXIT
    layout=$STAGES/layout

    hook() { hooks+=("--customize-hook='$self' --stage $1 \"\$1\" ${*:2}"); }
    hook debian
    hook nginx nginx-light
    if [[ $result == big ]]; then
        hook python python3 perl
        hook git git
        hook tools gdb-minimal vim
    fi
    mmdebstrap --quiet --mode=root --variant=minbase --format=null "${hooks[@]}" "$suite"

    umoci init --layout "$layout"
    umoci new --image "$layout:debian"
    umoci unpack --image "$layout:debian" "$STAGES/bundle"
    repack "$layout" debian debian
    umoci config --image "$layout:debian" --config.cmd bash --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    umoci tag --image "$layout:debian" nginx
    repack "$layout" nginx nginx
    umoci config --image "$layout:nginx" --config.cmd nginx --config.cmd -g --config.cmd 'daemon off;' --config.exposedports 80/tcp
    if [[ $result == big ]]; then
        umoci tag --image "$layout:nginx" big
        for name in python git tools; do repack "$layout" big "$name"; done
    fi
    umoci gc --layout "$layout"
    mv -T "$layout" "$dir/$result" 2>/dev/null || [[ -e $dir/$result ]] # two may make them at once
}

case ${1-} in
--stage)
    shift
    stage "$@"
    ;;
'' | -*)
    echo "usage: debian-images.sh DIR [big]" >&2
    exit 2
    ;;
*)
    result=${2:-layout}
    [[ $result == layout || $result == big ]] || { echo "usage: debian-images.sh DIR [big]" >&2; exit 2; }
    [[ -e $1/$result ]] || make_images "$(realpath -m "$1")" "$result"
    ;;
esac
