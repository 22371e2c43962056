package network

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func noneUsed() ([]netip.Addr, error) { return nil, nil }

func openTest(t testing.TB, path, subnet string) *bitmap {
	t.Helper()
	b, err := openBitmap(path, netip.MustParsePrefix(subnet), noneUsed)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every address of a subnet is handed out once, except network and broadcast; then the subnet is full.
func TestBitmapHandsOutEverything(t *testing.T) {
	for subnet, want := range map[string]int{
		"10.0.0.0/30": 2, "10.0.0.0/29": 6, "10.0.0.128/25": 126, "192.168.7.0/24": 254, "10.1.0.0/16": 65534,
		"10.0.0.0/31": 2, "10.0.0.0/32": 1, "172.20.4.0/22": 1022, "fd00::/64": 65535, "fd00::/126": 3, "fd00::ff00/120": 255,
	} {
		b := openTest(t, filepath.Join(t.TempDir(), "x"), subnet)
		seen := map[netip.Addr]bool{}
		p := netip.MustParsePrefix(subnet)
		last := p.Addr().Prev()
		for {
			a, err := b.take(p)
			if errors.Is(err, errFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if seen[a] || !p.Contains(a) || b.size > 2 && a.Less(last) {
				t.Fatalf("%s: %s out of turn", subnet, a)
			}
			seen[a], last = true, a
		}
		if len(seen) != want {
			t.Errorf("%s: %d addresses, want %d", subnet, len(seen), want)
		}
		a := addOffset(p.Addr(), b.size/2)
		if err := b.release(a); err != nil {
			t.Fatal(err)
		}
		if got, err := b.take(p); got != a || err != nil {
			t.Errorf("%s: after release of %s: %s, %v", subnet, a, got, err)
		}
		b.close()
	}
}

// Next-fit: what was just given back is not given out next.
func TestBitmapNextFit(t *testing.T) {
	b := openTest(t, filepath.Join(t.TempDir(), "x"), "10.0.0.0/24")
	defer b.close()
	p := b.subnet
	for want := byte(1); want <= 3; want++ {
		if a, _ := b.take(p); a.As4()[3] != want {
			t.Errorf("got %s, want .%d", a, want)
		}
		b.release(netip.AddrFrom4([4]byte{10, 0, 0, want}))
	}
	r := netip.MustParsePrefix("10.0.0.192/30")
	for _, want := range []byte{192, 193, 194, 195} {
		if a, err := b.take(r); err != nil || a.As4()[3] != want {
			t.Errorf("in the range: %s, %v, want .%d", a, err, want)
		}
	}
	if _, err := b.take(r); !errors.Is(err, errFull) {
		t.Errorf("a full range: %v", err)
	}
}

// FuzzBitmap compares the bitmap with a set, under any sequence of take, claim, release and reopening.
func FuzzBitmap(f *testing.F) {
	f.Add(uint8(29), []byte{0, 0, 0, 0, 0, 0, 0, 5, 9, 200})
	f.Add(uint8(24), []byte("hello, bitmap: take, claim, release"))
	f.Add(uint8(30), []byte{1, 2, 3, 255, 254})
	f.Fuzz(func(t *testing.T, length uint8, steps []byte) {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, 0}), 22+int(length)%11)
		path := filepath.Join(t.TempDir(), "x")
		b := openTest(t, path, p.String())
		model := map[netip.Addr]bool{}
		for _, a := range b.reserved() {
			model[a] = true
		}
		for _, s := range steps {
			a := addOffset(p.Addr(), uint64(s)%b.size)
			switch s % 5 {
			case 0, 1, 2:
				got, err := b.take(p)
				if errors.Is(err, errFull) {
					if uint64(len(model)) != b.size {
						t.Fatalf("full with %d of %d", len(model), b.size)
					}
				} else if err != nil || model[got] || !p.Contains(got) {
					t.Fatalf("take: %s, %v", got, err)
				} else {
					model[got] = true
				}
			case 3:
				free, err := b.claim(a)
				if err != nil || free == model[a] {
					t.Fatalf("claim %s: %v, %v", a, free, err)
				}
				model[a] = true
			case 4:
				if err := b.release(a); err != nil {
					t.Fatal(err)
				}
				delete(model, a)
				b.close()
				b = openTest(t, path, p.String())
			}
		}
		b.close()
	})
}

// FuzzBitmapFile opens whatever stands in the file. A sound header is believed; everything else is made anew.
func FuzzBitmapFile(f *testing.F) {
	f.Add([]byte("MDIPAM1\n"))
	f.Add(make([]byte, bitmapHeader+32))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b := openTest(t, path, "10.0.0.0/24")
		defer b.close()
		if a, err := b.take(b.subnet); err == nil && !b.subnet.Contains(a) {
			t.Errorf("%s", a)
		}
	})
}

// A subnet's file is not taken for another's.
func TestBitmapOfAnotherSubnet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	b := openTest(t, path, "10.0.0.0/24")
	b.take(b.subnet)
	b.close()
	b = openTest(t, path, "10.0.1.0/24")
	defer b.close()
	if a, err := b.take(b.subnet); a != netip.MustParseAddr("10.0.1.1") {
		t.Errorf("%s, %v", a, err)
	}
}
