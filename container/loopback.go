package container

import "golang.org/x/sys/unix"

// loopbackUp is `ip link set lo up`, by the oldest interface the kernel has for it: no netlink library is needed for
// one flag.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return wrap("open a socket for the loopback", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return wrap("ask for the loopback's flags", err)
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	return wrap("switch the loopback on", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}
