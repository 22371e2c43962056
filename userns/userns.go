// Package userns says what is different when all of this program runs in a user namespace that is not the machine's first, as
// it does in a sandbox that a user has made who is not root (user_namespaces(7)): this "root" owns the namespaces made in there,
// and nothing else.
//
// What a container then does without, each in its place: cgroups that nobody has delegated (cgroups), a device filter, which
// guards against devices that nobody in here can make (cgroups), mknod (container/devices.go), overlayfs's trusted attributes
// (image), ids that the namespace does not have (image, container/rootless.go).
//
// It is asked when something was refused, or where asking costs one system call. See it live: `cat /proc/self/uid_map`.
package userns

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// first is how the kernel numbers the namespace that it was started with: PROC_USER_INIT_INO in include/linux/proc_ns.h.
const first = "user:[4026531837]"

// Inside says whether this process lives in a user namespace below the first.
func Inside() bool { return inside() }

var inside = sync.OnceValue(func() bool {
	link, err := os.Readlink("/proc/self/ns/user")
	return err == nil && link != first
})

// HasGroup says whether a group id exists in this namespace.
func HasGroup(id uint32) bool { return has(groups(), id) }

// HasUser says whether a user id exists in this namespace.
func HasUser(id uint32) bool { return has(users(), id) }

// The maps of a namespace are written once.
var (
	users  = sync.OnceValue(func() []extent { return readMap("/proc/self/uid_map") })
	groups = sync.OnceValue(func() []extent { return readMap("/proc/self/gid_map") })
)

// extent is a line "first outside count".
type extent struct{ first, outside, count uint64 }

// readMap: what cannot be read has all ids, and the kernel has the last word.
func readMap(file string) (list []extent) {
	f, err := os.Open(file)
	if err != nil {
		return []extent{{count: 1 << 32}}
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e extent
		if _, err := fmt.Sscan(lines.Text(), &e.first, &e.outside, &e.count); err == nil {
			list = append(list, e)
		}
	}
	return list
}

func has(list []extent, id uint32) bool {
	return slices.ContainsFunc(list, func(e extent) bool { return uint64(id) >= e.first && uint64(id)-e.first < e.count })
}

// MaySetGroups says whether setgroups(2) is allowed. Where a user has mapped his one id himself it is not, for good: a group could
// be what keeps him out of a file.
func MaySetGroups() bool {
	data, err := os.ReadFile("/proc/self/setgroups")
	return err != nil || strings.TrimSpace(string(data)) != "deny"
}
