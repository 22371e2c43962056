package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The image that is pulled and loaded: what ../debian-images.sh makes, five layers of Debian packages, 340 MB.
const bigImage = "127.0.0.1:5000/big:1"

// imageWorks are about getting images, not running them: in memory, where the programs are compared, and on a disk, whose
// writing is the same work for all.
func imageWorks() []work {
	pull := func(p *puller, s *imageSite) ([]string, error) { return p.pull(s) }
	load := func(p *puller, s *imageSite) ([]string, error) { return p.load(s) }
	measure := func(name string, memory bool, command func(*puller, *imageSite) ([]string, error)) work {
		return work{name, func(o options, _ []*contestant) (*row, error) { return measureImage(o, name, memory, command) }}
	}
	return []work{
		measure("pull of an image of 340 MB in 5 layers from a registry on the loopback, in memory", true, pull),
		measure("load of an image of 340 MB in 5 layers from its archive, in memory", true, load),
		measure("pull of an image of 340 MB in 5 layers from a registry on the loopback, on ext4", false, pull),
		measure("load of an image of 340 MB in 5 layers from its archive, on ext4", false, load),
		{"images, with 1000", measureImages},
	}
}

// measureImage has each contestant in turn do its work in an empty store of its own.
func measureImage(o options, name string, memory bool, command func(*puller, *imageSite) ([]string, error)) (r *row, err error) {
	site, stop, err := newImageSite(o, memory)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return nil, err
	}
	r = newRow(name)
	all := pullers(o, memory)
	usage := map[string]*imageUsage{}
	for i := range max(3, min(7, o.rounds/4)) + 1 {
		for _, p := range all {
			took, used, err := p.inEmptyStore(site, fmt.Sprintf("%d-%s", i, p.name), command)
			if err != nil {
				return nil, err
			}
			if usage[p.name] == nil {
				usage[p.name] = &imageUsage{}
			}
			if i > 0 { // the first round fills the page cache
				r.add(p.name, took)
				usage[p.name].add(used)
			}
		}
	}
	r.against = "docker"
	if !slices.Contains(r.names, r.against) {
		r.against = r.names[len(r.names)-1]
	}
	for _, name := range r.names {
		r.notes = append(r.notes, name+": "+usage[name].String())
	}
	return r, nil
}

// imageUsage is what the runs of one contestant took besides time.
type imageUsage struct {
	cpu    times
	memory int64 // of the largest process, in KiB
}

func (u *imageUsage) add(other imageUsage) {
	u.cpu = append(u.cpu, other.cpu...)
	u.memory = max(u.memory, other.memory)
}

func (u *imageUsage) String() string {
	return fmt.Sprintf("%s ms of processor time, its largest process takes %d MB", ms(u.cpu.quantile(0.5)), u.memory>>10)
}

// inEmptyStore is once with a new place for what is stored.
func (p *puller) inEmptyStore(site *imageSite, name string, command func(*puller, *imageSite) ([]string, error)) (took time.Duration, used imageUsage, err error) {
	done, err := site.empty(name)
	if err != nil {
		return 0, used, err
	}
	defer func() { err = errors.Join(err, done()) }()
	return p.once(site, command)
}

// once measures one command, with what it needs made before and taken away afterwards.
func (p *puller) once(site *imageSite, command func(*puller, *imageSite) ([]string, error)) (took time.Duration, used imageUsage, err error) {
	argv, err := command(p, site)
	if err != nil {
		return 0, used, err
	}
	daemon := func() imageUsage { return imageUsage{} }
	if p.start != nil {
		var stop func() error
		if daemon, stop, err = p.start(site); err != nil {
			return 0, used, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	syscall.Sync() // what others have written is not written in our time
	time.Sleep(200 * time.Millisecond)
	before := daemon()
	took, used, err = spawnUsage(argv)
	after := daemon()
	if len(before.cpu) > 0 && len(after.cpu) > 0 {
		used.cpu[0] += after.cpu[0] - before.cpu[0]
	}
	used.memory = max(used.memory, after.memory)
	return took, used, err
}

// spawnUsage is spawn that also tells what the command and all that it started and waited for have used.
func spawnUsage(argv []string) (time.Duration, imageUsage, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, imageUsage{}, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, imageUsage{}, err
	}
	defer null.Close()
	failed, err := os.CreateTemp("", "bench-stderr")
	if err != nil {
		return 0, imageUsage{}, err
	}
	defer os.Remove(failed.Name())
	defer failed.Close()
	began := time.Now()
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Files: []*os.File{null, null, failed}, Env: os.Environ()})
	if err != nil {
		return 0, imageUsage{}, err
	}
	state, err := p.Wait()
	took := time.Since(began)
	if err != nil {
		return 0, imageUsage{}, err
	}
	if !state.Success() {
		said, _ := os.ReadFile(failed.Name())
		return 0, imageUsage{}, fmt.Errorf("%s: %s\n%s", strings.Join(argv, " "), state, said)
	}
	used := imageUsage{cpu: times{state.UserTime() + state.SystemTime()}}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		used.memory = r.Maxrss
	}
	return took, used, nil
}

// measureImages lists a thousand images.
func measureImages(o options, _ []*contestant) (r *row, err error) {
	const n = 1000
	dir, err := os.MkdirTemp(os.Getenv("FAKE_HOST_SCRATCH"), "bench-thousand")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := syscall.Mount(dir, mydockerLib, "", syscall.MS_BIND, ""); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, syscall.Unmount(mydockerLib, 0)) }()
	archive := filepath.Join(dir, "thousand.tar")
	if err := writeThousand(archive, n); err != nil {
		return nil, err
	}
	if _, err := output(o.mydocker, "load", "-q", "-i", archive); err != nil {
		return nil, err
	}
	r = newRow(fmt.Sprintf("images, when there are %d", n))
	for i := range o.rounds + 1 {
		took, err := spawn([]string{o.mydocker, "images"})
		if err != nil {
			return nil, err
		}
		if i > 0 {
			r.add("mydocker", took)
		}
		time.Sleep(o.pause)
	}
	return r, nil
}

// writeThousand writes a docker-archive of n images that share one layer.
func writeThousand(name string, n int) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var layer strings.Builder
	t := tar.NewWriter(&layer)
	if err := errors.Join(t.WriteHeader(&tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}), t.Close()); err != nil {
		return err
	}
	type image struct {
		Config           string
		RepoTags, Layers []string
	}
	var images []image
	archive := tar.NewWriter(f)
	add := func(name, content string) error {
		err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		if err == nil {
			_, err = io.WriteString(archive, content)
		}
		return err
	}
	if err := add("layer.tar", layer.String()); err != nil {
		return err
	}
	for i := range n {
		config := fmt.Sprintf(`{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z","config":{"Cmd":["sh"],"Env":["N=%d"]},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`,
			i, sha256.Sum256([]byte(layer.String())))
		images = append(images, image{Config: fmt.Sprintf("%d.json", i), RepoTags: []string{fmt.Sprintf("many/image%d:latest", i)}, Layers: []string{"layer.tar"}})
		if err := add(images[i].Config, config); err != nil {
			return err
		}
	}
	manifest, err := json.Marshal(images)
	if err != nil {
		return err
	}
	return errors.Join(add("manifest.json", string(manifest)), archive.Close())
}
