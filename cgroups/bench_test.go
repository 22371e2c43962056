package cgroups

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// BenchmarkGroup is what a container's group costs: made, joined, limited, removed.
func BenchmarkGroup(b *testing.B) {

	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	limit := int64(64 << 20)
	resources := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
	run := func(name string, each func(Manager) error, after func(Manager) error) {
		b.Run(name, func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				m, err := Open("/mydocker-bench-"+strconv.Itoa(os.Getpid())+"/"+strconv.Itoa(n), nil)
				if err == nil && name != "create" {
					err = m.Create()
				}
				b.StartTimer()
				if err == nil {
					err = each(m)
				}
				b.StopTimer()
				if err == nil {
					err = after(m)
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
	home, err := Open("/mydocker-bench-"+strconv.Itoa(os.Getpid()), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer home.Delete()
	remove := func(m Manager) error { return m.Delete() }
	run("create", func(m Manager) error { return m.Create() }, remove)
	run("add", func(m Manager) error { return m.Add(cmd.Process.Pid) }, func(m Manager) error {
		if err := home.Add(cmd.Process.Pid); err != nil {
			return err
		}
		return m.Delete()
	})
	run("set", func(m Manager) error { return m.Set(resources) }, remove)
	run("delete", remove, func(Manager) error { return nil })
}

// BenchmarkVisit is what it costs a thread to join a group, as the birth of a process in it needs in version 1.
func BenchmarkVisit(b *testing.B) {
	m, err := Open("/mydocker-bench-visit-"+strconv.Itoa(os.Getpid()), nil)
	if err == nil {
		err = m.Create()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer m.Delete()
	for b.Loop() {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // the thread ends with the goroutine, and leaves the group so
			if unix.Gettid() == unix.Getpid() {
				done <- nil
				select {}
			}
			done <- m.AddSelf()
		}()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}
