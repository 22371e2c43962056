package doctor

import (
	"context"
	"fmt"
	"testing"

	"github.com/mydocker/mydocker/network"
	"github.com/mydocker/mydocker/world"
)

// A host with a hundred containers, each with a published port.
func BenchmarkHundredContainers(b *testing.B) {
	s := newScene(b, network.FirewallIPTables)
	s.network(network.CreateOptions{Name: "br0", Subnet: "172.30.0.0/16"})
	for i := range 100 {
		s.container(fmt.Sprintf("c%d", i), "br0", fmt.Sprintf("%d:80", 9000+i))
	}
	ctx := context.Background()
	for b.Loop() {
		w, err := world.Read(ctx, world.Options{Root: s.root})
		if err != nil {
			b.Fatal(err)
		}
		r, err := Examine(ctx, w)
		if err != nil || len(r.Findings) > 0 {
			b.Fatal(err, r.Findings)
		}
	}
}

// What topology needs of it.
func BenchmarkRead(b *testing.B) {
	s := newScene(b, network.FirewallIPTables)
	s.network(network.CreateOptions{Name: "br0", Subnet: "172.30.0.0/16"})
	for i := range 50 {
		s.container(fmt.Sprintf("c%d", i), "br0")
	}
	for b.Loop() {
		if _, err := world.Read(context.Background(), world.Options{Root: s.root}); err != nil {
			b.Fatal(err)
		}
	}
}
