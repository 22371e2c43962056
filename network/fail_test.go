package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/mydocker/mydocker/plan"
)

var errInjected = errors.New("injected failure")

// breaker fails the nth operation, before it is done or after, once. kill makes it look as if the process had died.
type breaker struct {
	n, seen int
	after   bool
	kill    bool
	what    string
}

type killed struct{}

func (b *breaker) hit(op plan.Op) error {
	b.what = op.Command()
	if b.kill {
		panic(killed{})
	}
	return errInjected
}

func (b *breaker) Before(op plan.Op) error {
	b.seen++
	if b.seen == b.n && !b.after {
		return b.hit(op)
	}
	return nil
}

func (b *breaker) After(op plan.Op, err error) error {
	if b.seen == b.n && b.after {
		b.n = -1
		return errors.Join(err, b.hit(op))
	}
	return err
}

// Every operation of making a network and joining it fails once, before and after its effect. Nothing is left.
func TestEveryOperationFails(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			b := &breaker{n: n, after: after}
			ended := false
			t.Run(fmt.Sprintf("after=%v/%d", after, n), func(t *testing.T) {
				m := newManager(t, func(o *Options) { o.Watch = b })
				before := snapshot(t)
				var err error
				if _, err = m.Create(context.Background(), CreateOptions{Name: "br0"}); err == nil {
					withNetwork := snapshot(t)
					var c box
					c, err = tryStart(m, "web", "br0", "8080:80", "127.0.0.1:9090:90/udp")
					if err == nil {
						t.Cleanup(c.closeHeld)
					} else {
						m.watch = nil
						if err := m.Release(context.Background(), containerID("web")); err != nil {
							t.Error(err)
						}
						if left := eventually(t, withNetwork); left != withNetwork {
							t.Errorf("failure of %q left:\n%s", b.what, lineDiff(withNetwork, left))
						}
						if eps, _ := m.Endpoints(mustNetwork(t, m, "br0").ID); len(eps) > 0 {
							t.Errorf("failure of %q left %d endpoints", b.what, len(eps))
						}
						again, err := tryStart(m, "web", "br0", "8080:80", "127.0.0.1:9090:90/udp")
						if err != nil {
							t.Errorf("the next start: %v", err)
						} else {
							again.closeHeld()
						}
					}
				} else if left := eventually(t, before); left != before {
					t.Errorf("failure of %q left:\n%s", b.what, lineDiff(before, left))
				}
				if b.what == "" {
					ended = true
				} else if !errors.Is(err, errInjected) {
					t.Errorf("failure of %q was not told: %v", b.what, err)
				}
			})
			if ended {
				if n < 15 {
					t.Errorf("only %d operations were seen", n)
				}
				break
			}
		}
	}
}

// The process dies at every operation in turn; gc finds all that it left.
func TestKilledAtEveryOperation(t *testing.T) {
	for n := 1; ; n++ {
		b := &breaker{n: n, after: n%2 == 0, kill: true}
		ended := false
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			m := newManager(t, func(o *Options) { o.Watch = b })
			dies := func(fn func() error) (died bool) {
				defer func() {
					if r := recover(); r != nil {
						if _, ok := r.(killed); !ok {
							panic(r)
						}
						died = true
					}
				}()
				if err := fn(); err != nil {
					t.Fatal(err)
				}
				return false
			}
			var held []func()
			died := dies(func() error {
				_, err := m.Create(context.Background(), CreateOptions{Name: "br0"})
				return err
			})
			if !died {
				died = dies(func() error {
					c, err := tryStart(m, "web", "br0", "8080:80")
					if err == nil {
						held = append(held, c.closeHeld)
					}
					return err
				})
			}
			for _, c := range held {
				c()
			}
			if !died && !dies(func() error { return m.Release(context.Background(), containerID("web")) }) {
				ended = true
			}
			m.watch = nil
			runtime.GC() // closes the sockets, as the kernel does for a dead process
			if _, err := m.GC(context.Background(), func(string) bool { return false }); err != nil {
				t.Errorf("gc after death at %q: %v", b.what, err)
			}
			if out := run(t, "ip", "-o", "link"); strings.Contains(out, "veth") {
				t.Errorf("death at %q left a cable:\n%s", b.what, out)
			}
			if out := run(t, "iptables-save"); strings.Contains(out, "--dport") {
				t.Errorf("death at %q left a rule:\n%s", b.what, out)
			}
			if out := run(t, "ip", "netns", "list"); strings.Contains(out, "web") {
				t.Errorf("death at %q left a namespace", b.what)
			}
			c, err := tryStart(m, "web", "br0", "8080:80")
			if err != nil {
				t.Fatalf("after death at %q: %v", b.what, err)
			}
			c.closeHeld()
		})
		if ended {
			if n < 15 {
				t.Errorf("only %d operations were seen", n)
			}
			break
		}
	}
}

func mustNetwork(t testing.TB, m *Manager, name string) *Network {
	t.Helper()
	n, err := m.Network(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What kill -9 can leave in the books is healed: marks without an owner, claims without a record, a torn bitmap.
func TestBooksHeal(t *testing.T) {
	m := newManager(t)
	n := create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/29"})
	start(t, m, "a", "br0", "8080:80")
	for i := 3; i <= 6; i++ { // somebody died between the mark and the record
		b, err := m.openBooks(n)
		if err != nil {
			t.Fatal(err)
		}
		if free, err := b.v4.claim(netip.AddrFrom4([4]byte{172, 20, 0, byte(i)})); !free || err != nil {
			t.Fatal(free, err)
		}
		b.close()
	}
	if c := start(t, m, "b", "br0"); c.Address.Addr() != netip.MustParseAddr("172.20.0.3") {
		t.Errorf("got %s", c.Address)
	}
	if err := writeClaims(m.claimsPath("tcp", 9090), portClaim{network: n.ID, container: "x", endpoint: "y", who: "ghost"}.String()); err != nil {
		t.Fatal(err)
	}
	start(t, m, "c", "br0", "9090:90")
	path := m.bitmapPath(n.ID, n.Subnet)
	run(t, "truncate", "-s", "41", path)
	if c := start(t, m, "d", "br0"); c.Address.Addr() != netip.MustParseAddr("172.20.0.5") {
		t.Errorf("after a torn bitmap: %s", c.Address)
	}
	run(t, "rm", path)
	if c := start(t, m, "e", "br0"); c.Address.Addr() != netip.MustParseAddr("172.20.0.6") {
		t.Errorf("after a lost bitmap: %s", c.Address)
	}
	if _, err := tryStart(m, "f", "br0"); !errors.Is(err, errFull) {
		t.Errorf("a full network: %v", err)
	}
}
