package lab

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mydocker/mydocker/sandbox"
)

// A lab can be done on the machine itself, without a sandbox, where its file says `here: yes`: it needs no neighbour and no internet, and
// writes no files. What the machine was like is written down before the first step, and brought back by reset (here.sh).

//go:embed here.sh
var hereScript string

// here is the machine itself; its directory holds the picture of before, and the program under its usual name.
type here struct{ dir string }

// takePicture writes down what the machine is like. It comes before the first effect.
func (h here) takePicture() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(h.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(program, filepath.Join(bin, "mydocker")); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return h.script("picture", "write down what this machine is like")
}

// undo brings the machine back. What it cannot bring back is told, and the picture stays for another try.
func (h here) undo() error {
	if _, err := os.Stat(h.picture()); errors.Is(err, os.ErrNotExist) {
		return os.RemoveAll(h.dir)
	}
	if err := h.script("undo", "undo what the lab has done to this machine"); err != nil {
		return err
	}
	return os.RemoveAll(h.dir)
}

func (h here) picture() string { return filepath.Join(h.dir, "before") }

func (h here) script(verb, what string) error {
	out, err := os.CreateTemp("", "lab-output-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	code, err := h.exec(sandbox.Command{Args: []string{"bash", "-eu", "-c", hereScript + verb + ` "$0"`, h.picture()}, Env: os.Environ(), Dir: "/", Out: out, Err: out})
	if err != nil || code == 0 {
		return err
	}
	said, _ := os.ReadFile(out.Name())
	return fmt.Errorf("%s: status %d: %s", what, code, strings.TrimSpace(string(said)))
}

// exec runs a command on the machine itself, as Sandbox.Exec does in a sandbox.
func (h here) exec(c sandbox.Command) (int, error) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Dir, c.In, c.Out, c.Err
	if c.In == nil {
		cmd.Stdin = nil
	}
	for _, kv := range c.Env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			kv = "PATH=" + filepath.Join(h.dir, "bin") + ":" + path + ":/usr/sbin:/sbin"
		}
		cmd.Env = append(cmd.Env, kv)
	}
	err := cmd.Run()
	var status *exec.ExitError
	if errors.As(err, &status) {
		return status.ExitCode(), nil
	}
	return 0, err
}
