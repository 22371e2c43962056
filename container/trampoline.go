package container

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program is a list of system calls: the last ones that a process of ours makes before it is the container's command.
// It is put into a tiny ELF file in memory (a sealed memfd) and executed; its whole code is a loop over the list
// (trampoline_amd64.go, trampoline_arm64.go). Two things are won by that:
//
//   - When the command starts, /proc/self/exe is that file and not mydocker's own. Otherwise an image whose command
//     is "#!/proc/self/exe" would be handed a door to the host's program (CVE-2019-5736). Other runtimes copy
//     themselves at each start; this costs a few hundred bytes.
//   - It is a process with one thread, so that it may do what a Go program may not: setns into a user namespace,
//     change users without stopping threads, live under a seccomp filter that forbids what Go's scheduler needs.
//
// When a call fails, the program reports the result and the row over the conversation's descriptor, and exits.
type program struct {
	rows   []programRow
	labels []string // for each row, what it is for
	blob   []byte   // what the rows point to

	entersUserNS bool  // one of the rows joins a user namespace
	open         []int // the descriptors that are open while it runs: what the kernel opens next has the lowest other number
	report       int   // the conversation
	proc         int   // the host's /proc, or -1
}

type programRow struct {
	number uint64
	args   [6]uint64
	kind   uint64
}

// What becomes of a row's result.
const (
	rowStrict  = iota // a failure is told, and ends the program
	rowLenient        // a failure is none
	rowForks          // the child goes on; the parent tells its process id, in the way of a failure, and ends
)

// Where the pieces stand in the file and in memory. All are apart by 64 KiB, the largest page size of any machine.
const (
	codeAddress = 0x400000
	dataAddress = 0x610000 // also in the machine code
	blobAddress = 0x800000
	dataOffset  = 0x10000
	blobOffset  = 0x20000
	rowsAt      = 0x20 // from dataAddress; before it: descriptor, message header, result, row
	rowSize     = 64
	maxRows     = (blobOffset - dataOffset - rowsAt) / rowSize
)

// call adds a system call that must succeed.
func (p *program) call(label string, number uintptr, args ...uint64) {
	p.add(label, rowStrict, number, args)
}

// try adds a system call whose failure does not matter.
func (p *program) try(label string, number uintptr, args ...uint64) {
	p.add(label, rowLenient, number, args)
}

func (p *program) add(label string, kind uint64, number uintptr, args []uint64) {
	r := programRow{number: uint64(number), kind: kind}
	copy(r.args[:], args)
	p.rows, p.labels = append(p.rows, r), append(p.labels, label)
}

// fork lets a child of whoever has started the program go on in its place: born into the pid namespace that the program has
// entered, with a session of its own, and its terminal if it has one.
func (p *program) fork(terminal bool) {
	p.add("start a process in the container", rowForks, unix.SYS_CLONE, []uint64{forkFlags})
	p.call("make a session", unix.SYS_SETSID)
	if terminal {
		p.call("take the terminal", unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0)
	}
}

// forkFlags make a child of the parent's, which gets a signal at its end.
const forkFlags = unix.CLONE_PARENT | uint64(unix.SIGCHLD)

// forked reads the parent's report of a fork.
func forked(payload []byte) (pid int, ok bool) {
	if len(payload) != 16 {
		return 0, false
	}
	pid = int(int64(binary.LittleEndian.Uint64(payload)))
	return pid, pid > 0
}

// store keeps data and gives its address in the running program.
func (p *program) store(data []byte) uint64 {
	for len(p.blob)%8 != 0 {
		p.blob = append(p.blob, 0)
	}
	at := blobAddress + uint64(len(p.blob))
	p.blob = append(p.blob, data...)
	return at
}

func (p *program) string(s string) uint64 { return p.store(append([]byte(s), 0)) }

func (p *program) words(list ...uint64) uint64 {
	data := make([]byte, 0, 8*len(list))
	for _, w := range list {
		data = binary.LittleEndian.AppendUint64(data, w)
	}
	return p.store(data)
}

// vector stores strings as execve wants them: addresses, and a zero at the end.
func (p *program) vector(list []string) uint64 {
	addresses := make([]uint64, 0, len(list)+1)
	for _, s := range list {
		addresses = append(addresses, p.string(s))
	}
	return p.words(append(addresses, 0)...)
}

// file is the program as an ELF file in memory that nobody can write any more. Failures will be sent to descriptor report.
func (p *program) file(report int) (*os.File, error) {
	f, err := newProgramFile()
	if err != nil {
		return nil, err
	}
	if err := p.fill(f, report); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// newProgramFile makes the file, still empty: it can be handed to another process before it is known what will stand in it.
func newProgramFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("mydocker", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 every memfd could be executed, and the flag was unknown
		fd, err = unix.MemfdCreate("mydocker", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, wrap("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memfd:mydocker"), nil
}

// fill writes the program, and seals the file.
func (p *program) fill(f *os.File, report int) error {
	if len(p.rows) > maxRows {
		return fmt.Errorf("%d system calls are too many for one program", len(p.rows))
	}
	fd := int(f.Fd())
	for _, part := range []struct {
		data []byte
		at   int64
	}{{p.head(), 0}, {p.table(report), dataOffset}, {p.blob, blobOffset}} {
		if _, err := unix.Pwrite(fd, part.data, part.at); err != nil {
			return wrap("write the last program", err)
		}
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	return wrap("seal the last program", err)
}

// head is the ELF header, four program headers, and the code: elf(5).
func (p *program) head() []byte {
	const headerSize, segmentSize, segments = 64, 56, 4
	const executable, load, stack = 2, 1, 0x6474e551
	const read, write, run = 4, 2, 1
	le := binary.LittleEndian
	code := trampolineCode()
	codeAt := uint64(headerSize + segments*segmentSize)
	out := append([]byte("\x7fELF"), 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0) // 64 bits, little-endian, version 1
	for _, half := range []uint16{executable, trampolineMachine} {
		out = le.AppendUint16(out, half)
	}
	out = le.AppendUint32(out, 1)
	for _, word := range []uint64{codeAddress + codeAt, headerSize, 0} { // entry, program headers, no sections
		out = le.AppendUint64(out, word)
	}
	out = le.AppendUint32(out, 0)
	for _, half := range []uint16{headerSize, segmentSize, segments, 0, 0, 0} {
		out = le.AppendUint16(out, half)
	}
	segment := func(kind, flags uint32, offset, address, size uint64) {
		out = le.AppendUint32(out, kind)
		out = le.AppendUint32(out, flags)
		for _, word := range []uint64{offset, address, address, size, size, 0x10000} {
			out = le.AppendUint64(out, word)
		}
	}
	segment(load, read|run, 0, codeAddress, codeAt+uint64(len(code)))
	segment(load, read|write, dataOffset, dataAddress, uint64(rowsAt+rowSize*len(p.rows)))
	segment(load, read|write, blobOffset, blobAddress, uint64(len(p.blob)))
	segment(stack, read|write, 0, 0, 0)
	return append(out, code...)
}

// table is the data that the code walks along. What it sends on failure is a whole message of the conversation: the
// header stands just before the result and the row.
func (p *program) table(report int) []byte {
	data := make([]byte, 0, rowsAt+rowSize*len(p.rows))
	data = binary.LittleEndian.AppendUint64(data, uint64(report))
	data = append(data, 0, 0, 0, 16, 0, 0, 0, byte(msgRow)) // three spare bytes, length 16, type
	data = append(data, make([]byte, 16)...)
	for _, r := range p.rows {
		data = binary.LittleEndian.AppendUint64(data, r.number)
		for _, a := range r.args {
			data = binary.LittleEndian.AppendUint64(data, a)
		}
		data = binary.LittleEndian.AppendUint64(data, r.kind)
	}
	return data
}

// rowFailure turns the program's report into an error. An empty label stands for the command itself.
func rowFailure(payload []byte, labels []string, command string) error {
	if len(payload) != 16 {
		return errors.New("a report that cannot be read")
	}
	errno := unix.Errno(-int64(binary.LittleEndian.Uint64(payload)))
	n := (binary.LittleEndian.Uint64(payload[8:]) - dataAddress - rowsAt) / rowSize
	if n >= uint64(len(labels)) {
		return fmt.Errorf("the last program failed: %w", errno)
	}
	if labels[n] == "" {
		return commandError(command, errno)
	}
	return fmt.Errorf("%s: %w", labels[n], errno)
}

// becomeProgram replaces this process by a program: execveat(fd, "", …, AT_EMPTY_PATH). It returns only when it fails.
func becomeProgram(f *os.File) error {
	argv := [2]*byte{&[]byte("mydocker\x00")[0]}
	var envv [1]*byte
	var empty byte
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, f.Fd(), uintptr(unsafe.Pointer(&empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("execute the last program: %w (vm.memfd_noexec must not be 2)", errno)
}
