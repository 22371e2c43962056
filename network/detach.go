package network

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// Detach takes a container off one network; the others stay. If that network was the container's way out, the next one that
// has a gateway becomes it.
func (m *Manager) Detach(ctx context.Context, containerID, ref string) error {
	return m.DetachBy(ctx, containerID, ref, func() error { return m.DismantleReleased(containerID, nil) })
}

// DetachBy is Detach, but somebody else takes the endpoint out of the kernel: dismantle is called when its claims are given
// back, and may return as soon as its link cannot be seen any more.
func (m *Manager) DetachBy(ctx context.Context, containerID, ref string, dismantle func() error) error {
	n, err := m.Network(ref)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	e := new(Endpoint)
	err = state.ReadJSON(m.endpointPath(n.ID, containerID), e)
	if errors.Is(err, fs.ErrNotExist) {
		return absent("container %s is not connected to network %s", short(containerID), n.Name)
	}
	if err != nil {
		return err
	}
	if err := m.releaseClaims(e); err != nil {
		return err
	}
	if err := dismantle(); err != nil {
		return err
	}
	if e.DefaultRoute || e.DefaultRoute6 {
		return m.moveDefaultRoutes(ctx, containerID, e)
	}
	return nil
}

// DismantleReleased takes what a container has left of networks out of the kernel. With later it returns as soon as the links
// cannot be seen any more: the kernel goes on for some 20 ms until nobody can be looking at them (RCU), which only a
// process that stays can leave to itself. What goes wrong then is told to later.
func (m *Manager) DismantleReleased(containerID string, later func(error)) error {
	released, err := m.releasedEndpoints()
	errs := []error{err}
	for _, e := range released {
		if e.ContainerID != containerID {
			continue
		}
		work := func() error {
			x := m.executor()
			defer x.close()
			return m.dismantle(context.Background(), x, e)
		}
		if later == nil || e.HostLink == "" || len(e.Ports) > 0 {
			errs = append(errs, work())
		} else {
			errs = append(errs, m.untilInvisible(e.HostLink, work, later))
		}
	}
	return errors.Join(errs...)
}

// untilInvisible does work, which removes a link, and returns when the link is gone or the work is done. It asks for the name
// that belongs to the link's number: that is the one question that the kernel answers without the lock that the removal
// holds (netdevice(7), SIOCGIFNAME).
func (m *Manager) untilInvisible(name string, work func() error, later func(error)) error {
	k := &kernel{root: m.root}
	defer k.close()
	l, _, err := k.link("", name)
	if err != nil {
		return work() // absent, most likely: the rest is quickly done
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return errors.Join(err, work())
	}
	defer unix.Close(s)
	done := make(chan error, 1)
	go func() { done <- work() }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(100 * time.Microsecond):
		}
		if gone(s, l.Attrs().Index) {
			go func() {
				if err := <-done; err != nil {
					later(err)
				}
			}()
			return nil
		}
	}
}

// gone says whether no link of the host has the number any more. s is any socket.
func gone(s, index int) bool {
	ask, err := unix.NewIfreq("")
	if err != nil {
		return false
	}
	ask.SetUint32(uint32(index))
	return unix.IoctlIfreq(s, unix.SIOCGIFNAME, ask) == unix.ENODEV
}

// moveDefaultRoutes gives each default route that an endpoint had to the first network that can have it.
func (m *Manager) moveDefaultRoutes(ctx context.Context, containerID string, gone *Endpoint) error {
	eps, err := m.ContainerEndpoints(containerID)
	if err != nil {
		return err
	}
	sb, err := m.Sandbox(containerID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(eps, func(a, b *Endpoint) int { return cmp.Compare(b.Extras.GwPriority, a.Extras.GwPriority) })
	x := m.executor()
	defer x.close()
	want4, want6 := gone.DefaultRoute, gone.DefaultRoute6
	for _, e := range eps {
		take4 := want4 && e.Address.IsValid() && (e.Gateway.IsValid() || e.Routed)
		take6 := want6 && e.Address6.IsValid() && (e.Gateway6.IsValid() || e.Routed)
		if !take4 && !take6 {
			continue
		}
		var ops []operation
		if take4 {
			want4, e.DefaultRoute = false, true
			ops = append(ops, routeFor(e, sb, e.Gateway, false)...)
		}
		if take6 {
			want6, e.DefaultRoute6 = false, true
			ops = append(ops, routeFor(e, sb, e.Gateway6, true)...)
		}
		if err := m.saveEndpoint(e); err != nil {
			return err
		}
		if err := m.run(ctx, x, ops...); err != nil {
			return err
		}
	}
	return nil
}
