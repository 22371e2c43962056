package container

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container/seccomp"
)

// What a process may do is cut down by the last program (trampoline.go): here is the list of its system calls. Each
// changes only the calling thread, and that program has one.

// capSets are the five sets of capabilities(7), one bit each.
type capSets struct{ bounding, permitted, effective, inheritable, ambient uint64 }

// parseCapabilities reads the names. One that the kernel does not have, or that the host cannot give, is left out with a
// warning: runtime-spec, config.md, "capabilities". A process of which nothing is said has none, as under runc and crun.
func parseCapabilities(c *specs.LinuxCapabilities, warn func(error)) (s capSets) {
	if c == nil {
		return s
	}
	known := capabilityNames()
	mask := func(field string, names []string) (set uint64) {
		for _, name := range names {
			n := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
			if n < 0 {
				warn(fmt.Errorf("process.capabilities.%s: unknown capability %q is left out", field, name))
				continue
			}
			set |= 1 << n
		}
		return set
	}
	s = capSets{
		bounding: mask("bounding", c.Bounding), permitted: mask("permitted", c.Permitted), effective: mask("effective", c.Effective),
		inheritable: mask("inheritable", c.Inheritable), ambient: mask("ambient", c.Ambient),
	}
	if more := s.ambient &^ (s.permitted & s.inheritable); more != 0 {
		warn(fmt.Errorf("process.capabilities.ambient: %#x is left out: what is ambient must be permitted and inheritable too", more))
		s.ambient &^= more
	}
	return s
}

// newProgram begins a program for a process that has these descriptors open: the standard streams and those of the
// container (as many as given), the conversation, and others that are used up by rows.
func newProgram(given, report int, others ...int) *program {
	p := &program{report: report, proc: -1, open: append(others, report)}
	for fd := range given {
		p.open = append(p.open, fd)
	}
	// While it still has powers nobody of the container may look into it. execve of the command ends that.
	p.call("hide the process", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	return p
}

// privileges adds the steps of privilegeSteps. filter is nil for none.
func (p *program) privileges(list []step, filter *seccomp.Filter) error {
	bounding, known, err := boundingSet()
	if err != nil {
		return err
	}
	if p.entersUserNS {
		bounding = known // whoever enters a user namespace gets a full set there
	}
	for _, s := range list {
		switch s.Kind {
		case stepRlimit:
			p.call("set "+s.Type+" to "+limitText(s.Num[1])+":"+limitText(s.Num[2])+" (a higher hard limit needs CAP_SYS_RESOURCE on the host)",
				unix.SYS_PRLIMIT64, 0, s.Num[0], p.words(s.Num[1], s.Num[2]), 0)
		case stepUmask:
			p.call("set the umask", unix.SYS_UMASK, s.Num[0])
		case stepKeyring:
			if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); err != unix.ENOSYS {
				p.call("make a session keyring", unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0)
			}
		case stepScheduler:
			p.call("set the scheduler to "+s.Type, unix.SYS_SCHED_SETATTR, 0, p.store([]byte(s.Data[0])), 0)
		case stepIOPriority:
			const thisProcess = 1
			p.call("set the I/O priority to "+s.Type, unix.SYS_IOPRIO_SET, thisProcess, 0, s.Num[0])
		case stepPersonality:
			p.call("set the personality to "+s.Type, unix.SYS_PERSONALITY, s.Num[0])
		case stepMemoryPolicy:
			p.memoryPolicy(s)
		case stepAppArmor:
			p.appArmor(s.Source)
		case stepSELinux:
			p.selinux(s.Source)
		case stepNoNewPrivs:
			p.call("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
		case stepBounding:
			for n := uint64(0); n < 64; n++ {
				if bounding&^s.Num[0]&(1<<n) != 0 {
					p.call("drop a capability from the bounding set", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, n)
				}
			}
		case stepUser:
			err = p.user(s)
		case stepFork:
			p.fork(s.Num[0] == 1)
		case stepSeccomp:
			p.seccomp(filter)
		case stepCapabilities:
			p.capabilities(bounding, s.Num[0], s.Num[1], s.Num[2], s.Num[3])
		default:
			err = fmt.Errorf("step %d is not one of the last program", s.Kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// What becomes of the caller's groups, if they are not taken away.
const (
	groupsStay  = 1 // the namespace forbids a change, or the config does not want it
	groupsTried = 2 // a user who is not root has no others than his own to lose, and may lose them only where he was given ids (newgidmap(1))
)

// user changes groups, group and user, in that order, because each needs the powers that the next one takes away. The
// capabilities survive the change (PR_SET_KEEPCAPS) so that capabilities can decide what stays.
func (p *program) user(s step) error {
	var groups []byte
	for _, g := range s.Data {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return fmt.Errorf("group %q: %w", g, err)
		}
		groups = binary.LittleEndian.AppendUint32(groups, uint32(n))
	}
	uid, gid := s.Num[0], s.Num[1]
	switch s.Num[2] {
	case 0:
		p.call("set the groups", unix.SYS_SETGROUPS, uint64(len(s.Data)), p.store(groups))
	case groupsTried:
		p.try("", unix.SYS_SETGROUPS, uint64(len(s.Data)), p.store(groups))
	}
	p.call("keep capabilities over the change of user", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1)
	p.call(fmt.Sprintf("become group %d", gid), unix.SYS_SETRESGID, gid, gid, gid)
	p.call(fmt.Sprintf("become user %d", uid), unix.SYS_SETRESUID, uid, uid, uid)
	return nil
}

func (p *program) memoryPolicy(s step) {
	var mask, bits uint64
	if nodes := s.Data[0]; nodes != "" {
		mask, bits = p.store([]byte(nodes)), uint64(8*len(nodes)+1) // the kernel counts one more than there is
	}
	p.call("set the memory policy "+s.Type+" (the kernel may be without NUMA)", unix.SYS_SET_MEMPOLICY, s.Num[0], mask, bits)
}

// appArmor writes the profile that the next execve enters.
func (p *program) appArmor(profile string) {
	p.attribute("self/attr/apparmor/exec", "exec "+profile, "enter the AppArmor profile "+profile+": is it loaded?")
	p.closeProc()
}

// attribute writes one of the process's attributes for AppArmor or SELinux. Only the opener may write, so it is opened here; by
// way of the host's own /proc, because the image could have made up the container's (CVE-2019-16884).
func (p *program) attribute(file, text, what string) {
	how := p.words(unix.O_WRONLY|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS)
	p.call("open "+file+" of the process", unix.SYS_OPENAT2, uint64(p.proc), p.string(file), how, 24)
	p.call(what, unix.SYS_WRITE, uint64(p.free()), p.string(text), uint64(len(text)))
	p.call("close "+file, unix.SYS_CLOSE, uint64(p.free()))
}

func (p *program) closeProc() {
	p.call("close the host's /proc", unix.SYS_CLOSE, uint64(p.proc))
	p.open = slices.DeleteFunc(p.open, func(fd int) bool { return fd == p.proc })
}

// free is the number that the kernel gives to the next descriptor: the lowest one.
func (p *program) free() int {
	fd := 0
	for slices.Contains(p.open, fd) {
		fd++
	}
	return fd
}

// seccomp installs the filter. One with a listener gives a descriptor, which goes to the other end of the conversation at
// once (msgListener); no call that the listener must answer first is made before it is on its way.
func (p *program) seccomp(f *seccomp.Filter) {
	const instruction = 8 // bytes: struct sock_filter
	fprog := p.words(uint64(len(f.Code)/instruction), p.store(f.Code))
	p.call("install the seccomp filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, f.Flags, fprog)
	if f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
		return
	}
	listener := p.free()
	p.sendDescriptors("hand over the seccomp listener", msgListener, []int{listener})
	p.call("close the seccomp listener", unix.SYS_CLOSE, uint64(listener))
}

// capabilities sets what is left. What the host itself has taken from everybody cannot be given; such a capability is
// left out, as execve would leave it out.
func (p *program) capabilities(bounding, permitted, effective, inheritable, ambient uint64) {
	permitted, inheritable = permitted&bounding, inheritable&bounding
	effective &= permitted
	header := p.words(unix.LINUX_CAPABILITY_VERSION_3) // and pid 0: this process
	var data []byte
	for _, shift := range []int{0, 32} {
		for _, set := range []uint64{effective, permitted, inheritable} {
			data = binary.LittleEndian.AppendUint32(data, uint32(set>>shift))
		}
	}
	p.call("set the capabilities", unix.SYS_CAPSET, header, p.store(data))
	p.call("clear the ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	for n := uint64(0); n < 64; n++ {
		if ambient&bounding&(1<<n) != 0 {
			p.call("raise an ambient capability", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0)
		}
	}
}

// execute ends the program: the command, by the first of its possible paths that works.
func (p *program) execute(paths, args, env []string) {
	p.call("close the socket", unix.SYS_FCNTL, uint64(p.report), unix.F_SETFD, unix.FD_CLOEXEC)
	argv, envv := p.vector(args), p.vector(env)
	for i, path := range paths {
		add := p.try
		if i == len(paths)-1 {
			add = p.call
		}
		add("", unix.SYS_EXECVE, p.string(path), argv, envv)
	}
}

// boundingSet is what no program of this host can have more than, and all that the kernel knows.
func boundingSet() (set, known uint64, err error) {
	for n := range 64 {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err == unix.EINVAL {
			return set, known, nil // the kernel has no capability of this number, nor any after it
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read the bounding set: %w", err)
		}
		set |= uint64(has) << n
		known |= 1 << n
	}
	return set, known, nil
}

// setDumpable decides whether others of the same user may look into this process. Off, /proc/PID/exe, fd and mem belong
// to the host's root alone, so that a process of the container cannot reach our program through them (CVE-2019-5736).
// execve of the command switches it on again.
func setDumpable(on bool) error {
	value := uintptr(0)
	if on {
		value = 1
	}
	if _, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, value, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set dumpable: %w", errno)
	}
	return nil
}

func rlimitNumber(name string) (uint64, bool) {
	n, ok := map[string]uint64{
		"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
		"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
		"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
		"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
		"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
		"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	}[name]
	return n, ok
}
