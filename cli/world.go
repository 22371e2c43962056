package cli

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/mydocker/mydocker/world"
)

// readWorld is the kernel's state with what the engine knows of the containers: what doctor, trace, topology and why look at.
func (s *session) readWorld(ctx context.Context) (*world.World, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root may look into the namespaces of others; try it with sudo")
	}
	e, err := s.engine()
	if err != nil {
		return nil, err
	}
	all, err := e.Containers(ctx)
	if err != nil {
		return nil, err
	}
	o := world.Options{Root: s.root}
	for _, c := range all {
		known := &world.Container{ID: c.ID, Name: strings.TrimPrefix(c.Names[0], "/"), State: c.State, Pid: c.Pid}
		if d, err := e.Find(c.ID); err == nil { // it may have gone meanwhile
			known.Args, known.Env, known.Wanted = d.Command(), d.Options.Env, d.Options.Ports
		}
		o.Containers = append(o.Containers, known)
	}
	return world.Read(ctx, o)
}
