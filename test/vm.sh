#!/bin/bash
# vm.sh [systemd] - the tests that run once more in a virtual machine that has cgroup v2 and nothing else. The test binaries,
# mydocker and in-namespace.sh stand beside this script; the guest has no Go and no compiler. With "systemd" the machine's
# init is systemd, and only what has to do with that is tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export PATH=$PATH:/usr/sbin:/sbin MYDOCKER=$PWD/mydocker MYDOCKER_TEST_SLOW=20 MYDOCKER_TESTDATA=$PWD/

[[ $(stat -f -c %T /sys/fs/cgroup) == cgroup2fs ]] || { echo "vm.sh: no cgroup v2 here" >&2; exit 1; }

if [[ ${1-} == systemd ]]; then
    [[ -d /run/systemd/system ]] || { echo "vm.sh: systemd does not run here" >&2; exit 1; }
    exec env MYDOCKER_TEST_SYSTEMD=1 ./container.test -test.timeout 3m -test.v -test.run 'Systemd|AppArmor'
fi

# runc is not in the guest: the comparison with it was made outside. In the order: the limits alone, the runtime, then whole containers through the command line.
for package in cgroups container; do
    echo "--- $package"
    (mkdir -p "$package" && cd "$package" && "../$package.test" -test.timeout 5m -test.skip Runc)
done
echo "--- network: links and queueing disciplines that not every kernel has"
for module in sch_netem ipvlan macvlan 8021q dummy; do # or the tests would only see that they are refused
    modprobe "$module" || { echo "vm.sh: the guest's kernel has no $module" >&2; exit 1; }
done
(mkdir -p network && cd network && ../network.test -test.timeout 5m -test.v -test.run '^Test(Macvlan.*|MadeParents|IPvlan|Rate|Delay)$')
echo "--- e2e"
mkdir -p test/e2e && cp in-namespace.sh test/
(cd test/e2e && ../../e2e.test -test.timeout 10m -test.v -test.run '^Test(VM|Limits.*|Stats|Delay)$')
