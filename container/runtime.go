package container

import (
	"context"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// Runtime makes containers and finds them again. It has no state but the directory it names.
type Runtime struct {
	// Root holds a directory for each container, with its state.json.
	Root string
	// Executable is this program: it is started again as "init" to become the container. "" means /proc/self/exe.
	Executable string
	// Watch, if not nil, is told of every kernel operation, those of init included.
	Watch plan.Watcher
	// Warn is told of failures that must not stop anything: hooks that run after the start and after the end. nil makes
	// them errors of Start and Delete.
	Warn func(error)
}

// warn passes on what must be told and must not stop anything.
func (r *Runtime) warn(err error) {
	if r.Warn != nil {
		r.Warn(err)
	}
}

// CreateOptions say what to make.
type CreateOptions struct {
	ID     string
	Bundle string
	// Spec is the container's configuration; nil means that it is read from Bundle/config.json.
	Spec *specs.Spec
	// Rootfs, if not nil, gives the root file system as a detached mount, which is moved onto Spec.Root.Path in the
	// container's own mount namespace. It is called while init is starting up. The file is closed by Create.
	Rootfs func() (*os.File, error)
	// Sources are what some of the bind mounts show, by their destinations: opened by the caller, because others may change
	// meanwhile what is at the path that the config names. They stay the caller's.
	Sources map[string]*os.File
	// Stdin, Stdout and Stderr become the container's, unless it has a terminal. nil means /dev/null.
	Stdin, Stdout, Stderr *os.File
	// UserNS, if any, is the path of a user namespace that stands for the new one of the config, and has its mapping: other
	// namespaces that belong to it could be made before the container.
	UserNS string
	// PidFile, if any, is given the container's process id as the host sees it.
	PidFile string
	// ExtraFiles are handed to the container as descriptors 3, 4, …
	ExtraFiles []*os.File
	// ConsoleSocket, if any, is a unix socket to which the terminal's master side is sent, as runc does.
	ConsoleSocket string
	// PidfdSocket, if any, is a unix socket to which a descriptor of the process is sent: pidfd_open(2).
	PidfdSocket string
	// KeepConfig keeps a copy of the configuration beside the record: for bundles of others, who may change config.json
	// although that must not affect the container.
	KeepConfig bool
	// NoPivot changes the root by chroot, for hosts whose own root is an initramfs, which pivot_root refuses.
	NoPivot bool
	// NoNewKeyring lets the container keep the caller's session keyring.
	NoNewKeyring bool
	// Systemd lets systemd make the cgroup: linux.cgroupsPath is then SLICE:PREFIX:NAME.
	Systemd bool
	// Detach leaves the start barrier to whoever calls Load and Start later: the caller may exit after Create.
	Detach bool
}

// Container is one container of a Runtime.
type Container struct {
	runtime *Runtime
	state   State
	spec    *specs.Spec // nil in a process that did not create it
	console *os.File
	process *initProcess // nil in a process that did not create it
}

// Exit is how a process ended.
type Exit struct {
	// Code is the exit status, or 128 plus the number of the signal that ended it.
	Code int
	// Signal is the signal that ended it, or 0.
	Signal unix.Signal
	// OOMKilled says that the kernel killed a process of the container for want of memory.
	OOMKilled bool
}

// ID is the container's name under Runtime.Root.
func (c *Container) ID() string { return c.state.ID }

// State is what was recorded of it.
func (c *Container) State() State { return c.state }

// Console is the master side of the container's terminal, if its process has one and no ConsoleSocket was named.
func (c *Container) Console() *os.File { return c.console }

// Pid is the container's first process as the host sees it.
func (c *Container) Pid() int { return c.state.Pid }

// ExecOptions say what to run in a running container.
type ExecOptions struct {
	// Process is what to run. Capabilities nil means the container's own.
	Process *specs.Process
	// Stdin, Stdout and Stderr become the process's, unless it has a terminal. nil means /dev/null.
	Stdin, Stdout, Stderr *os.File
	// ExtraFiles are handed over as descriptors 3, 4, …
	ExtraFiles    []*os.File
	ConsoleSocket string
	PidfdSocket   string
	PidFile       string
	// Cgroup names groups below the container's that the process is to join instead, by controller (version 1) or for all by "".
	Cgroup map[string]string
	// IgnorePaused lets a process be added to a container that is paused. It begins, and Exec returns, when that is resumed.
	IgnorePaused bool
}

// Exec starts one more process in a running container and returns once it has been executed. An error that is a
// *CommandError carries the exit status (126 or 127) for a command that cannot be executed.
func (c *Container) Exec(ctx context.Context, o ExecOptions) (*ExecProcess, error) {
	return c.exec(ctx, o)
}

// CommandError says that a container's command cannot be executed.
type CommandError struct {
	Command string
	Code    int // 126: it cannot be executed; 127: it is not there
	Err     error
}

// shortID is an id as people read it: of an engine's 64 digits the first twelve.
func shortID(id string) string {
	if len(id) == 64 {
		return id[:12]
	}
	return id
}

func (e *CommandError) Error() string { return fmt.Sprintf("exec: %q: %v", e.Command, e.Err) }
func (e *CommandError) Unwrap() error { return e.Err }
