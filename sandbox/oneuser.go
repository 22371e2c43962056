package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container/seccomp"
)

// installTcpdump makes plain `tcpdump` work where there is one user id only. Started by root it becomes another user once the
// device is open, by initgroups(3), setgid(2) and setuid(2). In here no other user has a number (-Z root names the one who has),
// and whoever it is to become, initgroups fails: a user who has mapped himself may not set groups (user_namespaces(7)); so a
// line in the sandbox's /etc/passwd would not be enough. Hence a script that stands before the program in PATH. It is not bound
// over the program: where AppArmor has a profile for that path, the script would run under it and could not start anything.
func installTcpdump(r *Record) error {
	if !r.Rootless || r.Ranged {
		return nil
	}
	_, path := sandboxPath(os.Environ())
	program, err := find("tcpdump", path)
	if err != nil {
		return nil // not on this machine, so not in its sandbox either
	}
	script := fmt.Sprintf("#!/bin/sh\n# root is the only user here, and has no groups to set: let tcpdump stay root\nexec %s/mydocker sandbox oneuser %s -Z root \"$@\"\n", binDir, program)
	return os.WriteFile(filepath.Join(binDir, "tcpdump"), []byte(script), 0o755)
}

// oneUser replaces this process by a command to which setgroups(2) seems to succeed: a filter answers in the kernel's place.
func oneUser(args []string) int {
	runtime.LockOSThread() // the filter is this thread's, and execve keeps the thread that calls it
	answer := uint(0)
	filter, err := seccomp.Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"setgroups"}, Action: specs.ActErrno, ErrnoRet: &answer}}})
	if err == nil {
		code := unix.SockFprog{Len: uint16(len(filter.Code) / unix.SizeofSockFilter), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter.Code[0]))}
		_, _, no := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(filter.Flags), uintptr(unsafe.Pointer(&code)))
		if err = no; no == 0 {
			err = unix.Exec(args[0], args, os.Environ())
		}
	}
	fmt.Fprintf(os.Stderr, "mydocker: run %s as the only user: %v\n", args[0], err)
	return 126
}
