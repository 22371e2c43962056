package container

import (
	"errors"
	"fmt"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// An id-mapped mount shows the owners of its files through the mapping of a user namespace: what is 0 on the disk is
// 100000 to the kernel, and 0 again to a container whose user namespace has the same mapping. Nothing is copied or
// chowned: mount_setattr(2), MOUNT_ATTR_IDMAP. See it live: `mount -o bind,X-mount.idmap=b:0:100000:65536 SRC DST; ls -ln DST`.

// tree is a detached mount that the creator makes for init: `mount --bind SOURCE`, with the owners mapped.
type tree struct {
	source    string
	opened    *os.File // the source, if the caller has opened it
	recursive bool
	mapped    *idMap // nil: owners as they are
}

// idMap is a mapping, or the user namespace that has it.
type idMap struct {
	uids, gids []specs.LinuxIDMapping
	path       string // of a user namespace
	recursive  bool
}

// idMapping says how a mount's owners are mapped; nil is not at all: runtime-spec, config.md, "Linux mount options".
func idMapping(m specs.Mount, o *mountOptions, s *specs.Spec) (*idMap, error) {
	own := len(m.UIDMappings)+len(m.GIDMappings) > 0
	if !own && !o.idmap {
		return nil, nil
	}
	if (len(m.UIDMappings) == 0) != (len(m.GIDMappings) == 0) {
		return nil, errors.New("uidMappings and gidMappings: one of them is missing")
	}
	if !o.bind && m.Type != "bind" || o.remount {
		return nil, errors.New("uidMappings, gidMappings, idmap: only a bind mount can be id-mapped")
	}
	if own {
		return &idMap{uids: m.UIDMappings, gids: m.GIDMappings, recursive: o.idmapRec}, nil
	}
	for _, n := range s.Linux.Namespaces {
		if n.Type == specs.UserNamespace {
			return &idMap{uids: s.Linux.UIDMappings, gids: s.Linux.GIDMappings, path: n.Path, recursive: o.idmapRec}, nil
		}
	}
	return nil, errors.New("idmap: neither the mount nor the container has a mapping")
}

// hasUserNS says whether the container lives in a user namespace, new or joined.
func hasUserNS(s *specs.Spec) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
}

// sendTrees makes the mounts and hands them to init, a few with each message.
func (j *createJob) sendTrees(list []tree) (err error) {
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	for _, t := range list {
		fd, err := t.make()
		if err != nil {
			return fmt.Errorf("bind %s: %w", t.source, err)
		}
		open = append(open, fd)
	}
	for few := range slices.Chunk(open, maxFiles) {
		if err := j.container.process.conn.send(msgTrees, nil, few...); err != nil {
			return j.container.process.premature(err)
		}
	}
	return nil
}

func (t tree) make() (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if t.recursive {
		flags |= unix.AT_RECURSIVE
	}
	at, source := unix.AT_FDCWD, t.source
	if t.opened != nil {
		at, source, flags = int(t.opened.Fd()), "", flags|unix.AT_EMPTY_PATH
	}
	fd, err := unix.OpenTree(at, source, flags)
	if err != nil || t.mapped == nil {
		return fd, err
	}
	ns, err := t.mapped.open()
	if err == nil {
		err = MapOwners(fd, ns, t.mapped.recursive)
		ns.Close()
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (m *idMap) open() (*os.File, error) {
	if m.path != "" {
		return os.Open(m.path)
	}
	return UserNamespace(m.uids, m.gids)
}

// MapOwners shows the owners in a detached mount through a user namespace's mapping.
func MapOwners(mount int, userns *os.File, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(mount, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())})
	if err == unix.EINVAL {
		return fmt.Errorf("map the owners: %w: the file system cannot do that (ext4, xfs, btrfs can, tmpfs since Linux 6.3, overlay cannot)", err)
	}
	return wrap("map the owners", err)
}

// giveStreams lets the user of a container with a user namespace open /dev/stdout and its like again: init, which does
// that for others (openStdio), may not give away what belongs to the host's users.
func giveStreams(files []*os.File, s *specs.Spec) error {
	uid, ok := onHost(s.Linux.UIDMappings, s.Process.User.UID)
	if !ok || !hasUserNS(s) {
		return nil
	}
	for _, f := range files {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
			continue
		}
		if err := f.Chown(int(uid), -1); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("give the standard streams to the user: %w", err)
		}
	}
	return nil
}

// onHost is what a user of the container is on the host.
func onHost(list []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range list {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + id - m.ContainerID, true
		}
	}
	return 0, false
}

// validateMapping says of a mapping what clone(2) would say with EINVAL: user_namespaces(7).
func validateMapping(field string, list []specs.LinuxIDMapping) error {
	apart := func(a, b, sizeA, sizeB uint32) bool {
		return uint64(a)+uint64(sizeA) <= uint64(b) || uint64(b)+uint64(sizeB) <= uint64(a)
	}
	const most = 340 // lines that the kernel takes
	if len(list) > most {
		return fmt.Errorf("%s: %d mappings, and the kernel takes %d", field, len(list), most)
	}
	for i, m := range list {
		switch {
		case m.Size == 0:
			return fmt.Errorf("%s: a mapping of no ids (size 0)", field)
		case uint64(m.ContainerID)+uint64(m.Size) > noID || uint64(m.HostID)+uint64(m.Size) > noID:
			return fmt.Errorf("%s: %d %d %d goes beyond the last id, %d", field, m.ContainerID, m.HostID, m.Size, noID-1)
		}
		for _, o := range list[:i] {
			if !apart(m.ContainerID, o.ContainerID, m.Size, o.Size) || !apart(m.HostID, o.HostID, m.Size, o.Size) {
				return fmt.Errorf("%s: %d %d %d and %d %d %d overlap", field, o.ContainerID, o.HostID, o.Size, m.ContainerID, m.HostID, m.Size)
			}
		}
	}
	return nil
}
