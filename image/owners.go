package image

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/userns"
)

// Owners say who the users and groups of a container with a user namespace are on the host: user_namespaces(7), "/proc/PID/uid_map".
// Empty is a container without one: everybody is himself.
type Owners struct{ Users, Groups []user.IDMap }

// OwnersOf reads them from a running container's process.
func OwnersOf(pid int) (Owners, error) {
	users, err := user.ParseIDMapFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	if err != nil {
		return Owners{}, err
	}
	groups, err := user.ParseIDMapFile(fmt.Sprintf("/proc/%d/gid_map", pid))
	if err != nil {
		return Owners{}, err
	}
	return Owners{Users: withoutIdentity(users), Groups: withoutIdentity(groups)}, nil
}

// withoutIdentity: the host's own user namespace maps all ids to themselves.
func withoutIdentity(list []user.IDMap) []user.IDMap {
	if len(list) == 1 && list[0].ID == 0 && list[0].ParentID == 0 && list[0].Count == math.MaxUint32 {
		return nil
	}
	return list
}

func (o Owners) none() bool { return len(o.Users) == 0 && len(o.Groups) == 0 }

// outside is an id of the container, as the host has it.
func outside(list []user.IDMap, id int) (int, bool) {
	for _, m := range list {
		if d := int64(id) - m.ID; d >= 0 && d < m.Count {
			return int(m.ParentID + d), true
		}
	}
	return id, len(list) == 0
}

// overflowID stands for who is nobody in a user namespace, as inside: user_namespaces(7), "Unmapped user and group IDs".
const overflowID = 65534

// inside is an id of the host, as the container sees it.
func inside(list []user.IDMap, id uint32) int {
	for _, m := range list {
		if d := int64(id) - m.ParentID; d >= 0 && d < m.Count {
			return int(m.ID + d)
		}
	}
	if len(list) == 0 {
		return int(id)
	}
	return overflowID
}

// become makes the calling thread, for files, the container's root, and leaves it the host root's powers: what is made is then
// the container root's, also where the host's root has no place (in an id-mapped layer, EOVERFLOW). The thread is thrown away.
func (o Owners) become() error {
	if o.none() {
		return nil
	}
	uid, ok := outside(o.Users, 0)
	gid, also := outside(o.Groups, 0)
	if !ok || !also {
		return fmt.Errorf("the container's user namespace has no root: %w", unix.EOVERFLOW)
	}
	return fileUser(uid, gid)
}

// fileUser is setfsuid(2) and setfsgid(2), with the capabilities that these drop.
func fileUser(uid, gid int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	if _, err := unix.SetfsgidRetGid(gid); err != nil {
		return err
	}
	if _, err := unix.SetfsuidRetUid(uid); err != nil {
		return err
	}
	return unix.Capset(&header, &caps[0]) // leaving root has dropped those that concern files
}

// throwAway runs fn on a thread that ends with it: what it changes of itself meets nobody else.
func throwAway(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- throwAway(fn) // Go keeps the first thread for ever: while it is held here, fn gets another one
			runtime.UnlockOSThread()
			return
		}
		done <- fn()
	}()
	return <-done
}

// chown gives what was unpacked to whom the archive says. What belongs to root needs no call: root has made it.
func (u *unpacker) chown(h *tar.Header, change func(uid, gid int) error) error {
	if h.Uid == 0 && h.Gid == 0 {
		return nil
	}
	uid, ok := outside(u.owners.Users, h.Uid)
	gid, also := outside(u.owners.Groups, h.Gid)
	err := error(unix.EOVERFLOW)
	if ok && also {
		err = giveTo(uid, gid, change)
	}
	if err != nil {
		return fmt.Errorf("chown %d:%d: %w", h.Uid, h.Gid, err)
	}
	return nil
}

// giveTo is chown UID:GID. An owner that does not exist in a user namespace with few ids becomes root, as fakeroot would have it: the
// file keeps its mode, and programs that run as root in there find it. (`mydocker sandbox up` says that there are few ids.)
func giveTo(uid, gid int, chown func(uid, gid int) error) error {
	if userns.Inside() {
		if !userns.HasUser(uint32(uid)) {
			uid = 0
		}
		if !userns.HasGroup(uint32(gid)) {
			gid = 0
		}
	}
	return chown(uid, gid)
}

// Two extended attributes have ids in them.
const (
	xattrCaps       = "security.capability"      // capabilities(7), "File capability extended attribute versioning"
	xattrACL        = "system.posix_acl_access"  // acl(5); the kernel's linux/posix_acl_xattr.h
	xattrDefaultACL = "system.posix_acl_default" // the same
)

const (
	capsRevision2, capsRevision3 = 0x02000000, 0x03000000
	capsRevisionMask             = 0xff000000
	capsSize2, capsSize3         = 20, 24
	aclHeader, aclEntry          = 4, 8
	aclUser, aclGroup            = 0x02, 0x08
)

// toContainer is an attribute as the container sees it.
func (o Owners) toContainer(key string, value []byte) []byte {
	return o.attribute(key, value, func(list []user.IDMap, id uint32) uint32 { return uint32(inside(list, id)) })
}

// toHost is an attribute of the container's as it is set on the host.
func (o Owners) toHost(key string, value []byte) []byte {
	return o.attribute(key, value, func(list []user.IDMap, id uint32) uint32 {
		to, ok := outside(list, int(id))
		if !ok {
			to = -1 // no valid id: the kernel refuses the attribute
		}
		return uint32(to)
	})
}

func (o Owners) attribute(key string, value []byte, translate func([]user.IDMap, uint32) uint32) []byte {
	word := binary.LittleEndian
	switch {
	case o.none():
	case key == xattrCaps && (len(value) == capsSize2 || len(value) == capsSize3):
		// Whose root's powers they are: the initial user namespace's with revision 2, else the one that stands at the end.
		revised := append(slices.Clone(value), make([]byte, capsSize3-len(value))...)
		root := translate(o.Users, word.Uint32(revised[capsSize2:]))
		word.PutUint32(revised[capsSize2:], root)
		flags := word.Uint32(value) &^ capsRevisionMask
		if root == 0 {
			word.PutUint32(revised, flags|capsRevision2)
			return revised[:capsSize2]
		}
		word.PutUint32(revised, flags|capsRevision3)
		return revised
	case key == xattrACL || key == xattrDefaultACL:
		revised := slices.Clone(value)
		for i := aclHeader; i+aclEntry <= len(revised); i += aclEntry {
			list := map[uint16][]user.IDMap{aclUser: o.Users, aclGroup: o.Groups}[word.Uint16(revised[i:])]
			if list != nil {
				word.PutUint32(revised[i+4:], translate(list, word.Uint32(revised[i+4:])))
			}
		}
		return revised
	}
	return value
}
