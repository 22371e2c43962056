package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
	"github.com/mydocker/mydocker/image"
)

// --userns-remap: the container's root is nobody on the host, namely one of the sub-ids of a user, as in Docker. The layers
// are not copied for it: they are shown through the mapping (image.Rootfs.UserNS), and so are volumes. What the host
// lends by path (-v /dir:/dir) keeps its owners, and root's files there are nobody's in the container.
//
// See it live: `cat /proc/PID/uid_map`, `ps -o user,pid,cmd PID`.

// defaultRemapUser is Docker's name for "default".
const defaultRemapUser = "dockremap"

// remaps says whether the container has a user namespace.
func remaps(o *CreateOptions) bool { return o.Security.UsernsRemap != "" && o.UsernsMode != "host" }

// checkRemap refuses, in Docker's words, what a user namespace does not go with.
func checkRemap(o *CreateOptions) error {
	if !remaps(o) {
		return nil
	}
	switch {
	case o.Security.Privileged:
		return errors.New("privileged mode is incompatible with user namespaces: you must run the container in the host namespace when running privileged mode (--userns host)")
	case o.Network == modeHost:
		return errors.New("cannot share the host's network namespace when user namespaces are enabled (--userns host)")
	case o.PidMode == "host":
		return errors.New("cannot share the host PID namespace when user namespaces are enabled (--userns host)")
	}
	_, _, err := remapping(o.Security.UsernsRemap)
	return err
}

// remapping reads the sub-ids of a user and of a group: subuid(5).
func remapping(who string) (uids, gids []specs.LinuxIDMapping, err error) {
	name, group, _ := strings.Cut(who, ":")
	if name == "default" {
		name = defaultRemapUser
	}
	if uids, err = subIDs("/etc/subuid", names(name, passwdName(name))); err == nil {
		gids, err = subIDs("/etc/subgid", names(or(group, name), groupName(or(group, name)), passwdName(or(group, name))))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("--userns-remap %s: %w", who, err)
	}
	return uids, gids, nil
}

func names(list ...string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// passwdName is the other name of a user: the name of a number, the number of a name.
func passwdName(who string) string {
	if uid, err := strconv.Atoi(who); err == nil {
		if u, err := user.LookupUid(uid); err == nil {
			return u.Name
		}
	} else if u, err := user.LookupUser(who); err == nil {
		return strconv.Itoa(u.Uid)
	}
	return ""
}

func groupName(who string) string {
	if gid, err := strconv.Atoi(who); err == nil {
		if g, err := user.LookupGid(gid); err == nil {
			return g.Name
		}
	} else if g, err := user.LookupGroup(who); err == nil {
		return strconv.Itoa(g.Gid)
	}
	return ""
}

// subIDs maps the container's ids, from 0 on, to the ranges that a file gives to one of these names.
func subIDs(file string, who []string) ([]specs.LinuxIDMapping, error) {
	ranges, err := user.ParseSubIDFileFilter(file, func(r user.SubID) bool { return slices.Contains(who, r.Name) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []specs.LinuxIDMapping
	next := uint32(0)
	for _, r := range ranges {
		if r.SubID < 0 || r.Count <= 0 || r.SubID+r.Count > 1<<32-1 || int64(next)+r.Count > 1<<32-1 {
			return nil, fmt.Errorf("%s: the range %s:%d:%d cannot be", file, r.Name, r.SubID, r.Count)
		}
		list = append(list, specs.LinuxIDMapping{ContainerID: next, HostID: uint32(r.SubID), Size: uint32(r.Count)})
		next += uint32(r.Count)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s gives no ids to %s: `echo %s:100000:65536 >> %s` does, if nobody else has these", file, who[0], who[0], file)
	}
	return list, nil
}

// remapped is a container's user namespace while it is brought up: a process that does nothing but be in it. nil is no user
// namespace, and all methods know it.
type remapped struct {
	holder     *container.Holder
	uids, gids []specs.LinuxIDMapping
}

// remap makes the user namespace, and a network namespace that belongs to it, so that the container's root has power
// over its own network.
func (e *Engine) remap(d *Definition) (*remapped, error) {
	if !remaps(&d.Options) {
		return nil, nil
	}
	uids, gids, err := remapping(d.Options.Security.UsernsRemap)
	if err != nil {
		return nil, err
	}
	holder, err := container.HoldNamespaces(unix.CLONE_NEWNET, uids, gids)
	if err != nil {
		return nil, err
	}
	return &remapped{holder, uids, gids}, nil
}

func (r *remapped) release() {
	if r != nil {
		r.holder.Release()
	}
}

// path names a namespace of the holder's; "" is none.
func (r *remapped) path(kind string) string {
	if r == nil {
		return ""
	}
	return r.holder.Path(kind)
}

func (r *remapped) open() (*os.File, error) {
	if r == nil {
		return nil, nil
	}
	return os.Open(r.path("user"))
}

// apply says it in the words of the runtime spec. What is mounted from lib is ours (the network's files, volumes), and what
// is root's in it becomes the container's root's. sharesNet: the network namespace belongs to somebody else, and sysfs,
// which shows its links, can then only be bound.
func (r *remapped) apply(s *specs.Spec, lib string, sharesNet bool) {
	if r == nil {
		return
	}
	s.Linux.UIDMappings, s.Linux.GIDMappings = r.uids, r.gids
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	for i, m := range s.Mounts {
		switch {
		case isOurs(m, lib):
			s.Mounts[i].Options = append(slices.Clone(m.Options), "idmap")
		case m.Type == "sysfs" && sharesNet:
			s.Mounts[i] = specs.Mount{Destination: m.Destination, Type: "bind", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro", "rprivate"}}
		}
	}
}

// isOurs says of a mount that its files are ours, not the user's own.
func isOurs(m specs.Mount, lib string) bool {
	return m.Type == "bind" && strings.HasPrefix(m.Source, lib)
}

// UserNamespace makes a user namespace like the one that a container has when it runs, for those who work on its files; nil is
// none.
func (e *Engine) UserNamespace(d *Definition) (*os.File, image.Owners, error) {
	if !remaps(&d.Options) {
		return nil, image.Owners{}, nil
	}
	uids, gids, err := remapping(d.Options.Security.UsernsRemap)
	if err != nil {
		return nil, image.Owners{}, err
	}
	ns, err := container.UserNamespace(uids, gids)
	return ns, image.Owners{Users: idMaps(uids), Groups: idMaps(gids)}, err
}

func idMaps(list []specs.LinuxIDMapping) (maps []user.IDMap) {
	for _, m := range list {
		maps = append(maps, user.IDMap{ID: int64(m.ContainerID), ParentID: int64(m.HostID), Count: int64(m.Size)})
	}
	return maps
}

// shiftBack gives files that were copied out of the container's root, where they were seen through the mapping, the owners
// that the mapping shows the same again.
func (r *remapped) shiftBack(dir string) error {
	if r == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		return os.Lchown(path, inContainer(r.uids, st.Uid), inContainer(r.gids, st.Gid))
	})
}

// inContainer is what an id of the host is in the container; -1, which changes nothing, if it is nobody there.
func inContainer(list []specs.LinuxIDMapping, id uint32) int {
	for _, m := range list {
		if id >= m.HostID && id-m.HostID < m.Size {
			return int(m.ContainerID + id - m.HostID)
		}
	}
	return -1
}
