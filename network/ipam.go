package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A bitmap says which addresses of one subnet are in use: one bit an address, in a binary file of fixed size,
//
//	RUN/ipam/<network id>.bitmap:   magic 8 | subnet 16 | prefix length 8 | cursor 8 | one bit for each address …
//
// all numbers little-endian, bit n of word n/64 for address subnet+n. It is an index: the endpoint records own the truth, and a
// bitmap that is missing, cut short or of another subnet is made anew from them. Whoever has the file open has it locked
// (flock), so a lock dies with its holder, and an address is taken by one write of eight bytes, so it is taken or not.
//
// Addresses are handed out next-fit: the search starts behind the last one given. A fresh address is not one that some
// neighbour still remembers, and in a nearly full subnet the search does not start over at the full part each time.
type bitmap struct {
	f      *os.File
	subnet netip.Prefix
	size   uint64 // number of bits
	cursor uint64
}

const (
	bitmapMagic  = "MDIPAM1\n"
	bitmapHeader = 40
	cursorOffset = 32
	// An IPv6 subnet has no end: we look after its first 65536 addresses.
	maxHostBits6 = 16
	scanWords    = 4096 // 32 KiB are read at a time
)

// errFull says that a subnet, or the part of it that may be used, has no free address.
var errFull = errors.New("no free address left")

func (m *Manager) bitmapPath(networkID string, subnet netip.Prefix) string {
	ending := ".bitmap"
	if subnet.Addr().Is6() {
		ending = ".bitmap6"
	}
	return filepath.Join(m.root.Run, "ipam", networkID+ending)
}

// openBitmap opens and locks a bitmap. used is called when it has to be made anew and gives the addresses in use.
func openBitmap(path string, subnet netip.Prefix, used func() ([]netip.Addr, error)) (_ *bitmap, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	b := &bitmap{f: f, subnet: subnet.Masked(), size: bitmapSize(subnet)}
	sound, err := b.readHeader()
	if err != nil || sound {
		return b, err
	}
	addrs, err := used()
	if err != nil {
		return nil, err
	}
	return b, b.rebuild(addrs)
}

// bitmapSize is the number of addresses that are looked after.
func bitmapSize(subnet netip.Prefix) uint64 {
	hostBits := subnet.Addr().BitLen() - subnet.Bits()
	if subnet.Addr().Is6() && hostBits > maxHostBits6 {
		hostBits = maxHostBits6
	}
	return 1 << hostBits
}

func (b *bitmap) words() uint64 { return (b.size + 63) / 64 }

// close lets go of the lock.
func (b *bitmap) close() error { return b.f.Close() }

// readHeader says whether the file is whole and of this subnet.
func (b *bitmap) readHeader() (bool, error) {
	st, err := b.f.Stat()
	if err != nil {
		return false, err
	}
	if st.Size() != int64(bitmapHeader+8*b.words()) {
		return false, nil
	}
	var h [bitmapHeader]byte
	if _, err := b.f.ReadAt(h[:], 0); err != nil {
		return false, err
	}
	b.cursor = binary.LittleEndian.Uint64(h[cursorOffset:])
	want := b.header()
	return string(h[:cursorOffset]) == string(want[:cursorOffset]) && b.cursor < b.size, nil
}

func (b *bitmap) header() (h [bitmapHeader]byte) {
	copy(h[:], bitmapMagic)
	a := b.subnet.Addr().As16()
	copy(h[8:], a[:])
	binary.LittleEndian.PutUint64(h[24:], uint64(b.subnet.Bits()))
	binary.LittleEndian.PutUint64(h[cursorOffset:], b.cursor)
	return h
}

// rebuild writes the file anew, in place because it is the file that is locked. The header comes last: a kill before it
// leaves a file that is not sound.
func (b *bitmap) rebuild(used []netip.Addr) error {
	b.cursor = 0
	if err := errors.Join(b.f.Truncate(0), b.f.Truncate(int64(bitmapHeader+8*b.words()))); err != nil {
		return fmt.Errorf("write %s: %w", b.f.Name(), err)
	}
	for _, a := range append(b.reserved(), used...) {
		if n, ok := b.offset(a); ok {
			if _, err := b.set(n, true); err != nil {
				return err
			}
		}
	}
	h := b.header()
	_, err := b.f.WriteAt(h[:], 0)
	return err
}

// reserved are the addresses that mean the network itself and its broadcast. A /31 and a /32 have none (RFC 3021); in IPv6 the
// first is the routers' anycast address (RFC 4291, 2.6.1) and there is no broadcast.
func (b *bitmap) reserved() []netip.Addr {
	if b.subnet.Addr().Is6() {
		return []netip.Addr{b.subnet.Addr()}
	}
	if b.size < 4 {
		return nil
	}
	return []netip.Addr{b.subnet.Addr(), addOffset(b.subnet.Addr(), b.size-1)}
}

// offset is an address's bit.
func (b *bitmap) offset(a netip.Addr) (uint64, bool) {
	if !b.subnet.Contains(a) {
		return 0, false
	}
	n := offsetOf(b.subnet, a)
	return n, n < b.size
}

// take hands out the next free address within the range. errFull if there is none.
func (b *bitmap) take(within netip.Prefix) (netip.Addr, error) {
	from, to := uint64(0), b.size
	if within.IsValid() && within != b.subnet {
		from = offsetOf(b.subnet, within.Masked().Addr())
		to = min(from+bitmapSize(within), b.size)
	}
	start := b.cursor + 1
	if start < from || start >= to {
		start = from
	}
	n, err := b.findFree(start, to)
	if errors.Is(err, errFull) {
		n, err = b.findFree(from, start)
	}
	if err != nil {
		return netip.Addr{}, err
	}
	if _, err := b.set(n, true); err != nil {
		return netip.Addr{}, err
	}
	return addOffset(b.subnet.Addr(), n), b.moveCursor(n)
}

// moveCursor lets the next search start behind n.
func (b *bitmap) moveCursor(n uint64) error {
	b.cursor = n
	var c [8]byte
	binary.LittleEndian.PutUint64(c[:], n)
	_, err := b.f.WriteAt(c[:], cursorOffset)
	return wrap(err, "write %s", b.f.Name())
}

// stepBack lets the next search find a again, if a was the last address given.
func (b *bitmap) stepBack(a netip.Addr) error {
	if n, ok := b.offset(a); ok && n == b.cursor && n > 0 {
		return b.moveCursor(n - 1)
	}
	return nil
}

// claim takes one certain address; false if it is in use.
func (b *bitmap) claim(a netip.Addr) (bool, error) {
	n, ok := b.offset(a)
	if !ok { // beyond the window of an IPv6 subnet: the endpoint records are all there is
		return true, nil
	}
	was, err := b.set(n, true)
	return !was, err
}

// release gives an address back. One that is free already is success.
func (b *bitmap) release(a netip.Addr) error {
	n, ok := b.offset(a)
	if !ok {
		return nil
	}
	_, err := b.set(n, false)
	return err
}

// findFree is the first clear bit in [from, to), looked for 64 at a time.
func (b *bitmap) findFree(from, to uint64) (uint64, error) {
	var buf [8 * scanWords]byte
	last := (to + 63) / 64
	for word := from / 64; word < last; word += scanWords {
		part := buf[:8*min(scanWords, last-word)]
		if _, err := b.f.ReadAt(part, int64(bitmapHeader+8*word)); err != nil && err != io.EOF {
			return 0, fmt.Errorf("read %s: %w", b.f.Name(), err)
		}
		for i := 0; i < len(part); i += 8 {
			free := ^binary.LittleEndian.Uint64(part[i:])
			base := (word + uint64(i)/8) * 64
			if base < from {
				free &= ^uint64(0) << (from - base)
			}
			if free == 0 {
				continue
			}
			if n := base + uint64(bits.TrailingZeros64(free)); n < to {
				return n, nil
			}
			return 0, errFull
		}
	}
	return 0, errFull
}

// set writes one bit and tells what it was.
func (b *bitmap) set(n uint64, used bool) (was bool, err error) {
	var w [8]byte
	at := int64(bitmapHeader + 8*(n/64))
	if _, err := b.f.ReadAt(w[:], at); err != nil {
		return false, fmt.Errorf("read %s: %w", b.f.Name(), err)
	}
	word, bit := binary.LittleEndian.Uint64(w[:]), uint64(1)<<(n%64)
	was = word&bit != 0
	if was == used {
		return was, nil
	}
	binary.LittleEndian.PutUint64(w[:], word^bit)
	if _, err := b.f.WriteAt(w[:], at); err != nil {
		return was, fmt.Errorf("write %s: %w", b.f.Name(), err)
	}
	return was, nil
}

// sameAs says whether exactly the given addresses and the reserved ones are in use.
func (b *bitmap) sameAs(used []netip.Addr) (bool, error) {
	want := map[uint64]uint64{}
	for _, a := range append(b.reserved(), used...) {
		if n, ok := b.offset(a); ok {
			want[n/64] |= 1 << (n % 64)
		}
	}
	buf := make([]byte, 8*scanWords)
	for word := uint64(0); word < b.words(); word += scanWords {
		part := buf[:8*min(scanWords, b.words()-word)]
		if _, err := b.f.ReadAt(part, int64(bitmapHeader+8*word)); err != nil {
			return false, err
		}
		for i := 0; i < len(part); i += 8 {
			if binary.LittleEndian.Uint64(part[i:]) != want[word+uint64(i)/8] {
				return false, nil
			}
		}
	}
	return true, nil
}

// offsetOf is how many addresses a stands behind the start of the subnet, counted in the last 64 bits.
func offsetOf(subnet netip.Prefix, a netip.Addr) uint64 {
	hi, lo := halves(a)
	baseHi, baseLo := halves(subnet.Masked().Addr())
	if hi != baseHi {
		return ^uint64(0) // an IPv6 subnet larger than a /64, far beyond the window
	}
	return lo - baseLo
}

func addOffset(a netip.Addr, n uint64) netip.Addr {
	hi, lo := halves(a)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], hi)
	binary.BigEndian.PutUint64(b[8:], lo+n)
	sum := netip.AddrFrom16(b)
	if a.Is4() {
		return sum.Unmap()
	}
	return sum
}

func halves(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
}
