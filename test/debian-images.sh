#!/bin/bash
# debian-images.sh DIR    make real images of Debian packages for the tests (root, Debian or Ubuntu; a minute, once)
#
# DIR/layout becomes an OCI layout, written by umoci, with three images; each has the layers of the one before:
#
#   debian    a minimal Debian, more than 100 MB
#   nginx     and nginx on top
#   big       and Python, Perl, git and what they need on top, in layers of their own: about 300 MB
#
# What is there already is kept.
set -euo pipefail

suite=bookworm

# In a hook of mmdebstrap, $2 is the root file system, in which the network works. What is mounted there is on other file
# systems and stays out of the archive.
stage() {
    local name=$1 root=$2 status=0
    shift 2
    [[ -n $root && $root != / && -e $root/etc/debian_version ]] || { echo "no root file system at '$root'" >&2; exit 1; }
    if (($#)); then chroot "$root" apt-get install -q --yes --no-install-recommends "$@"; fi
    tar -C "$root" --one-file-system --warning=no-file-changed --xattrs --numeric-owner \
        --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' --exclude=./etc/resolv.conf \
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
    local dir=$1 layout
    export STAGES
    mkdir -p "$dir"
    STAGES=$(mktemp -d "$dir/new-XXXXXX")
    trap 'rm -rf "$STAGES"' EXIT
    layout=$STAGES/layout
    mmdebstrap --quiet --mode=root --variant=minbase --format=null \
        --customize-hook="'$0' --stage debian \"\$1\"" \
        --customize-hook="'$0' --stage nginx \"\$1\" nginx-light" \
        --customize-hook="'$0' --stage python \"\$1\" python3 perl" \
        --customize-hook="'$0' --stage git \"\$1\" git" \
        --customize-hook="'$0' --stage tools \"\$1\" gdb-minimal vim" \
        "$suite"
    umoci init --layout "$layout"
    umoci new --image "$layout:debian"
    umoci unpack --image "$layout:debian" "$STAGES/bundle"
    repack "$layout" debian debian
    umoci config --image "$layout:debian" --config.cmd bash --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    umoci tag --image "$layout:debian" nginx
    repack "$layout" nginx nginx
    umoci config --image "$layout:nginx" --config.cmd nginx --config.cmd -g --config.cmd 'daemon off;' --config.exposedports 80/tcp
    umoci tag --image "$layout:nginx" big
    local name
    for name in python git tools; do repack "$layout" big "$name"; done
    umoci gc --layout "$layout"
    mv -T "$layout" "$dir/layout"
}

case ${1-} in
--stage)
    shift
    stage "$@"
    ;;
'' | -*)
    echo "usage: debian-images.sh DIR" >&2
    exit 2
    ;;
*)
    [[ -e $1/layout ]] || make_images "$(realpath -m "$1")"
    ;;
esac
