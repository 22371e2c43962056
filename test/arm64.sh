#!/bin/bash
# arm64.sh - the arm64 program on an arm64 kernel: a virtual machine of Debian's kernel with nothing in it but busybox, mydocker and
# the tests of the container package. What only this machine has is proved there: the code of the last program (trampoline_arm64.go),
# the numbers of its system calls, and the tables of seccomp.
#
# The processor is emulated (qemu-system-aarch64 without KVM). Kernel and busybox are Debian's packages for arm64, kept in
# ~/.cache; nothing is installed, and this machine's own dpkg never hears of the other architecture.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { echo "arm64.sh: $*" >&2; exit 1; }
for tool in qemu-system-aarch64 cpio depmod dpkg-deb apt-get go; do
    PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null || die "$tool is missing: run test/install-deps.sh"
done
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mydocker-arm64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# foreign_apt is apt-get with a package state of its own, in which the machine is an arm64 one.
foreign_apt() {
    local apt=$work/apt
    if [[ ! -d $apt ]]; then
        mkdir -p "$apt"/{etc/apt/preferences.d,state/lists/partial,cache/archives/partial}
        touch "$apt/status"
        cp -rL /etc/apt/sources.list* /etc/apt/apt.conf.d /etc/apt/trusted.gpg.d "$apt/etc/apt/"
    fi
    apt-get -qq -o Dir::Etc="$apt/etc/apt" -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=5 "$@"
}

# fetch leaves kernel, modules and busybox in the cache. It appears there as a whole, or not at all.
fetch() {
    [[ ! -e $cache/root ]] || return 0
    local debs=$work/debs kernel
    mkdir -p "$debs" "$work/new/root"
    foreign_apt update
    # Debian's package for clouds: a small kernel that has all of containers and networks.
    kernel=$(foreign_apt --no-install-recommends -s install linux-image-cloud-arm64 | sed -n 's/^Inst \(linux-image-[0-9][^ ]*\) .*/\1/p')
    [[ $kernel ]] || die "apt knows no kernel for arm64 clouds"
    (cd "$debs" && foreign_apt download "$kernel" busybox-static)
    for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$work/new/root"; done
    mkdir -p "$cache"
    mv "$work"/new/root/boot/vmlinuz-* "$work/new/vmlinuz"
    # Of the modules, those of networks and overlay; depmod then knows no others.
    (cd "$work"/new/root/lib/modules/*/kernel && find . -name '*.ko' | grep -vE '^\./(net/|fs/overlayfs/|lib/|crypto/|arch/|drivers/net/(veth|dummy)\.ko)' | xargs rm -f)
    PATH=$PATH:/usr/sbin:/sbin depmod -b "$work/new/root" "$(basename "$work"/new/root/lib/modules/*)" 2>/dev/null
    rm -rf "$work/new/root/"{usr,boot,etc} "$cache/root"
    mv "$work/new/vmlinuz" "$cache/vmlinuz"
    mv "$work/new/root" "$cache/root"
}

# build puts the programs and the guest's first one beside that, and makes the initramfs.
build() {
    local root=$work/guest
    cp -a "$cache/root" "$root"
    mkdir -p "$root"/{proc,sys,dev,tmp,run,etc,var/lib,root}
    CGO_ENABLED=0 GOARCH=arm64 go build -tags urfave_cli_no_docs -ldflags '-s -w' -o "$root/bin/mydocker" .
    CGO_ENABLED=0 GOARCH=arm64 go test -c -ldflags '-s -w' -o "$root/container.test" ./container
    CGO_ENABLED=0 GOARCH=arm64 go test -c -ldflags '-s -w' -o "$root/seccomp.test" ./container/seccomp
    cp -r container/testdata "$root/testdata"
    install test/arm64-guest.sh "$root/init"
    # What needs none of the judges (runc, ip) that the guest has not got.
    echo "${ARM64_TESTS:-^Test(Attack|Exec|Seccomp|Trampoline|RandomProfiles|UserNamespace|Terminal|TimeNamespace|Names|Devices|Capab)}" >"$root/arm64.tests"
    (cd "$root" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$work/initrd"
}

# boot says how the guest's tests ended: the last line on the console.
boot() {
    timeout -k 5 "${ARM64_TIMEOUT:-3600}" qemu-system-aarch64 -M virt -accel tcg,thread=multi -cpu max,pauth-impdef=on -smp 2 -m 2048 -nodefaults -no-user-config \
        -display none -no-reboot -kernel "$cache/vmlinuz" -initrd "$work/initrd" -append "console=ttyAMA0 quiet panic=-1" \
        -serial "file:$work/console" </dev/null &
    local qemu=$! status=0
    tail -n +1 -f --pid=$qemu "$work/console" 2>/dev/null &
    wait $qemu || status=$?
    wait
    ((status == 0)) || die "the machine ended with status $status"
    grep -q '^arm64: all passed' "$work/console" || die "the tests failed"
}

for try in 1 2 3 4; do # a mirror that does not answer is waited for
    fetch &
    wait $! && break
    echo "arm64.sh: try $try of 4 to fetch the guest has failed" >&2
    rm -rf "$work"/{apt,debs,new}
    sleep $((try * 10))
done
[[ -e $cache/root ]] || die "no guest could be fetched"
build
: >"$work/console"
boot
