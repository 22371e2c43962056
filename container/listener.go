package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A filter with the action NOTIFY lets a program outside the container answer system calls: seccomp_unotify(2). It gets
// the filter's listener over a unix socket, with a description of the process.

// passListener takes the listener out of a message and hands it on.
func passListener(files []int, pid int, pass func(listener, pid int) error) error {
	for _, fd := range files {
		defer unix.Close(fd)
	}
	if len(files) != 1 || pass == nil {
		return errors.New("a seccomp listener that nobody expects")
	}
	return pass(files[0], pid)
}

// sendListener gives the listener to whoever the config names: runtime-spec, config-linux.md, "The Container Process State".
// The socket's one message is the state as JSON, with the listener beside it.
func (c *Container) sendListener(listener, pid int) error {
	spec, err := c.Spec()
	if err != nil {
		return err
	}
	s := spec.Linux.Seccomp
	if s == nil || s.ListenerPath == "" {
		return errors.New("linux.seccomp.listenerPath is missing")
	}
	state := c.OCIState()
	if pid == c.state.Pid {
		state.Status = specs.StateCreated // its command does not run before the listener has arrived
	}
	data, err := json.Marshal(specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: s.ListenerMetadata, State: state,
	})
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.ListenerPath, Net: "unix"})
	if err != nil {
		return fmt.Errorf("linux.seccomp.listenerPath: %w", err)
	}
	defer conn.Close()
	rights := unix.UnixRights(listener)
	n, _, err := conn.WriteMsgUnix(data, rights, nil)
	if err == nil && n < len(data) {
		_, err = conn.Write(data[n:])
	}
	return wrap("linux.seccomp.listenerPath", err)
}
