// Package container is an OCI runtime: it turns a bundle (a config.json and a root file system) into a process that sees
// its own process ids, mounts, host name and network, and that may do no more than the bundle allows.
//
// Read it in this order:
//
//	spec.go        what Docker's defaults are, as a pure function from options to *specs.Spec
//	runtime.go     the verbs: Create, Start, Wait, Kill, Delete
//	process.go     the parent's half: the clone, the cgroup, the conversation with init
//	plan.go        the bundle turned into a list of steps, before anything is done
//	init.go        the child's half: it does the steps, waits at the start barrier, and becomes the command
//	rootfs.go      mounts, /dev, masked paths, pivot_root
//	privileges.go  users, capabilities, no_new_privs, rlimits
//	exec.go        one more process in a running container
//	status.go      what a container is doing, computed from the kernel
//
// See it live: `lsns -p PID`, `ls -l /proc/PID/ns`, `cat /proc/PID/mountinfo`, `grep Cap /proc/PID/status`.
//
// What it is not: it knows nothing of images, networks or names, and it never prints. A container without a user
// namespace is a fence against accidents and against most attacks, not a virtual machine: it shares the kernel.
package container
