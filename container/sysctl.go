package container

import "golang.org/x/sys/unix"

// sysctl writes a kernel setting through the proc file system that we mounted ourselves, not through a name that the
// image could have put something over (CVE-2025-52881).
func (in *initializer) sysctl(s step) error {
	if in.proc < 0 {
		fs, err := newFilesystem("proc", "proc", nil, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			return err
		}
		in.proc = fs
	}
	how := unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(in.proc, "sys/"+s.Target, &how)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(s.Source))
	return err
}
