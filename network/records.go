package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/mydocker/mydocker/state"
)

// Where the records are. A network is found by name through LIB/networks/names/<name>, whose content is the id.
func (m *Manager) networksDir() string { return filepath.Join(m.root.Lib, "networks") }
func (m *Manager) networkPath(id string) string {
	return filepath.Join(m.networksDir(), id+".json")
}
func (m *Manager) networkName(name string) string {
	return filepath.Join(m.networksDir(), "names", name)
}

// livePath is a network as it was put into the kernel: RUN/networks/<id>.json is there as long as any of it may be. It is
// what `gc` removes by when the network's own record is gone.
func (m *Manager) livePath(id string) string {
	return filepath.Join(m.root.Run, "networks", id+".json")
}
func (m *Manager) endpointsDir(networkID string) string {
	return filepath.Join(m.root.Run, "endpoints", networkID)
}
func (m *Manager) endpointPath(networkID, containerID string) string {
	return filepath.Join(m.endpointsDir(networkID), containerID+".json")
}

// releasedPath is where an endpoint's record is moved when its name, address and ports are given back, until nothing of it
// is left in the kernel.
func (m *Manager) releasedPath(e *Endpoint) string {
	return filepath.Join(m.root.Run, "released", e.ID+".json")
}

// loadNetwork reads a record by id.
func (m *Manager) loadNetwork(id string) (*Network, error) {
	var n Network
	if err := state.ReadJSON(m.networkPath(id), &n); err != nil {
		return nil, err
	}
	return &n, nil
}

// recordedNetworks are all networks with a record in dir.
func recordedNetworks(dir string) ([]*Network, error) {
	names, err := readDirNames(dir)
	if err != nil {
		return nil, err
	}
	var all []*Network
	var errs []error
	for _, name := range names {
		if !isRecord(name) {
			continue
		}
		n := new(Network)
		switch err := state.ReadJSON(filepath.Join(dir, name), n); {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
		case err != nil:
			errs = append(errs, err)
		default:
			all = append(all, n)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, errors.Join(errs...)
}

// isRecord tells a record from the temporary file that it was before.
func isRecord(name string) bool {
	return strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, ".")
}

// readDirNames is the names in a directory, sorted; those of a missing one are none.
func readDirNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	sort.Strings(names)
	return names, err
}

// Endpoints are the containers on a network, sorted by container name.
func (m *Manager) Endpoints(networkID string) ([]*Endpoint, error) {
	eps, err := readEndpoints(m.endpointsDir(networkID))
	sort.SliceStable(eps, func(i, j int) bool { return eps[i].ContainerName < eps[j].ContainerName })
	return eps, err
}

func readEndpoints(dir string) ([]*Endpoint, error) {
	names, err := readDirNames(dir)
	if err != nil {
		return nil, err
	}
	var eps []*Endpoint
	var errs []error
	for _, name := range names {
		if !isRecord(name) {
			continue
		}
		e := new(Endpoint)
		switch err := state.ReadJSON(filepath.Join(dir, name), e); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		default:
			eps = append(eps, e)
		}
	}
	return eps, errors.Join(errs...)
}

// ContainerEndpoints are a container's places on its networks, in the order of its interfaces.
func (m *Manager) ContainerEndpoints(containerID string) ([]*Endpoint, error) {
	nets, err := readDirNames(filepath.Join(m.root.Run, "endpoints"))
	if err != nil {
		return nil, err
	}
	var eps []*Endpoint
	for _, id := range nets {
		e := new(Endpoint)
		err := state.ReadJSON(m.endpointPath(id, containerID), e)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		eps = append(eps, e)
	}
	sort.Slice(eps, func(i, j int) bool { return interfaceLess(eps[i].Interface, eps[j].Interface) })
	return eps, nil
}

// interfaceLess puts eth2 before eth10.
func interfaceLess(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

// releasedEndpoints are those whose claims are given back, but whose kernel objects may still be there.
func (m *Manager) releasedEndpoints() ([]*Endpoint, error) {
	eps, err := readEndpoints(filepath.Join(m.root.Run, "released"))
	for _, e := range eps {
		e.Released = true
	}
	return eps, err
}

// saveEndpoint writes an endpoint's record.
func (m *Manager) saveEndpoint(e *Endpoint) error {
	return state.ReplaceJSON(m.endpointPath(e.NetworkID, e.ContainerID), e, state.Volatile)
}

// renameEndpoints lets a container's endpoints know the new name of its sandbox.
func (m *Manager) renameEndpoints(containerID, sandbox string) error {
	eps, err := m.ContainerEndpoints(containerID)
	for _, e := range eps {
		e.Sandbox, e.ContainerName = sandbox, sandbox
		err = errors.Join(err, m.saveEndpoint(e))
	}
	return err
}

// Network finds a network by name, id or unique prefix of an id. The default network comes into being here.
func (m *Manager) Network(ref string) (*Network, error) {
	switch ref {
	case "":
		return nil, fmt.Errorf("no network is named")
	case DefaultName:
		return m.defaultNetwork()
	case HostName, NoneName:
		return builtIn(ref), nil
	}
	if !strings.Contains(ref, "/") {
		id, err := state.ReadFile(m.networkName(ref))
		if err == nil {
			n, err := m.loadNetwork(string(id))
			if !errors.Is(err, fs.ErrNotExist) {
				return n, err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return m.networkByID(ref)
}

func (m *Manager) networkByID(prefix string) (*Network, error) {
	all, err := m.Networks()
	if err != nil {
		return nil, err
	}
	var found *Network
	for _, n := range all {
		if !strings.HasPrefix(n.ID, prefix) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("more than one network has an id that starts with %s: %s and %s", prefix, found.Name, n.Name)
		}
		found = n
	}
	if found == nil {
		return nil, absent("network %s not found: see `mydocker network ls`, or make it with `mydocker network create %s`", prefix, prefix)
	}
	if found.ID == builtInID(DefaultName) {
		return m.defaultNetwork()
	}
	return found, nil
}

// Networks are all networks, sorted by name, with those that are always there.
func (m *Manager) Networks() ([]*Network, error) {
	all, err := recordedNetworks(m.networksDir())
	all = append(all, builtIn(HostName), builtIn(NoneName))
	present := false
	for _, n := range all {
		present = present || n.Name == DefaultName
	}
	if !present {
		all = append(all, builtIn(DefaultName))
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, err
}

// builtIn is a network that is always there, as far as it is known without a record.
func builtIn(name string) *Network {
	driver := map[string]string{DefaultName: DriverBridge, HostName: DriverHost, NoneName: DriverNull}[name]
	return &Network{
		ID: builtInID(name), Name: name, Driver: driver, Scope: "local",
		Labels: map[string]string{}, Options: map[string]string{},
	}
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// short is an id as it is shown.
func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
