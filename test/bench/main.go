// Command bench measures mydocker against crun, runc, podman and Docker, the same work done by each in turn, so that
// a noisy machine is noisy for all. It is run by `make bench` on a host made of namespaces (../in-namespace.sh).
//
// A process is started by posix_spawn (what os.StartProcess does on Linux: clone with CLONE_VFORK) and waited for;
// no shell stands between. Medians are compared, never single runs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type options struct {
	mydocker string
	rounds   int           // measured runs of each contestant
	pause    time.Duration // between two runs, so that one's clean-up is not the next one's load
	only     string
	peers    string
	report   string
	many     int
	images   string
}

func main() {
	if probe, err := netProbe(os.Args); probe {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.mydocker, "mydocker", "./mydocker", "the binary to measure")
	flag.IntVar(&o.rounds, "n", 31, "runs of each contestant, interleaved")
	flag.DurationVar(&o.pause, "pause", 60*time.Millisecond, "time between two runs")
	flag.StringVar(&o.only, "only", "", "only the works whose name contains this")
	flag.StringVar(&o.peers, "peers", "crun,runc,podman,docker", "whom to compare with; those that are not installed are left out")
	flag.IntVar(&o.many, "many", 200, "containers that exist already in the last work")
	flag.StringVar(&o.images, "images", "bin/debian/big", "the images to pull and load, an OCI layout: ../debian-images.sh makes it")
	flag.StringVar(&o.report, "report", "", "also write the table into this file (Markdown)")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if os.Getenv("FAKE_HOST") == "" {
		return errors.New("this wants a host of its own: ../in-namespace.sh bench (or make bench)")
	}
	if o.mydocker, err = filepath.Abs(o.mydocker); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(os.Getenv("FAKE_HOST_SCRATCH"), "bench")
	if err != nil {
		return err
	}
	contestants, stop, err := contestants(o, scratch)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	t := table{rounds: o.rounds}
	for _, w := range works(o) {
		if !strings.Contains(w.name, o.only) {
			continue
		}
		fmt.Printf("\n%s\n", w.name)
		row, err := w.measure(o, contestants)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		row.print(os.Stdout)
		t.rows = append(t.rows, row)
	}
	if o.report != "" {
		return os.WriteFile(o.report, []byte(t.markdown()), 0o644)
	}
	return nil
}
