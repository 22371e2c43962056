package cgroups

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
	"github.com/mydocker/mydocker/userns"
)

// In version 2 there is no file that lists devices. The kernel asks a BPF program of the group's about every open and
// mknod of a device node; here is the compiler from rules to such a program. See it live: `bpftool cgroup list GROUP`.

// bpfInstruction is struct bpf_insn: Documentation/bpf/standardization/instruction-set.rst.
type bpfInstruction struct {
	code      uint8
	registers uint8 // destination in the lower half, source in the upper
	offset    int16 // of a jump: how many instructions to skip
	value     int32
}

const (
	bpfLoad32     = 0x61 // dst = *(u32 *)(src + offset)
	bpfMoveReg    = 0xbf
	bpfMove       = 0xb7
	bpfAnd        = 0x57
	bpfShiftRight = 0x77
	bpfIfEqual    = 0x15
	bpfIfNot      = 0x55
	bpfExit       = 0x95

	// Registers. r1 holds struct bpf_cgroup_dev_ctx at the start, r0 the verdict at the end.
	regResult, regContext, regType, regAccess, regMajor, regMinor, regScratch = 0, 1, 2, 3, 4, 5, 6

	deviceBlock, deviceChar          = 1, 2
	accessMknod, accessRead, accessW = 1, 2, 4
)

// deviceProgram compiles rules. As in v1 a later rule is stronger than an earlier one, for each kind of access by itself;
// so the program goes through them from behind, ticks off what is allowed, and stops at the first thing that is not.
func deviceProgram(rules []specs.LinuxDeviceCgroup) ([]bpfInstruction, error) {
	load := func(register uint8, offset int16) bpfInstruction {
		return bpfInstruction{code: bpfLoad32, registers: register | regContext<<4, offset: offset}
	}
	code := []bpfInstruction{
		load(regType, 0), load(regMajor, 4), load(regMinor, 8), // access_type, major, minor
		{code: bpfMoveReg, registers: regAccess | regType<<4},
		{code: bpfAnd, registers: regType, value: 0xffff},
		{code: bpfShiftRight, registers: regAccess, value: 16},
	}
	for i := len(rules) - 1; i >= 0; i-- {
		rule, err := deviceRuleCode(rules[i])
		if err != nil {
			return nil, err
		}
		code = append(code, rule...)
	}
	return append(code, verdict(1)...), nil
}

func verdict(allow int32) []bpfInstruction {
	return []bpfInstruction{{code: bpfMove, registers: regResult, value: allow}, {code: bpfExit}}
}

func deviceRuleCode(d specs.LinuxDeviceCgroup) ([]bpfInstruction, error) {
	access := int32(0)
	for _, c := range d.Access {
		bit := map[rune]int32{'r': accessRead, 'w': accessW, 'm': accessMknod}[c]
		if bit == 0 {
			return nil, fmt.Errorf("resources.devices: access %q is not made of r, w and m", d.Access)
		}
		access |= bit
	}
	if access == 0 {
		access = accessRead | accessW | accessMknod
	}
	// What the rule does, once it matches.
	var act []bpfInstruction
	if d.Allow {
		act = append([]bpfInstruction{
			{code: bpfAnd, registers: regAccess, value: ^access},
			{code: bpfIfNot, registers: regAccess, offset: 2}, // something is still asked for: on to the next rule
		}, verdict(1)...)
	} else {
		act = append([]bpfInstruction{
			{code: bpfMoveReg, registers: regScratch | regAccess<<4},
			{code: bpfAnd, registers: regScratch, value: access},
			{code: bpfIfEqual, registers: regScratch, offset: 2}, // nothing that the rule forbids
		}, verdict(0)...)
	}
	var tests []bpfInstruction
	test := func(register uint8, value int32) {
		tests = append(tests, bpfInstruction{code: bpfIfNot, registers: register, value: value})
	}
	switch d.Type {
	case "", "a":
		return act, nil // all devices; numbers mean nothing
	case "b":
		test(regType, deviceBlock)
	case "c", "u":
		test(regType, deviceChar)
	default:
		return nil, fmt.Errorf("resources.devices: unknown type %q", d.Type)
	}
	if d.Major != nil && *d.Major >= 0 {
		test(regMajor, int32(*d.Major))
	}
	if d.Minor != nil && *d.Minor >= 0 {
		test(regMinor, int32(*d.Minor))
	}
	for i := range tests {
		tests[i].offset = int16(len(tests) - i - 1 + len(act)) // behind the rule
	}
	return append(tests, act...), nil
}

// devicesOp shows a program as the rules it was made from.
type devicesOp struct {
	dir   string
	rules []specs.LinuxDeviceCgroup
}

func (o devicesOp) Command() string {
	var words []string
	for _, r := range o.rules {
		verb := "deny"
		if r.Allow {
			verb = "allow"
		}
		words = append(words, verb+" "+deviceRule(r))
	}
	return fmt.Sprintf("# BPF_PROG_ATTACH to %s: %s", o.dir, strings.Join(words, "; "))
}

func (o devicesOp) Why() string { return "the devices that the container may use" }

// setDevices gives the group a program for these rules, and takes away those it had.
func (g *v2Group) setDevices(rules []specs.LinuxDeviceCgroup) error {
	if len(rules) == 0 {
		return nil
	}
	code, err := deviceProgram(rules)
	if err != nil {
		return err
	}
	return plan.Do(g.watch, devicesOp{g.dir(), rules}, func() error {
		err := attachDevices(g.dir(), code)
		if errors.Is(err, unix.EPERM) && userns.Inside() {
			return nil // only the machine's root may load such a program; in a user namespace no device can be made anyway
		}
		if err != nil {
			return fmt.Errorf("limit the devices of cgroup %s: %w", g.path, err)
		}
		return nil
	})
}

const (
	bpfProgLoad, bpfProgAttach, bpfProgDetach, bpfProgGetFD, bpfProgQuery = 5, 8, 9, 13, 16
	progTypeCgroupDevice                                                  = 15
	attachCgroupDevice                                                    = 6
	allowMulti                                                            = 2
)

func attachDevices(dir string, code []bpfInstruction) error {
	group, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(group)
	old, err := attachedPrograms(group)
	if err != nil {
		return fmt.Errorf("list the programs: %w", err)
	}
	program, err := loadProgram(code)
	if err != nil {
		return err
	}
	defer unix.Close(program)
	// The new one first: at no moment is everything allowed. Two programs together allow what both do.
	if err := attachment(bpfProgAttach, group, program); err != nil {
		return fmt.Errorf("attach the program: %w", err)
	}
	for _, id := range old {
		fd, err := bpf(bpfProgGetFD, struct{ id, next, flags uint32 }{id: id})
		if err != nil {
			return fmt.Errorf("open program %d: %w", id, err)
		}
		err = attachment(bpfProgDetach, group, fd)
		unix.Close(fd)
		if err != nil && err != unix.ENOENT {
			return fmt.Errorf("detach program %d: %w", id, err)
		}
	}
	return nil
}

func loadProgram(code []bpfInstruction) (int, error) {
	var text []byte
	for _, i := range code {
		text = append(text, i.code, i.registers)
		text = binary.LittleEndian.AppendUint16(text, uint16(i.offset))
		text = binary.LittleEndian.AppendUint32(text, uint32(i.value))
	}
	license := []byte("Apache\x00")
	attr := struct {
		kind, count            uint32
		code, license          uint64
		logLevel, logSize      uint32
		log                    uint64
		kernelVersion, flags   uint32
		name                   [16]byte
		ifindex, expectedType_ uint32
	}{
		kind: progTypeCgroupDevice, count: uint32(len(code)),
		code: uint64(uintptr(unsafe.Pointer(&text[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
		name: [16]byte{'m', 'y', 'd', 'o', 'c', 'k', 'e', 'r'},
	}
	fd, err := bpf(bpfProgLoad, attr)
	runtime.KeepAlive(text)
	runtime.KeepAlive(license)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return -1, fmt.Errorf("load the program: %w: the kernel needs CONFIG_CGROUP_BPF", err)
	}
	if err != nil {
		return -1, fmt.Errorf("load the program: %w", err)
	}
	return fd, nil
}

func attachment(command uintptr, group, program int) error {
	flags := uint32(allowMulti)
	if command == bpfProgDetach {
		flags = 0 // a detach has none, and Linux before 6.6 refuses it for that
	}
	_, err := bpf(command, struct{ target, program, kind, flags uint32 }{uint32(group), uint32(program), attachCgroupDevice, flags})
	return err
}

// attachedPrograms lists the ids of the group's own device programs.
func attachedPrograms(group int) ([]uint32, error) {
	ids := make([]uint32, 64)
	attr := struct {
		target, kind, flags, attachFlags uint32
		ids                              uint64
		count, spare                     uint32
	}{target: uint32(group), kind: attachCgroupDevice, ids: uint64(uintptr(unsafe.Pointer(&ids[0]))), count: uint32(len(ids))}
	_, _, errno := unix.Syscall(unix.SYS_BPF, bpfProgQuery, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(ids)
	if errno != 0 {
		return nil, errno
	}
	return ids[:attr.count], nil
}

// bpf is bpf(2). The kernel takes a shorter structure than its own for one whose rest is zero.
func bpf[T any](command uintptr, attr T) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		if errno == unix.EINTR || errno == unix.EAGAIN {
			continue
		}
		if errno != 0 {
			return -1, errno
		}
		return int(n), nil
	}
}
