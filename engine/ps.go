package engine

import (
	"context"
	"errors"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mydocker/mydocker/network"
)

// Summary is one line of `ps`. The keys are those of Docker's list of containers.
type Summary struct {
	ID      string `json:"Id"`
	Names   []string
	Image   string
	ImageID string
	Command string
	Created time.Time
	State   string // created, running, paused, restarting, exited
	Status  string // "Up 3 minutes", "Exited (0) 2 hours ago"
	Ports   []PortSummary
	// PortMappings are the published ports as ranges, as they were asked for.
	PortMappings []network.PortMapping `json:"-"`
	Labels       map[string]string
	Mounts       []string
	Networks     []string
	ExitCode     int    `json:"-"`
	Pid          int    `json:"-"`
	Dir          string `json:"-"`
}

// PortSummary is one port of `ps`; PublicPort 0 means exposed and not published.
type PortSummary struct {
	IP          string `json:",omitempty"`
	PrivatePort uint16
	PublicPort  uint16 `json:",omitempty"`
	Type        string
}

// Containers lists all containers, the newest first.
func (e *Engine) Containers(ctx context.Context) ([]*Summary, error) {
	all, err := e.definitions()
	if err != nil {
		return nil, err
	}
	return inParallel(all, e.summarize)
}

func (e *Engine) summarize(d *Definition) (*Summary, error) {
	st, err := e.status(d)
	if err != nil {
		return nil, err
	}
	s := &Summary{
		ID: d.ID, Names: []string{d.Name}, Image: d.Options.Image, ImageID: string(d.ImageID), Command: commandLine(d.Command()),
		Created: d.Created, State: st.name(), Status: st.sentence(), Labels: d.Options.Labels, ExitCode: st.Life.ExitCode, Pid: st.Pid,
		Dir: e.Root.Container(d.ID),
	}
	for _, m := range d.Options.Mounts {
		if m.Type != "tmpfs" {
			s.Mounts = append(s.Mounts, m.Source)
		}
	}
	s.Networks = append(s.Networks, d.Options.networksShown()...)
	if st.Running {
		e.lookAfter(d)
		err = e.summarizePorts(d, s)
	}
	return s, err
}

// inParallel does the same to each of many, by as many threads as there are processors; the results are in the order of what
// was given. A thousand containers are a few thousand small files to read.
func inParallel[T, R any](list []T, do func(T) (R, error)) ([]R, error) {
	results, errs := make([]R, len(list)), make([]error, len(list))
	workers := min(runtime.GOMAXPROCS(0), 1+len(list)/32)
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(list); i = int(next.Add(1)) - 1 {
				results[i], errs[i] = do(list[i])
			}
		})
	}
	all.Wait()
	return results, errors.Join(errs...)
}

// commandLine is the COMMAND column, before it is shortened. The quotes are Docker's: they show where an argument with spaces
// begins and ends, and are no shell syntax.
func commandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if i > 0 && strings.Contains(a, " ") {
			a = "'" + a + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

func (e *Engine) summarizePorts(d *Definition, s *Summary) error {
	endpoints, err := e.networks.ContainerEndpoints(d.ID)
	if err != nil {
		return err
	}
	s.PortMappings = published(endpoints)
	known := map[string]bool{}
	for _, p := range s.PortMappings {
		for i := range max(p.Count, 1) {
			known[portKey(p.ContainerPort+i, p.Proto)] = true
			s.Ports = append(s.Ports, PortSummary{IP: hostIP(p), PrivatePort: p.ContainerPort + i, PublicPort: p.HostPort + i, Type: p.Proto})
		}
	}
	for _, x := range d.Options.Expose {
		port, proto, _ := strings.Cut(x, "/")
		first, last, isRange := strings.Cut(port, "-")
		if !isRange {
			last = first
		}
		from, errFrom := strconv.ParseUint(first, 10, 16)
		to, errTo := strconv.ParseUint(last, 10, 16)
		if errFrom != nil || errTo != nil {
			continue // the image's own words; `start` has refused what it could not use
		}
		for n := from; n <= to; n++ {
			if !known[portKey(uint16(n), proto)] {
				s.Ports = append(s.Ports, PortSummary{PrivatePort: uint16(n), Type: proto})
			}
		}
	}
	sort.SliceStable(s.Ports, func(i, j int) bool {
		a, b := s.Ports[i], s.Ports[j]
		if a.PrivatePort != b.PrivatePort {
			return a.PrivatePort < b.PrivatePort
		}
		return a.PublicPort < b.PublicPort
	})
	return nil
}

func portKey(port uint16, proto string) string { return strconv.Itoa(int(port)) + "/" + proto }

func hostIP(p network.PortMapping) string {
	if !p.HostIP.IsValid() {
		return "0.0.0.0"
	}
	return p.HostIP.String()
}
