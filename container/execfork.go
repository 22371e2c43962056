package container

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container/seccomp"
)

// withFork finds the moment at which the process is born into the container's pid namespace, where others see it: as late as can
// be, when it has given up all that they have not got. A filter that does not need powers to be installed comes after it, and so
// does what a child would not inherit as it is: a limit of processes, under which its own birth might fail, and a scheduler that
// children do not get. processes is the hard limit of processes that whoever executes has.
//
// What is left is born first, and is protected by not being dumpable alone: with SCHED_DEADLINE, whose process may have no
// children and which takes powers to set; and under a filter that forbids what is yet to be done, or has somebody asked about
// it who wants to be told of the process before.
func withFork(last []step, filter *seccomp.Filter, terminal bool, processes uint64) []step {
	fork := step{Kind: stepFork}
	if terminal {
		fork.Num[0] = 1
	}
	before, after, early := splitAtBirth(last, processes)
	at := len(before)
	if filter != nil && before[at-1].Kind == stepSeccomp {
		at--
	} else if filter != nil {
		early = early || !passesUntilBorn(filter, last, after, terminal)
	}
	if !early {
		return slices.Insert(before, at, append([]step{fork}, after...)...)
	}
	// AppArmor's profile and SELinux's label for the next execve are inherited, and take a handle of the host's to set: before.
	at = slices.IndexFunc(last, throughProc) + 1
	if at > 0 {
		last[0], last[at-1] = last[at-1], last[0]
		at = 1
	}
	return slices.Insert(last, at, fork)
}

// splitAtBirth divides what has to be done on both sides of the birth: before it with the powers that it may take, after it the
// rest, for which none are needed.
func splitAtBirth(last []step, processes uint64) (before, after []step, impossible bool) {
	for _, s := range last {
		switch {
		case s.Kind == stepRlimit && s.Num[0] == unix.RLIMIT_NPROC:
			if s.Num[2] > processes {
				raised := s
				raised.Num[1] = s.Num[2]
				before = append(before, raised)
			}
			after = append(after, s)
		case s.Kind == stepScheduler:
			const resetOnFork = 1
			attr := []byte(s.Data[0])
			policy, flags := binary.LittleEndian.Uint32(attr[4:]), binary.LittleEndian.Uint64(attr[8:])
			impossible = impossible || policy == unix.SCHED_DEADLINE
			if flags&resetOnFork != 0 {
				after = append(after, s)
				binary.LittleEndian.PutUint64(attr[8:], flags&^resetOnFork)
				s.Data = []string{string(attr)}
			}
			before = append(before, s)
		default:
			before = append(before, s)
		}
	}
	return before, after, impossible
}

// passesUntilBorn says whether a filter that is installed first lets through what follows it up to the command. One with a listener
// must not have anybody asked either: who answers is told of the process when it is there.
func passesUntilBorn(f *seccomp.Filter, last, after []step, terminal bool) bool {
	passes := f.Allows(unix.SYS_SETSID) && f.Allows(unix.SYS_CLONE, forkFlags) && f.Allows(unix.SYS_WRITE) &&
		(!terminal || f.Allows(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0))
	for _, s := range after {
		if s.Kind == stepScheduler {
			passes = passes && f.Allows(unix.SYS_SCHED_SETATTR)
		} else {
			passes = passes && f.Allows(unix.SYS_PRLIMIT64, 0, s.Num[0])
		}
	}
	if f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
		return passes
	}
	for _, s := range last {
		if s.Kind == stepUser {
			passes = passes && f.Allows(unix.SYS_SETGROUPS, uint64(len(s.Data))) && f.Allows(unix.SYS_SETRESGID, s.Num[1], s.Num[1], s.Num[1]) &&
				f.Allows(unix.SYS_SETRESUID, s.Num[0], s.Num[0], s.Num[0])
		}
	}
	return passes && f.Allows(unix.SYS_SENDMSG) && f.Allows(unix.SYS_CLOSE) && f.Allows(unix.SYS_CAPSET) && f.Allows(unix.SYS_FCNTL) &&
		f.Allows(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1) && f.Allows(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT)
}
