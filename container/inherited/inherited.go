// Package inherited remembers the limit of open files with which this process was started.
//
// Go raises the soft limit to the hard one when it starts (package syscall), and gives the old one back to the programs
// that it executes by its own functions. A container's command is executed by ours, so we must know the old one, and nobody
// tells: once package syscall is initialised, the number is gone.
//
// Go initialises packages in the order of their import paths, as far as what they import is ready (Go specification,
// "Program initialization"). This package imports nothing, and its path comes before "syscall": it is early enough. A
// test says so.
package inherited

// limit is read once, before package syscall changes it.
var limit = read()

// OpenFiles is the limit of open files, soft and hard, as it was when the process started.
func OpenFiles() (soft, hard uint64) { return limit[0], limit[1] }

func read() (l [2]uint64) {
	const openFiles = 7 // RLIMIT_NOFILE
	prlimit(openFiles, &l)
	return l
}

// prlimit is prlimit64(2) of this process, without package syscall.
func prlimit(resource uintptr, old *[2]uint64)
