package network

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"
)

// The network's share of `run -net br0 -p 8080:80`: namespace, endpoint, rules; then what is on the way of the caller's exit.
func BenchmarkAttach(b *testing.B) {
	for _, ports := range [][]string{nil, {"8080:80"}, {"8080:80", "8081:80", "8082:80", "8083:80", "8084:80", "8085:80", "8086:80", "8087:80", "8088:80", "8089:80"}} {
		b.Run(fmt.Sprintf("ports=%d", len(ports)), func(b *testing.B) {
			m := newManager(b)
			b.ReportAllocs()
			create(b, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
			ctx := context.Background()
			for b.Loop() {
				c, err := tryStart(m, "web", "br0", ports...)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				c.closeHeld()
				if err := m.Release(ctx, c.id); err != nil {
					b.Fatal(err)
				}
				settle()
				b.StartTimer()
			}
		})
	}
}

// settle lets the kernel take the dead namespace apart, which holds the lock that every change of a link needs.
func settle() { time.Sleep(80 * time.Millisecond) }

func BenchmarkCreateSandbox(b *testing.B) {
	m := newManager(b)
	for b.Loop() {
		if _, err := m.CreateSandbox(context.Background(), "web", containerID("web")); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := m.DeleteSandbox("web"); err != nil {
			b.Fatal(err)
		}
		settle()
		b.StartTimer()
	}
}

func BenchmarkReleaseClaims(b *testing.B) {
	m := newManager(b)
	create(b, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	for b.Loop() {
		b.StopTimer()
		c, err := tryStart(m, "web", "br0", "8080:80")
		if err != nil {
			b.Fatal(err)
		}
		c.closeHeld()
		b.StartTimer()
		if err := m.ReleaseClaims(c.id); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := m.Release(context.Background(), c.id); err != nil {
			b.Fatal(err)
		}
		settle()
		b.StartTimer()
	}
}

// Behind many: the 201st container with a port.
func BenchmarkAttachBehind200(b *testing.B) {
	m := newManager(b)
	create(b, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	for i := range 200 {
		c, err := tryStart(m, fmt.Sprintf("c%d", i), "br0", fmt.Sprintf("%d:80", 10000+i))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.closeHeld)
	}
	for b.Loop() {
		c, err := tryStart(m, "web", "br0", "8080:80")
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		c.closeHeld()
		if err := m.Release(context.Background(), c.id); err != nil {
			b.Fatal(err)
		}
		settle()
		b.StartTimer()
	}
}

// One address of a /8 of which 99.9 % are in use: the whole of what Attach does with the bitmap, open, lock, take, close. In
// the worst case all that is free lies at the far end.
func BenchmarkBitmapNearlyFull(b *testing.B) {
	subnet := netip.MustParsePrefix("10.0.0.0/8")
	for name, free := range map[string]func(n uint64) bool{
		"spread": func(n uint64) bool { return n%1000 == 999 },
		"atEnd":  func(n uint64) bool { return n >= 1<<24-1<<14 },
	} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "x.bitmap")
			none := func() ([]netip.Addr, error) { return nil, nil }
			book, err := openBitmap(path, subnet, none)
			if err != nil {
				b.Fatal(err)
			}
			fillBitmap(b, book, func(n uint64) bool { return !free(n) })
			if err := book.close(); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for b.Loop() {
				book, err := openBitmap(path, subnet, none)
				if err != nil {
					b.Fatal(err)
				}
				if name == "atEnd" {
					book.cursor = 0
				}
				a, err := book.take(subnet)
				if err != nil {
					b.Fatal(err)
				}
				if name == "atEnd" {
					err = book.release(a)
				}
				if err != nil || book.close() != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func fillBitmap(tb testing.TB, b *bitmap, used func(n uint64) bool) {
	tb.Helper()
	buf := make([]byte, 8*b.words())
	for n := range b.size {
		if used(n) {
			buf[n/8] |= 1 << (n % 8)
		}
	}
	if _, err := b.f.WriteAt(buf, bitmapHeader); err != nil {
		tb.Fatal(err)
	}
}
