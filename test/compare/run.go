package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// contestant is one of the two programs, and what it did at each step.
type contestant struct {
	name    string
	program []string
	results []result
}

func (c *contestant) do(all []step) {
	for _, s := range all {
		c.results = append(c.results, c.one(s))
	}
}

func (c *contestant) one(s step) result {
	argv := append(append([]string{}, c.program...), s.args...)
	if s.shell != "" {
		argv = []string{"bash", "-c", strings.ReplaceAll(s.shell, "DOCKER", strings.Join(c.program, " "))}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	var out, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(s.in), &out, &stderr
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return result{err: err.Error(), code: -1}
	}
	return result{out.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// startDocker starts a daemon of Docker's own and gives the client's command line.
func startDocker(scratch string) (program []string, stop func() error, err error) {
	stop = func() error { return nil }
	const socket = "unix:///run/compare-docker.sock"
	logFile, err := os.Create(filepath.Join(scratch, "dockerd.log"))
	if err != nil {
		return nil, stop, err
	}
	defer logFile.Close()
	daemon := exec.Command("dockerd", "-H", socket, "--data-root", filepath.Join(scratch, "docker"), "--exec-root", "/run/compare-docker",
		"--pidfile", "/run/compare-docker.pid", "--exec-opt", "native.cgroupdriver=cgroupfs", "--bip", "172.29.0.1/16")
	daemon.Stdout, daemon.Stderr = logFile, logFile
	if err := daemon.Start(); err != nil {
		return nil, stop, fmt.Errorf("start dockerd (test/bench/install-peers.sh installs it): %w", err)
	}
	stop = func() error {
		if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		daemon.Wait() // how it ends is not our subject
		return nil
	}
	program = []string{"docker", "-H", socket}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if err = exec.Command(program[0], append(program[1:], "version")...).Run(); err == nil {
			return program, stop, nil
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(logFile.Name())
			return nil, stop, fmt.Errorf("the daemon does not answer: %s", text)
		}
	}
}

// sameImage gives both the same image: busybox.
func sameImage(mydocker string, docker []string, scratch string) error {
	archive := filepath.Join(scratch, "busybox.tar")
	for _, argv := range [][]string{
		{mydocker, "image", "bootstrap"}, {mydocker, "save", "-o", archive, "busybox"}, append(docker[:len(docker):len(docker)], "load", "-i", archive),
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", strings.Join(argv, " "), err), errors.New(string(out)))
		}
	}
	return nil
}
