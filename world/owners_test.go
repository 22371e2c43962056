package world

import (
	"slices"
	"testing"

	"github.com/mydocker/mydocker/network"
)

// A namespace belongs to the container that it was made for, in whatever order the containers are listed; who has joined owns nothing.
func TestOwnersOfShared(t *testing.T) {
	for _, reversed := range []bool{false, true} {
		at := func(pids ...int) (all []Process) {
			for _, pid := range pids {
				all = append(all, Process{Pid: pid})
			}
			return all
		}
		host := &Namespace{Names: []string{"host"}, Processes: at(1, 40)}
		web := &Namespace{Names: []string{"web-box"}, Processes: at(10, 11)}
		quiet := &Namespace{Names: []string{"quiet"}, Processes: at(20, 21)}
		w := &World{Host: host, Namespaces: []*Namespace{host, web, quiet}, Containers: []*Container{
			{ID: "b", Name: "side", Pid: 11}, {ID: "a", Name: "web", Pid: 10, Endpoints: []*network.Endpoint{{Sandbox: "web-box"}}},
			{ID: "d", Name: "guest", Pid: 21}, {ID: "c", Name: "quiet", Pid: 20},
			{ID: "e", Name: "near", Pid: 40}, {ID: "f", Name: "dead"},
		}}
		if reversed {
			slices.Reverse(w.Containers)
		}
		w.nameOwners()
		for n, want := range map[*Namespace]string{host: "", web: "container web", quiet: "container quiet"} {
			if n.Owner.String() != want {
				t.Errorf("%s is owned by %q, not %q (reversed: %v)", n.Name(), n.Owner, want, reversed)
			}
		}
		for name, want := range map[string]*Namespace{"side": web, "web": web, "guest": quiet, "near": host, "dead": nil} {
			if c := w.Container(name); c.Namespace != want {
				t.Errorf("%s is in %v", name, c.Namespace)
			}
		}
	}
}
