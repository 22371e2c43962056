package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// imageSite is where images come from and go to.
type imageSite struct {
	layout  string // OCI layout with the image
	archive string // the same as docker-archive
	base    string // a file system for this work alone
	memory  bool   // it is a tmpfs
	dir     string // an empty directory for the next contestant, never used before
}

// newImageSite mounts a fresh file system, starts a registry and puts the image there.
func newImageSite(o options, memory bool) (*imageSite, func() error, error) {
	var stops []func() error
	stop := func() error {
		var errs []error
		for _, f := range slices.Backward(stops) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	layout, err := filepath.Abs(o.images)
	if err == nil {
		_, err = os.Stat(filepath.Join(layout, "index.json"))
	}
	if err != nil {
		return nil, stop, fmt.Errorf("there is no image to measure with: %w; make it with test/debian-images.sh %s big", err, filepath.Dir(o.images))
	}
	scratch, err := os.MkdirTemp(os.Getenv("FAKE_HOST_SCRATCH"), "bench-images")
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, func() error { return os.RemoveAll(scratch) })
	disk := filepath.Join(scratch, "disk")
	if err := mountSite(disk, memory); err != nil {
		return nil, stop, fmt.Errorf("make a fresh file system: %w", err)
	}
	stops = append(stops, func() error { return syscall.Unmount(disk, syscall.MNT_DETACH) })
	site := &imageSite{layout: layout, archive: filepath.Join(disk, "big.tar"), base: disk, memory: memory}
	stopRegistry, err := startRegistry(disk)
	if err != nil {
		return nil, stop, err
	}
	stops = append(stops, stopRegistry)
	if _, err := output("skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "oci:"+layout+":big", "docker://"+bigImage); err != nil {
		return nil, stop, err
	}
	_, err = output("skopeo", "--insecure-policy", "copy", "-q", "oci:"+layout+":big", "docker-archive:"+site.archive+":"+bigImage)
	return site, stop, err
}

// mountSite mounts a tmpfs or an ext4. That one is large because nothing is removed from it (see empty), and it is not filled
// up while others measure: noinit_itable leaves the tables that mkfs has not written to their first use.
func mountSite(dir string, memory bool) error {
	script := `truncate -s 60G "$1.img"; mkfs.ext4 -q -E nodiscard "$1.img"; mkdir "$1"; mount -o loop,noinit_itable "$1.img" "$1"`
	if memory {
		script = `mkdir "$1"; mount -t tmpfs -o size=4G tmpfs "$1"`
	}
	_, err := output("bash", "-ec", script, "disk", dir)
	return err
}

// empty makes an empty directory for the next store. In memory each has a file system of its own, which is gone afterwards.
// On the disk nothing is removed: ext4 makes new files slowly when others were removed in the last minutes (the kernel looks
// for inodes that were not), and nobody shall pay for another's removals.
func (s *imageSite) empty(name string) (done func() error, err error) {
	s.dir = filepath.Join(s.base, name)
	if err := os.Mkdir(s.dir, 0o755); err != nil || !s.memory {
		return func() error { return nil }, err
	}
	if err := syscall.Mount("tmpfs", s.dir, "tmpfs", 0, "size=4G"); err != nil {
		return nil, err
	}
	return func() error { return syscall.Unmount(s.dir, syscall.MNT_DETACH) }, nil
}

func startRegistry(dir string) (stop func() error, err error) {
	config := filepath.Join(dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: \"127.0.0.1:5000\"}\n", dir)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("docker-registry", "serve", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() error {
		err := cmd.Process.Kill()
		cmd.Wait() // it was killed: that is no news
		return err
	}
	for range 100 {
		if c, err := net.Dial("tcp", "127.0.0.1:5000"); err == nil {
			return stop, c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.Join(errors.New("the registry does not answer"), stop())
}
