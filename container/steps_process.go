package container

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/userns"
)

// privilegeSteps take powers away, in an order in which each can still be done. They are done by the last program
// (privileges.go), for exec as for the first process.
//
// linux may be nil: then only what belongs to the process is said.
func privilegeSteps(p *specs.Process, linux *specs.Linux, filtered bool, warn func(error)) ([]step, error) {
	list, err := scheduling(p)
	if err != nil {
		return nil, err
	}
	kernel, err := kernelFaces(p, linux)
	if err != nil {
		return nil, err
	}
	list = append(list, kernel...)
	for i, r := range p.Rlimits {
		number, ok := rlimitNumber(r.Type)
		switch {
		case !ok:
			return nil, fmt.Errorf("process.rlimits: unknown limit %q", r.Type)
		case r.Soft > r.Hard:
			return nil, fmt.Errorf("process.rlimits: %s: the soft limit %s is above the hard one, %s", r.Type, limitText(r.Soft), limitText(r.Hard))
		case slices.ContainsFunc(p.Rlimits[:i], func(o specs.POSIXRlimit) bool { return o.Type == r.Type }):
			return nil, fmt.Errorf("process.rlimits: %s is there twice", r.Type)
		}
		list = append(list, step{Kind: stepRlimit, Type: r.Type, Num: [6]uint64{number, r.Soft, r.Hard}, Reason: "a limit of the process"})
	}
	umask := uint64(0o022)
	if p.User.Umask != nil {
		umask = uint64(*p.User.Umask)
	}
	list = append(list,
		step{Kind: stepUmask, Num: [6]uint64{umask}, Reason: "how files are made"},
		step{Kind: stepKeyring, Reason: "no key of the caller's session is in reach"})
	sets := parseCapabilities(p.Capabilities, warn)
	filter := step{Kind: stepSeccomp, Reason: "system calls that a container does not need are refused"}
	if p.NoNewPrivileges {
		list = append(list, step{Kind: stepNoNewPrivs, Reason: "set-uid programs give no powers"})
	}
	// Before the user changes: dropping from the bounding set needs CAP_SETPCAP.
	list = append(list, step{Kind: stepBounding, Num: [6]uint64{sets.bounding}, Reason: "no program may ever get more than these"})
	if filtered && !p.NoNewPrivileges {
		// Without no_new_privs this takes CAP_SYS_ADMIN, so it must come before that is gone; what follows is then filtered too.
		list = append(list, filter)
	}
	user := step{Kind: stepUser, Num: [6]uint64{uint64(p.User.UID), uint64(p.User.GID)}, Reason: "the user and its groups; no group of the caller stays"}
	for _, g := range p.User.AdditionalGids {
		user.Data = append(user.Data, strconv.FormatUint(uint64(g), 10))
	}
	switch {
	case userns.Inside() && !userns.MaySetGroups():
		user.Num[2] = groupsStay
	case os.Geteuid() != 0:
		user.Num[2] = groupsTried
	}
	// The capabilities last: all the above need them.
	list = append(list, user,
		step{Kind: stepCapabilities, Num: [6]uint64{sets.permitted, sets.effective, sets.inheritable, sets.ambient}, Reason: "root's powers, cut down"})
	if filtered && p.NoNewPrivileges {
		list = append(list, filter) // as late as can be: the filter need not allow what came before
	}
	return list, nil
}

// scheduling is how the process competes for processors and disks: sched_setattr(2), ioprio_set(2).
func scheduling(p *specs.Process) (list []step, err error) {
	if s := p.Scheduler; s != nil {
		attr, err := schedulerAttr(s)
		if err != nil {
			return nil, fmt.Errorf("process.scheduler: %w", err)
		}
		list = append(list, step{Kind: stepScheduler, Type: string(s.Policy), Data: []string{string(attr)}, Reason: "how it competes for the processors"})
	}
	if io := p.IOPriority; io != nil {
		class, ok := map[specs.IOPriorityClass]uint64{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}[io.Class]
		if !ok {
			return nil, fmt.Errorf("process.ioPriority.class: unknown class %q", io.Class)
		}
		if io.Priority < 0 || io.Priority > 7 {
			return nil, fmt.Errorf("process.ioPriority.priority: %d is not from 0 to 7", io.Priority)
		}
		list = append(list, step{Kind: stepIOPriority, Type: string(io.Class), Num: [6]uint64{class<<13 | uint64(io.Priority), uint64(io.Priority), class}, Reason: "how it competes for the disks"})
	}
	return list, nil
}

// schedulerAttr is struct sched_attr: sched_setattr(2).
func schedulerAttr(s *specs.Scheduler) ([]byte, error) {
	policy, ok := map[specs.LinuxSchedulerPolicy]uint32{
		specs.SchedOther: unix.SCHED_NORMAL, specs.SchedFIFO: unix.SCHED_FIFO, specs.SchedRR: unix.SCHED_RR,
		specs.SchedBatch: unix.SCHED_BATCH, specs.SchedIdle: unix.SCHED_IDLE, specs.SchedDeadline: unix.SCHED_DEADLINE,
	}[s.Policy]
	realtime := s.Policy == specs.SchedFIFO || s.Policy == specs.SchedRR
	switch {
	case s.Policy == specs.SchedISO:
		return nil, errors.New("policy SCHED_ISO was never in the kernel")
	case !ok:
		return nil, fmt.Errorf("unknown policy %q", s.Policy)
	case s.Nice < -20 || s.Nice > 19:
		return nil, fmt.Errorf("nice %d is not from -20 to 19", s.Nice)
	case s.Priority != 0 && !realtime:
		return nil, fmt.Errorf("priority is for SCHED_FIFO and SCHED_RR, not for %s", s.Policy)
	case s.Runtime|s.Deadline|s.Period != 0 && s.Policy != specs.SchedDeadline:
		return nil, fmt.Errorf("runtime, deadline and period are for SCHED_DEADLINE, not for %s", s.Policy)
	}
	flags := uint64(0)
	for _, f := range s.Flags {
		bit, ok := map[specs.LinuxSchedulerFlag]uint64{
			specs.SchedFlagResetOnFork: 0x01, specs.SchedFlagReclaim: 0x02, specs.SchedFlagDLOverrun: 0x04,
			specs.SchedFlagKeepPolicy: 0x08, specs.SchedFlagKeepParams: 0x10,
		}[f]
		if !ok {
			return nil, fmt.Errorf("flag %q is not supported", f)
		}
		flags |= bit
	}
	le := binary.LittleEndian
	attr := le.AppendUint32(nil, 48) // the structure's first version: without the clamps, for which the spec has no values
	attr = le.AppendUint32(attr, policy)
	attr = le.AppendUint64(attr, flags)
	attr = le.AppendUint32(attr, uint32(s.Nice))
	attr = le.AppendUint32(attr, uint32(s.Priority))
	for _, n := range []uint64{s.Runtime, s.Deadline, s.Period} {
		attr = le.AppendUint64(attr, n)
	}
	return attr, nil
}

// kernelFaces are what the kernel shows the process of itself: an older personality, near or far memory, a profile.
func kernelFaces(p *specs.Process, linux *specs.Linux) (list []step, err error) {
	if linux != nil && linux.Personality != nil {
		domain, ok := map[specs.LinuxPersonalityDomain]uint64{specs.PerLinux: 0, specs.PerLinux32: 8}[linux.Personality.Domain]
		if !ok {
			return nil, fmt.Errorf("linux.personality.domain: unknown domain %q", linux.Personality.Domain)
		}
		if len(linux.Personality.Flags) > 0 {
			return nil, fmt.Errorf("linux.personality.flags: %q is not supported: the runtime spec defines none", linux.Personality.Flags[0])
		}
		list = append(list, step{Kind: stepPersonality, Type: string(linux.Personality.Domain), Num: [6]uint64{domain}, Reason: "what uname says of the machine"})
	}
	if linux != nil && linux.MemoryPolicy != nil {
		s, err := memoryPolicy(linux.MemoryPolicy)
		if err != nil {
			return nil, fmt.Errorf("linux.memoryPolicy: %w", err)
		}
		list = append(list, s)
	}
	if profile := p.ApparmorProfile; profile != "" && hasAppArmor() {
		list = append(list, step{Kind: stepAppArmor, Source: profile, Reason: "what the host's AppArmor lets it do"})
	}
	if p.SelinuxLabel != "" {
		list = append(list, step{Kind: stepSELinux, Source: p.SelinuxLabel, Reason: "what the host's SELinux lets it do"})
	}
	return list, nil
}

// memoryPolicies are the modes and flags of set_mempolicy(2).
func memoryPolicies() (modes map[specs.MemoryPolicyModeType]uint64, flags map[specs.MemoryPolicyFlagType]uint64) {
	return map[specs.MemoryPolicyModeType]uint64{
		specs.MpolDefault: 0, specs.MpolPreferred: 1, specs.MpolBind: 2, specs.MpolInterleave: 3, specs.MpolLocal: 4,
		specs.MpolPreferredMany: 5, specs.MpolWeightedInterleave: 6,
	}, map[specs.MemoryPolicyFlagType]uint64{specs.MpolFStaticNodes: 1 << 15, specs.MpolFRelativeNodes: 1 << 14, specs.MpolFNumaBalancing: 1 << 13}
}

// MemoryPolicies are the words that a config may say of memory policies.
func MemoryPolicies() (modes, flags []string) {
	m, f := memoryPolicies()
	for mode := range m {
		modes = append(modes, string(mode))
	}
	for flag := range f {
		flags = append(flags, string(flag))
	}
	slices.Sort(modes)
	slices.Sort(flags)
	return modes, flags
}

// memoryPolicy says on which nodes the process gets its memory: set_mempolicy(2).
func memoryPolicy(m *specs.LinuxMemoryPolicy) (step, error) {
	modes, flags := memoryPolicies()
	mode, ok := modes[m.Mode]
	if !ok {
		return step{}, fmt.Errorf("unknown mode %q", m.Mode)
	}
	for _, f := range m.Flags {
		bit, ok := flags[f]
		if !ok {
			return step{}, fmt.Errorf("unknown flag %q", f)
		}
		mode |= bit
	}
	mask, err := parseRanges(m.Nodes)
	if err != nil {
		return step{}, fmt.Errorf("nodes: %w", err)
	}
	return step{Kind: stepMemoryPolicy, Type: string(m.Mode), Source: m.Nodes, Data: []string{string(mask)}, Num: [6]uint64{mode}, Reason: "the nodes of its memory"}, nil
}

// parseRanges reads a list like "0-2,7" into a mask of bits, as sched_setaffinity(2) and set_mempolicy(2) take it.
func parseRanges(text string) ([]byte, error) {
	const most = 8192 // the kernel's largest NR_CPUS
	var mask []byte
	for _, part := range strings.Split(strings.TrimSpace(text), ",") {
		if part == "" && text == "" {
			return nil, nil
		}
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseUint(low, 10, 32)
		to, err2 := strconv.ParseUint(high, 10, 32)
		if err != nil || err2 != nil || from > to || to >= most {
			return nil, fmt.Errorf("%q is not a list of numbers and ranges like 0-2,7", text)
		}
		for len(mask) <= int(to/8) {
			mask = append(mask, 0, 0, 0, 0, 0, 0, 0, 0) // whole words
		}
		for n := from; n <= to; n++ {
			mask[n/8] |= 1 << (n % 8)
		}
	}
	return mask, nil
}

// timeNamespace gives the container clocks of its own: time_namespaces(7).
func (b *builder) timeNamespace() error {
	l := b.spec.Linux
	at := slices.IndexFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.TimeNamespace })
	if len(l.TimeOffsets) > 0 && (at < 0 || l.Namespaces[at].Path != "") {
		return errors.New("linux.timeOffsets: needs a new time namespace")
	}
	if at < 0 {
		return nil
	}
	s := step{Kind: stepTimeNamespace, Source: l.Namespaces[at].Path, Reason: "clocks of its own"}
	for _, clock := range slices.Sorted(maps.Keys(l.TimeOffsets)) {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("linux.timeOffsets: unknown clock %q: monotonic and boottime have offsets", clock)
		}
		s.Data = append(s.Data, fmt.Sprintf("%s %d %d", clock, l.TimeOffsets[clock].Secs, l.TimeOffsets[clock].Nanosecs))
	}
	b.add(s)
	return nil
}
