package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// GC removes what nobody owns: endpoints and sandboxes of containers that are not alive, released endpoints that somebody did
// not get to dismantle, rules, claims and marks in the bitmaps without a record. It says what it removed.
func (m *Manager) GC(ctx context.Context, alive func(containerID string) bool) (removed []string, err error) {
	ctx = context.WithoutCancel(ctx)
	g := &collector{m: m, ctx: ctx, alive: alive}
	for _, step := range []func() error{g.rules, g.guards, g.endpoints, g.released, g.sandboxes, g.networks, g.claims, g.bitmaps} {
		err = errors.Join(err, step())
	}
	return g.removed, err
}

type collector struct {
	m       *Manager
	ctx     context.Context
	alive   func(string) bool
	removed []string
}

func (g *collector) note(format string, args ...any) {
	g.removed = append(g.removed, fmt.Sprintf(format, args...))
}

// rules of endpoints without a record, in each backend that serves a network.
func (g *collector) rules() error {
	live, err := g.m.liveNetworks()
	errs := []error{err}
	for backend := range live {
		errs = append(errs, g.rulesOf(backend))
	}
	return errors.Join(errs...)
}

// rulesOf reads what the firewall has before it reads the records: a record is older than its rules.
func (g *collector) rulesOf(backend string) error {
	fw, err := g.m.firewall(backend)
	if errors.Is(err, errNoIptables) {
		return nil
	}
	if err != nil {
		return err
	}
	ids, err := fw.Published(g.ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	known := map[string]bool{}
	nets, err := readDirNames(filepath.Join(g.m.root.Run, "endpoints"))
	if err != nil {
		return err
	}
	for _, id := range nets {
		eps, err := g.m.Endpoints(id)
		if err != nil {
			return err
		}
		for _, e := range eps {
			known[short(e.ID)] = true
		}
	}
	released, err := g.m.releasedEndpoints()
	if err != nil {
		return err
	}
	for _, e := range released {
		known[short(e.ID)] = true
	}
	var gone []string
	for id := range ids {
		if !known[id] {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	ops, err := fw.Unpublish(g.ctx, gone...)
	if err != nil {
		return err
	}
	x := g.m.executor()
	defer x.close()
	g.note("rules of endpoints %s", strings.Join(gone, ", "))
	return g.m.run(g.ctx, x, ops...)
}

func (g *collector) endpoints() error {
	nets, err := readDirNames(filepath.Join(g.m.root.Run, "endpoints"))
	errs := []error{err}
	for _, id := range nets {
		eps, err := g.m.Endpoints(id)
		errs = append(errs, err)
		for _, e := range eps {
			if !g.alive(e.ContainerID) {
				g.note("endpoint of container %s on network %s", e.ContainerName, e.NetworkName)
				errs = append(errs, g.m.releaseEndpoint(g.ctx, e))
			}
		}
	}
	return errors.Join(errs...)
}

func (g *collector) released() error {
	eps, err := g.m.releasedEndpoints()
	errs := []error{err}
	if len(eps) == 0 {
		return err
	}
	x := g.m.executor()
	defer x.close()
	for _, e := range eps {
		g.note("link %s of container %s", e.HostLink, e.ContainerName)
		errs = append(errs, g.m.dismantle(g.ctx, x, e))
	}
	return errors.Join(errs...)
}

func (g *collector) sandboxes() error {
	ids, err := readDirNames(filepath.Join(g.m.root.Run, "sandboxes"))
	errs := []error{err}
	for _, id := range ids {
		if strings.HasPrefix(id, ".") || g.alive(id) {
			continue
		}
		sb, err := g.m.Sandbox(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			g.note("network namespace %s", sb.Name)
			err = g.m.unpin(id)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// networks that are in the kernel and have no record, and names that lead to none.
func (g *collector) networks() error {
	lock, err := g.m.lockNetworks()
	if err != nil {
		return err
	}
	defer lock.Release()
	errs := []error{g.m.sweepNetworks(g.ctx), g.halfNetworks()}
	names, err := readDirNames(filepath.Join(g.m.networksDir(), "names"))
	errs = append(errs, err)
	for _, name := range names {
		path := g.m.networkName(name)
		id, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, ignoreAbsent(err))
			continue
		}
		if _, err := os.Stat(g.m.networkPath(string(id))); errors.Is(err, fs.ErrNotExist) {
			g.note("name %s of a network that was not made", name)
			errs = append(errs, ignoreAbsent(os.Remove(path)))
		}
	}
	return errors.Join(errs...)
}

// halfNetworks are networks that somebody was killed while putting into the kernel: the next container on one would finish it, but until
// then there is a bridge that is down. Nobody puts one there meanwhile.
func (g *collector) halfNetworks() error {
	live, err := recordedNetworks(filepath.Join(g.m.root.Run, "networks"))
	errs := []error{err}
	for _, n := range live {
		if _, err := os.Lstat(g.m.readyPath(n.ID)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if eps, err := g.m.Endpoints(n.ID); err != nil || len(eps) > 0 {
			errs = append(errs, err)
			continue
		}
		g.note("the half of network %s that was in the kernel", n.Name)
		errs = append(errs, g.m.unrealise(g.ctx, n))
	}
	return errors.Join(errs...)
}

// claims of ports whose endpoint has no record. Under the ports' lock no claim is without a record that will get one.
func (g *collector) claims() error {
	lock, err := g.m.lockPorts()
	if err != nil {
		return err
	}
	defer lock.Release()
	var errs []error
	for _, proto := range []string{"tcp", "udp", "sctp"} {
		ports, err := readDirNames(filepath.Join(g.m.root.Run, "ports", proto))
		errs = append(errs, err)
		for _, port := range ports {
			number, err := strconv.ParseUint(port, 10, 16)
			if err != nil { // a temporary file that a kill left
				errs = append(errs, ignoreAbsent(os.Remove(filepath.Join(g.m.root.Run, "ports", proto, port))))
				continue
			}
			errs = append(errs, g.claimsOf(proto, uint16(number)))
		}
	}
	return errors.Join(errs...)
}

func (g *collector) claimsOf(proto string, port uint16) error {
	path := g.m.claimsPath(proto, port)
	claims, err := readClaims(path)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range claims {
		if !g.m.claimGood(c) {
			g.note("claim of port %d/%s by %s", port, proto, c.who)
			errs = append(errs, g.m.unclaimPort(&Endpoint{ID: c.endpoint}, proto, port, c.ip))
		}
	}
	return errors.Join(errs...)
}

// bitmaps of networks that do not exist, and marks that no record stands for.
func (g *collector) bitmaps() error {
	files, err := readDirNames(filepath.Join(g.m.root.Run, "ipam"))
	errs := []error{err}
	for _, file := range files {
		id, ending, _ := strings.Cut(file, ".")
		n, err := g.m.loadNetwork(id)
		if errors.Is(err, fs.ErrNotExist) {
			g.note("address bitmap of network %s", short(id))
			errs = append(errs, ignoreAbsent(os.Remove(filepath.Join(g.m.root.Run, "ipam", file))))
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, g.bitmap(n, file, ending == "bitmap6"))
	}
	return errors.Join(errs...)
}

func (g *collector) bitmap(n *Network, file string, v6 bool) error {
	subnet := n.Subnet
	if v6 {
		subnet = n.Subnet6
	}
	if !subnet.IsValid() { // the network does not have this family
		g.note("address bitmap of network %s", short(n.ID))
		return ignoreAbsent(os.Remove(filepath.Join(g.m.root.Run, "ipam", file)))
	}
	list := func() ([]netip.Addr, error) { return g.m.usedAddresses(n, v6) }
	b, err := openBitmap(g.m.bitmapPath(n.ID, subnet), subnet, list)
	if err != nil {
		return err
	}
	defer b.close()
	used, err := list()
	if err != nil {
		return err
	}
	same, err := b.sameAs(used)
	if err != nil || same {
		return err
	}
	g.note("addresses of network %s that nobody had", n.Name)
	cursor := b.cursor
	if err := b.rebuild(used); err != nil {
		return err
	}
	return b.moveCursor(cursor)
}
