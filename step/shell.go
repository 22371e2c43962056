package step

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// shell lets the person look round between two operations: one command, or with none an interactive shell, which needs a terminal.
// The operation that was asked about waits meanwhile, and so do the locks that the command holds.
func (s *Stepper) shell(command string) {
	program := os.Getenv("SHELL")
	if program == "" {
		program = "/bin/sh"
	}
	args := []string{}
	if command != "" {
		args = []string{"-c", command}
	} else if !isTerminal(s.in) {
		s.say("step.no-terminal")
		return
	} else {
		s.say("step.shell")
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = s.out, s.out
	if command == "" {
		cmd.Stdin = s.in
	}
	if err := cmd.Run(); err != nil {
		s.say("step.shell-failed", "error", err)
	}
}
