package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/userns"
)

// Rootfs is what one container's overlay is stacked of: kernel, Documentation/filesystems/overlayfs.rst.
type Rootfs struct {
	Lower       []string // layers, the top one first
	Upper, Work string
	Skeleton    string // a directory below all layers, or empty (skeleton.go)
	// Volatile forgoes syncing the file system when it is unmounted: for containers that are removed when they end.
	Volatile bool
	// UserNS, if not nil, is a user namespace through whose mapping the owners are shown: the layers stay as they are, and
	// are shared with containers without one (mount_setattr(2), MOUNT_ATTR_IDMAP; overlayfs takes such layers since Linux 5.19).
	UserNS *os.File
	// Label is the SELinux label of all files in it, whatever the layers say; "" is none.
	Label string
	// Warn is told, once for each container, that overlayfs cannot be used and why; nil tells nobody.
	Warn func(message string)
}

// Rootfs makes dir/upper and dir/work, on one file system as overlayfs wants it, and names the layers below them.
func (s *Store) Rootfs(img *Image, dir string) (Rootfs, error) {
	if err := s.EnsureChecked(); err != nil {
		return Rootfs{}, err
	}
	r := Rootfs{Warn: s.warn, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	for i := len(img.Layers) - 1; i >= 0; i-- {
		r.Lower = append(r.Lower, filepath.Join(s.layerDir(img.Layers[i]), "fs"))
	}
	if len(r.Lower) == 0 {
		return Rootfs{}, fmt.Errorf("image %s has no layers, so there is nothing to run", img.ID.Short())
	}
	// The root of an overlay looks like its uppermost directory, so the new one must look like the image's.
	var top unix.Stat_t
	if err := unix.Stat(r.Lower[0], &top); err != nil {
		return Rootfs{}, fmt.Errorf("the layers of image %s are damaged: %w; pull or load the image again",
			img.ID.Short(), &fs.PathError{Op: "stat", Path: r.Lower[0], Err: err})
	}
	if err := makeLike(r.Upper, &top); err != nil {
		return Rootfs{}, fmt.Errorf("make the writable layer: %w", err)
	}
	if err := os.Mkdir(r.Work, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return Rootfs{}, fmt.Errorf("make the overlay's work directory: %w", err)
	}
	return r, nil
}

func makeLike(dir string, st *unix.Stat_t) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil // the container's own, from an earlier start
	}
	if err != nil {
		return err
	}
	if st.Uid != 0 || st.Gid != 0 {
		if err := os.Chown(dir, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return unix.Chmod(dir, st.Mode&0o7777)
}

// flags are set in any case: a renamed directory or a changed mode must be written to the upper layer as a whole,
// whatever the kernel's build prefers, or the upper layer alone would not tell what the container changed (commit).
func (r Rootfs) flags() [][2]string {
	if userns.Inside() {
		return [][2]string{{"index", "off"}} // the others are off without being asked where it is userxattr
	}
	return [][2]string{{"redirect_dir", "off"}, {"metacopy", "off"}, {"index", "off"}}
}

// options are the overlay's mount options, as mount(8) takes them.
func (r Rootfs) options(lower []string) string {
	escaped := make([]string, len(lower))
	for i, dir := range lower {
		escaped[i] = escapeOption(dir)
	}
	options := "lowerdir=" + strings.Join(escaped, ":") + ",upperdir=" + escapeOption(r.Upper) + ",workdir=" + escapeOption(r.Work)
	for _, flag := range r.flags() {
		options += "," + flag[0] + "=" + flag[1]
	}
	if userns.Inside() {
		options += ",userxattr"
	}
	if r.Volatile {
		options += ",volatile"
	}
	if r.Label != "" {
		options += `,context="` + r.Label + `"` // a level may have commas
	}
	return options
}

// escapeOption: overlayfs splits at commas and colons unless a backslash is in front.
func escapeOption(path string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `:`, `\:`).Replace(path)
}

// Mount makes a detached overlay mount: the descriptor can be used with openat(2) and move_mount(2), nothing appears in
// the host's mount table, and the mount is gone when the last descriptor is closed.
func (r Rootfs) Mount(w plan.Watcher) (*os.File, error) {
	op := plan.Step{Cmd: "mount -t overlay overlay -o " + r.options(r.stack()) + " /merged",
		Reason: "stack the image's layers below a writable one: the container's root file system"}
	var mount *os.File
	err := plan.Do(w, op, func() (err error) {
		mount, err = r.mountOrCopy()
		return err
	})
	if err != nil {
		if mount != nil {
			mount.Close()
		}
		return nil, fmt.Errorf("mount the overlay of %d layers: %w", len(r.Lower), err)
	}
	return mount, nil
}

func (r Rootfs) mount() (*os.File, error) {
	if r.Volatile {
		// overlayfs marks the work directory of a volatile mount and refuses it from then on, because after a crash of
		// the machine it could be torn. Here it was only a process that ended: the kernel still has all of it.
		if err := os.RemoveAll(filepath.Join(r.Work, "work", "incompat")); err != nil {
			return nil, err
		}
	}
	if r.UserNS != nil {
		return r.mountAsWhole()
	}
	mount, err := r.mountByParts()
	if errors.Is(err, errNotByParts) {
		return r.mountAsWhole()
	}
	return mount, err
}

// mountOrCopy mounts the overlay; where the host can mount none at all, it copies.
func (r Rootfs) mountOrCopy() (*os.File, error) {
	if r.isCopied() {
		return r.mountCopy()
	}
	mount, err := r.mount()
	if err == nil || r.UserNS != nil {
		return mount, err // a copy would belong to the wrong users
	}
	probeErr := probeOverlay(filepath.Dir(r.Upper))
	if probeErr == nil {
		return nil, err // overlayfs works: this container's layers are what is wrong
	}
	if r.Label != "" {
		return nil, fmt.Errorf("%w: a copy of the layers would not have the SELinux label %s (--security-opt label=disable goes without)", err, r.Label)
	}
	if r.Warn != nil {
		r.Warn(copyWarning(filepath.Dir(r.Upper), probeErr))
	}
	mount, copyErr := r.mountCopy()
	if copyErr != nil {
		return nil, errors.Join(err, copyErr)
	}
	return mount, nil
}

// errNotByParts: this kernel cannot take the layers one by one, or a path is too long for that.
var errNotByParts = errors.New("the layers cannot be handed over one by one")

// maxParameter is the longest string that fsconfig(2) takes, in bytes, with the NUL at its end.
const maxParameter = 256

// mountByParts hands the layers over one by one, so that their number is not bounded by the length of an option
// string: fsopen(2) and, for each layer, fsconfig "lowerdir+" (Linux 6.8).
func (r Rootfs) mountByParts() (*os.File, error) {
	if !kernelTakesParts() {
		return nil, errNotByParts
	}
	for _, path := range append([]string{r.Upper, r.Work}, r.stack()...) {
		if len(path) >= maxParameter {
			return nil, errNotByParts
		}
	}
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) {
		return nil, errNotByParts
	}
	if errors.Is(err, unix.ENODEV) {
		return nil, fmt.Errorf("this kernel has no overlayfs (modprobe overlay loads it): %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("fsopen overlay: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.FsconfigSetString(fd, "source", "overlay"); err != nil {
		return nil, fmt.Errorf("set the source: %w", err)
	}
	for _, dir := range r.stack() {
		if err := unix.FsconfigSetString(fd, "lowerdir+", dir); err != nil {
			return nil, explainFS(fd, "take the layer "+dir, err)
		}
	}
	parameters := append([][2]string{{"upperdir", r.Upper}, {"workdir", r.Work}}, r.flags()...)
	if r.Label != "" {
		parameters = append(parameters, [2]string{"context", r.Label})
	}
	for _, p := range parameters {
		if err := unix.FsconfigSetString(fd, p[0], p[1]); err != nil {
			return nil, explainFS(fd, "set "+p[0]+"="+p[1], err)
		}
	}
	if userns.Inside() { // its marks are "user." attributes: "trusted." ones are for the machine's root (Linux 5.11)
		if err := unix.FsconfigSetFlag(fd, "userxattr"); err != nil {
			return nil, explainFS(fd, "set userxattr", err)
		}
	}
	if r.Volatile {
		if err := unix.FsconfigSetFlag(fd, "volatile"); err != nil {
			return nil, explainFS(fd, "set volatile", err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return nil, explainFS(fd, "create the file system", err)
	}
	mount, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, explainFS(fd, "fsmount", err)
	}
	return os.NewFile(uintptr(mount), "overlay"), nil
}

// kernelTakesParts says whether overlayfs knows "lowerdir+". The kernel is asked for its release, because an older one takes any
// option at first, and says only in the end, for the whole file system, that one of them was invalid.
func kernelTakesParts() bool {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return false
	}
	return releaseTakesParts(unix.ByteSliceToString(uts.Release[:]))
}

func releaseTakesParts(release string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false // mount(2) works everywhere
	}
	return major > 6 || major == 6 && minor >= 8
}

// explainFS adds what the kernel says about a failed file system call: the lines that reading the descriptor gives.
func explainFS(fd int, what string, err error) error {
	var lines []string
	buf := make([]byte, 512)
	for {
		n, readErr := unix.Read(fd, buf)
		if readErr != nil || n <= 0 {
			break // no more messages
		}
		lines = append(lines, strings.TrimSpace(string(buf[:n])))
	}
	if len(lines) > 0 {
		return fmt.Errorf("%s: %w (the kernel says: %s)", what, err, strings.Join(lines, "; "))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// mountAsWhole is for kernels before 6.8: one mount(2), whose options must fit into a page, in a mount namespace of a
// thread of its own, from which open_tree(2) takes the mount out again.
func (r Rootfs) mountAsWhole() (*os.File, error) {
	var mount *os.File
	err := throwAway(func() (err error) {
		mount, err = r.mountInPrivate()
		return err
	})
	return mount, err
}

// mapOwners puts an id-mapped view over the directories that hold the layers. Nobody else sees this mount namespace.
func (r Rootfs) mapOwners() error {
	own, shared := filepath.Dir(r.Upper), filepath.Dir(filepath.Dir(r.Lower[0])) // LIB/containers/ID, LIB/layers
	for _, dir := range []string{own, shared} {
		fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return err
		}
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(r.UserNS.Fd())}
		err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr)
		if err == nil {
			err = unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		unix.Close(fd)
		if err == unix.EINVAL {
			return fmt.Errorf("%s: %w: its file system cannot do that (ext4, xfs, btrfs can)", dir, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return becomeOwner(own)
}

// becomeOwner makes this thread, for files, the user whom the mapping shows as root, with all of root's powers: overlayfs
// does its own work as whoever mounted it, and root of the host has no place in the mapping. The thread is thrown away.
func becomeOwner(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	return fileUser(int(st.Uid), int(st.Gid))
}

// mountInPrivate equals: unshare -m; mount --make-rprivate /; cd /proc/thread-self/fd; mount -t overlay … DIR
func (r Rootfs) mountInPrivate() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("unshare the mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make the mounts private: %w", err)
	}
	if r.UserNS != nil {
		if err := r.mapOwners(); err != nil {
			return nil, fmt.Errorf("map the owners of the layers: %w", err)
		}
	}
	lower := r.stack()
	if len(r.options(lower)) >= os.Getpagesize() {
		// Too long: the layers are opened, and named by the numbers of their descriptors, which are names in the
		// current directory.
		lower = nil
		for _, dir := range r.stack() {
			fd, err := openDirectory(dir)
			if err != nil {
				return nil, err
			}
			defer unix.Close(fd)
			lower = append(lower, strconv.Itoa(fd))
		}
		if err := unix.Chdir("/proc/thread-self/fd"); err != nil {
			return nil, err
		}
	}
	// Any directory does as the place: nobody else sees this namespace.
	if err := unix.Mount("overlay", r.Work, "overlay", 0, r.options(lower)); err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, r.Work, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("take the mount out of its namespace: %w", err)
	}
	return os.NewFile(uintptr(fd), "overlay"), nil
}
