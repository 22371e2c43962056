package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnpackKeepsEverything(t *testing.T) {
	needRoot(t)
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	dir, _, content, err := unpackInto(t, tarOf(t,
		file{name: "./", typ: tar.TypeDir, mode: 0o711, uid: 5},
		file{name: "etc/", typ: tar.TypeDir, mode: 0o2750, uid: 1, gid: 2},
		file{name: "etc/f", body: "hello", mode: 0o4755, uid: 1000, gid: 1001, xattrs: map[string]string{"user.note": "x", "security.capability": capability}},
		file{name: "etc/hard", typ: tar.TypeLink, link: "/etc/f"},
		file{name: "etc/abs", typ: tar.TypeSymlink, link: "/etc/f", uid: 7, gid: 8},
		file{name: "dev/null", typ: tar.TypeChar, mode: 0o666, major: 1, minor: 3},
		file{name: "dev/disk", typ: tar.TypeBlock, mode: 0o660, major: 8, minor: 1, gid: 6},
		file{name: "run/pipe", typ: tar.TypeFifo, mode: 0o600},
		file{name: "tmp/", typ: tar.TypeDir, mode: 0o1777},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := `. 40711 5:0
dev 40755 0:0
dev/disk 60660 0:6 dev 8:1
dev/null 20666 0:0 dev 1:3
etc 42750 1:2
etc/abs 120777 7:8 -> /etc/f
etc/f 104755 1000:1001 5 2cf24dba5fb0
etc/hard 104755 1000:1001 5 2cf24dba5fb0
run 40755 0:0
run/pipe 10600 0:0
tmp 41777 0:0`
	if got := list(t, dir); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if content.size != 5 || len(content.implied) != 2 {
		t.Errorf("size %d, implied %v; want 5 and dev, run", content.size, content.implied)
	}
	for key, value := range map[string]string{"user.note": "x", "security.capability": capability} {
		buf := make([]byte, 64)
		n, err := unix.Lgetxattr(filepath.Join(dir, "etc/f"), key, buf)
		if err != nil || string(buf[:n]) != value {
			t.Errorf("%s is %q (%v), want %q", key, buf[:max(n, 0)], err, value)
		}
	}
	var a, b unix.Stat_t
	if err := errors.Join(unix.Lstat(filepath.Join(dir, "etc/f"), &a), unix.Lstat(filepath.Join(dir, "etc/hard"), &b)); err != nil {
		t.Fatal(err)
	}
	if a.Ino != b.Ino {
		t.Error("the hard link is another file")
	}
	for _, name := range []string{"etc", "etc/f", "etc/abs", "tmp", "."} {
		if err := unix.Lstat(filepath.Join(dir, name), &a); err != nil || a.Mtim.Sec != 1700000000 {
			t.Errorf("%s was changed at %d (%v), want 1700000000", name, a.Mtim.Sec, err)
		}
	}
}

// The attack corpus. Each archive either is refused, or is unpacked wholly inside; what lies outside is never touched.
func TestHostileArchives(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		files   []file
		refused string // a part of the error; "" means that it is unpacked, inside
		inside  string // a file that must then be there
	}{
		"dot dot":                  {files: []file{{name: "../outside/canary", body: "dead"}}, refused: "leads out"},
		"dot dot in the middle":    {files: []file{{name: "a/../../outside/canary", body: "dead"}}, refused: "leads out"},
		"dot dot after a slash":    {files: []file{{name: "/../outside/canary", body: "dead"}}, refused: "leads out"},
		"only dot dot":             {files: []file{{name: "..", typ: tar.TypeDir}}, refused: "leads out"},
		"harmless dot dot":         {files: []file{{name: "a/../b", body: "x"}}, inside: "b"},
		"absolute":                 {files: []file{{name: "/etc/evil", body: "x"}}, inside: "etc/evil"},
		"many slashes":             {files: []file{{name: "////etc//evil", body: "x"}}, inside: "etc/evil"},
		"through relative link":    {files: []file{{name: "l", typ: tar.TypeSymlink, link: "../outside"}, {name: "l/canary", body: "dead"}}, refused: "in the way"},
		"through absolute link":    {files: []file{{name: "l", typ: tar.TypeSymlink, link: "/tmp"}, {name: "tmp/", typ: tar.TypeDir}, {name: "l/f", body: "x"}}, inside: "tmp/f"},
		"through a chain of links": {files: []file{{name: "a", typ: tar.TypeSymlink, link: "b"}, {name: "b", typ: tar.TypeSymlink, link: "../../outside"}, {name: "a/canary", body: "dead"}}, refused: "in the way"},
		"through a link loop":      {files: []file{{name: "a", typ: tar.TypeSymlink, link: "b"}, {name: "b", typ: tar.TypeSymlink, link: "a"}, {name: "a/x", body: "x"}}, refused: "symbolic links"},
		"link to proc":             {files: []file{{name: "p", typ: tar.TypeSymlink, link: "/proc/self/root"}, {name: "p/tmp/x", body: "x"}}, refused: "in the way"},
		"write over a link":        {files: []file{{name: "l", typ: tar.TypeSymlink, link: "../outside/canary"}, {name: "l", body: "x"}}, inside: "l"},
		"directory over a link":    {files: []file{{name: "l", typ: tar.TypeSymlink, link: "../outside"}, {name: "l/", typ: tar.TypeDir}, {name: "l/canary", body: "x"}}, inside: "l/canary"},
		"link over a directory":    {files: []file{{name: "d/", typ: tar.TypeDir}, {name: "d/x", body: "1"}, {name: "d", typ: tar.TypeSymlink, link: "../outside"}, {name: "d/canary", body: "dead"}}, refused: "in the way"},
		"hard link out":            {files: []file{{name: "h", typ: tar.TypeLink, link: "../outside/canary"}, {name: "h", body: "dead"}}, refused: "leads out"},
		"hard link, absolute":      {files: []file{{name: "h", typ: tar.TypeLink, link: "/etc/passwd"}}, refused: "neither this layer"},
		"hard link through a link": {files: []file{{name: "l", typ: tar.TypeSymlink, link: "../outside"}, {name: "h", typ: tar.TypeLink, link: "l/canary"}}, refused: "neither this layer"},
		"hard link to a link":      {files: []file{{name: "l", typ: tar.TypeSymlink, link: "../outside/canary"}, {name: "h", typ: tar.TypeLink, link: "l"}, {name: "h", body: "x"}}, inside: "h"},
		"hard link to itself":      {files: []file{{name: "h", body: "x"}, {name: "h", typ: tar.TypeLink, link: "h"}}, refused: "no sense"},
		"hard link to a directory": {files: []file{{name: "d/", typ: tar.TypeDir}, {name: "h", typ: tar.TypeLink, link: "d"}}, refused: "not permitted"},
		"whiteout of dot dot":      {files: []file{{name: "a/.wh...", body: ""}}, refused: "removes no file"},
		"whiteout of nothing":      {files: []file{{name: "a/.wh.", body: ""}}, refused: "removes no file"},
		"opaque through a link":    {files: []file{{name: "l", typ: tar.TypeSymlink, link: "../outside"}, {name: "l/.wh..wh..opq"}}, refused: "in the way"},
		"file as a directory":      {files: []file{{name: "f", body: "x"}, {name: "f/x", body: "x"}}, refused: "in the way"},
		"root as a file":           {files: []file{{name: ".", typ: tar.TypeSymlink, link: "/"}}, refused: "root of the layer"},
		"overlay's own xattrs":     {files: []file{{name: "d/", typ: tar.TypeDir, xattrs: map[string]string{"trusted.overlay.redirect": "/etc", "user.overlay.opaque": "y"}}}, inside: "d"},
		"unknown type":             {files: []file{{name: "x", typ: 'Q'}}, refused: "unknown type"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, outside, _, err := unpackInto(t, tarOf(t, c.files...))
			if c.refused == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("error %v, want one with %q", err, c.refused)
			}
			if c.inside != "" {
				if _, err := os.Lstat(filepath.Join(dir, c.inside)); err != nil {
					t.Error(err)
				}
			}
			if got := list(t, outside); !strings.HasSuffix(got, "canary 100600 0:0 5 "+digestOf([]byte("alive")).Short()) || strings.Count(got, "\n") != 1 {
				t.Errorf("outside was touched:\n%s", got)
			}
			if n, err := unix.Lgetxattr(filepath.Join(dir, "d"), "trusted.overlay.redirect", nil); err == nil {
				t.Errorf("a redirect of %d bytes was taken from the archive", n)
			}
		})
	}
}

func TestWhiteouts(t *testing.T) {
	needRoot(t)
	dir, _, _, err := unpackInto(t, tarOf(t,
		file{name: "a/.wh.gone"},
		file{name: "opaque/.wh..wh..opq"}, file{name: "opaque/new", body: "n"},
		file{name: ".wh.renewed"}, file{name: "renewed/", typ: tar.TypeDir}, file{name: "renewed/x", body: "x"},
		file{name: "late/", typ: tar.TypeDir}, file{name: ".wh.late"},
		file{name: ".wh.implied"}, file{name: "implied/x", body: "x"},
		file{name: "kept", body: "k"}, file{name: ".wh.kept"},
		file{name: ".wh.refilled"}, file{name: "refilled", body: "r"},
		file{name: ".wh..wh.plnk/1.2", body: "aufs"}, file{name: ".wh..wh.aufs", body: ""},
	))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a/gone": "whiteout", "opaque": "opaque", "renewed": "opaque", "late": "opaque", "implied": "opaque", "kept": "file", "refilled": "file"} {
		path := filepath.Join(dir, name)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Error(err)
			continue
		}
		got := "directory"
		buf := make([]byte, 4)
		if n, err := unix.Lgetxattr(path, opaqueXattr(), buf); err == nil && string(buf[:n]) == "y" {
			got = "opaque"
		} else if isWhiteout(&st) {
			got = "whiteout"
		} else if st.Mode&unix.S_IFMT == unix.S_IFREG {
			got = "file"
		}
		if got != want {
			t.Errorf("%s is a %s, want a %s", name, got, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, ".wh..wh.aufs")); err == nil {
		t.Error("the book-keeping of aufs was unpacked")
	}
}

func TestUnpackIsBoundedByTheRoomThereIs(t *testing.T) {
	dir := t.TempDir()
	root, err := openDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	archive := tarOf(t, file{name: "a", body: strings.Repeat("x", 600)}, file{name: "b", body: strings.Repeat("x", 600)})
	if _, err := unpackTar(context.Background(), bytes.NewReader(archive), root, 1000, nil); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("two files of 600 bytes into a room of 1000: %v, want ENOSPC", err)
	}
	// A sparse file of 8 EiB is some bytes in an archive: GNU's format 1.0 with an empty map.
	if _, err := unpackTar(context.Background(), bytes.NewReader(hugeSparse(t)), root, 1<<40, nil); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a sparse file of 8 EiB: %v, want ENOSPC", err)
	}
}

func hugeSparse(t testing.TB) []byte {
	t.Helper()
	script := `import tarfile,sys,io
b=io.BytesIO(); t=tarfile.open(fileobj=b,mode="w",format=tarfile.PAX_FORMAT)
i=tarfile.TarInfo("GNUSparseFile.0/huge"); m=b"0\n".ljust(512,b"\0"); i.size=len(m)
i.pax_headers={"GNU.sparse.major":"1","GNU.sparse.minor":"0","GNU.sparse.name":"huge","GNU.sparse.realsize":str(2**62)}
t.addfile(i,io.BytesIO(m)); t.close(); sys.stdout.buffer.write(b.getvalue())`
	return []byte(run(t, "python3", "-c", script))
}

func TestSparseFilesStaySparse(t *testing.T) {
	needRoot(t)
	work := t.TempDir()
	run(t, "sh", "-c", "cd "+work+" && truncate -s 64M f && printf end >> f && printf start | dd of=f conv=notrunc 2>/dev/null && tar -S -cf a.tar f && tar --format=gnu -S -cf g.tar f")
	for _, name := range []string{"a.tar", "g.tar"} {
		data, err := os.ReadFile(filepath.Join(work, name))
		if err != nil {
			t.Fatal(err)
		}
		dir, _, _, err := unpackInto(t, data)
		if err != nil {
			t.Fatal(err)
		}
		run(t, "cmp", filepath.Join(work, "f"), filepath.Join(dir, "f"))
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, "f"), &st); err != nil || st.Blocks*512 > 1<<20 {
			t.Errorf("%s: a file of 64 MiB with 8 bytes in it takes %d bytes (%v)", name, st.Blocks*512, err)
		}
	}
}

func TestManySmallFiles(t *testing.T) {
	var files []file
	for i := range 100_000 {
		files = append(files, file{name: fmt.Sprintf("d%d/f%d", i%1000, i), body: "x"})
	}
	disk := smallDisk(t, "2g")
	root, err := openDirectory(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	content, err := unpackTar(context.Background(), bytes.NewReader(tarOf(t, files...)), root, 1<<30, nil)
	if err != nil || content.size != 100_000 {
		t.Fatalf("size %d, %v", content.size, err)
	}
	if n := strings.TrimSpace(run(t, "sh", "-c", "find "+disk+" -type f | wc -l")); n != "100000" {
		t.Errorf("%s files, want 100000", n)
	}
}

func TestTruncatedArchive(t *testing.T) {
	whole := tarOf(t, file{name: "a", body: strings.Repeat("x", 5000)})
	if _, _, _, err := unpackInto(t, whole[:2000]); err == nil {
		t.Error("an archive that ends in the middle of a file was taken")
	}
}

// FuzzUnpack throws anything at the unpacker: nothing outside the layer may change, whatever comes.
func FuzzUnpack(f *testing.F) {
	needRoot(f)
	f.Add(tarOf(f, file{name: "l", typ: tar.TypeSymlink, link: "../outside"}, file{name: "l/canary", body: "dead"}))
	f.Add(tarOf(f, file{name: "a/.wh.b"}, file{name: "a/.wh..wh..opq"}, file{name: "a/b/c", body: "x"}))
	f.Add(tarOf(f, file{name: "h", typ: tar.TypeLink, link: "l/canary"}, file{name: "p", typ: tar.TypeFifo}, file{name: "../x"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		layer, outside := filepath.Join(base, "layer"), filepath.Join(base, "outside")
		if err := errors.Join(os.Mkdir(layer, 0o755), os.Mkdir(outside, 0o755), os.WriteFile(filepath.Join(outside, "canary"), []byte("alive"), 0o600)); err != nil {
			t.Fatal(err)
		}
		before := list(t, outside)
		root, err := openDirectory(layer)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(root)
		content, unpackErr := unpackTar(context.Background(), bytes.NewReader(data), root, 1<<20, nil)
		if unpackErr == nil && content.size > 1<<20 {
			t.Errorf("%d bytes were written where 1 MiB was allowed", content.size)
		}
		entries, err := os.ReadDir(base)
		if after := list(t, outside); after != before || err != nil || len(entries) != 2 {
			t.Fatalf("outside was touched: %v\n%s", entries, after)
		}
	})
}

// TestHardLinkIntoALowerLayer: both names are one file in the end, which has kept what it had below.
func TestHardLinkIntoALowerLayer(t *testing.T) {
	base := tarOf(t,
		file{name: "a/", typ: tar.TypeDir, mode: 0o710, uid: 3},
		file{name: "a/f", body: "below", mode: 0o4751, uid: 1000, gid: 1001, xattrs: map[string]string{"user.note": "kept"}},
		file{name: "a/s", typ: tar.TypeSymlink, link: "f"},
		file{name: "a/gone", body: "x"}, file{name: "l", typ: tar.TypeSymlink, link: "a"}, file{name: "o/", typ: tar.TypeDir}, file{name: "o/f", body: "x"},
	)
	middle := tarOf(t, file{name: "a/.wh.gone"}, file{name: "o/", typ: tar.TypeDir}, file{name: "o/.wh..wh..opq"})
	s := newStore(t)
	img := loadBytes(t, s, layered(t, "linked:1", base, middle, tarOf(t,
		file{name: "b/new", typ: tar.TypeLink, link: "a/f"}, file{name: "third", typ: tar.TypeLink, link: "/a/f"}, file{name: "sym", typ: tar.TypeLink, link: "a/s"})))
	root := mounted(t, s, img)
	var all [3]unix.Stat_t
	for i, name := range []string{"a/f", "b/new", "third"} {
		if err := unix.Lstat(root+name, &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if f := all[0]; f.Ino != all[1].Ino || f.Ino != all[2].Ino || f.Nlink != 3 || f.Mode != unix.S_IFREG|0o4751 || f.Uid != 1000 || f.Gid != 1001 || f.Mtim.Sec != 1700000000 {
		t.Errorf("the file and its second and third name are %+v", all)
	}
	buf := make([]byte, 16)
	if n, err := unix.Lgetxattr(root+"b/new", "user.note", buf); err != nil || string(buf[:n]) != "kept" {
		t.Errorf("the attribute is %q, %v", buf[:max(n, 0)], err)
	}
	if data, err := os.ReadFile(root + "b/new"); err != nil || string(data) != "below" {
		t.Errorf("the content is %q, %v", data, err)
	}
	if target, err := os.Readlink(root + "sym"); err != nil || target != "f" {
		t.Errorf("the link to a link is %q, %v", target, err)
	}
	var dir unix.Stat_t
	if err := unix.Lstat(root+"a", &dir); err != nil || dir.Mode&0o7777 != 0o710 || dir.Uid != 3 {
		t.Errorf("the directory that came along has the mode %o and the owner %d (%v), want 710 and 3", dir.Mode, dir.Uid, err)
	}
	for name, top := range map[string][]byte{
		"removed between":      tarOf(t, file{name: "x", typ: tar.TypeLink, link: "a/gone"}),
		"removed here":         tarOf(t, file{name: "a/.wh.f"}, file{name: "x", typ: tar.TypeLink, link: "a/f"}),
		"hidden by an opaque":  tarOf(t, file{name: "x", typ: tar.TypeLink, link: "o/f"}),
		"directory":            tarOf(t, file{name: "x", typ: tar.TypeLink, link: "a"}),
		"through a lower link": tarOf(t, file{name: "x", typ: tar.TypeLink, link: "l/f"}),
		"nowhere":              tarOf(t, file{name: "x", typ: tar.TypeLink, link: "nothing"}),
	} {
		if _, err := s.LoadStream(context.Background(), bytes.NewReader(layered(t, "refused:1", base, middle, top)), ""); err == nil || !strings.Contains(err.Error(), "hard link to") {
			t.Errorf("%s: %v", name, err)
		}
	}
	checkWhole(t, s)
}

// TestHostileLayersTogether: what one layer links, the next one writes through; each is harmless alone.
func TestHostileLayersTogether(t *testing.T) {
	s := newStore(t)
	outside := filepath.Join(filepath.Dir(s.root.Lib), "outside")
	if err := os.WriteFile(outside, []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, layers := range map[string][][]byte{
		"through a link below":          {tarOf(t, file{name: "d", typ: tar.TypeSymlink, link: filepath.Dir(outside)}), tarOf(t, file{name: "d/outside", body: "dead"})},
		"through a climbing link below": {tarOf(t, file{name: "d", typ: tar.TypeSymlink, link: "../../.."}), tarOf(t, file{name: "d/outside", body: "dead"})},
		"over a link below":             {tarOf(t, file{name: "f", typ: tar.TypeSymlink, link: outside}), tarOf(t, file{name: "f", body: "dead"})},
		"hard link to a link below":     {tarOf(t, file{name: "f", typ: tar.TypeSymlink, link: outside}), tarOf(t, file{name: "h", typ: tar.TypeLink, link: "f"}, file{name: "h", body: "dead"})},
		"hard link through one below":   {tarOf(t, file{name: "d", typ: tar.TypeSymlink, link: filepath.Dir(outside)}), tarOf(t, file{name: "h", typ: tar.TypeLink, link: "d/outside"}, file{name: "h", body: "dead"})},
		"whiteout through one below":    {tarOf(t, file{name: "d", typ: tar.TypeSymlink, link: filepath.Dir(outside)}), tarOf(t, file{name: "d/.wh.outside"})},
	} {
		images, err := s.LoadStream(context.Background(), bytes.NewReader(layered(t, "hostile:1", layers...)), "")
		if err == nil {
			mounted(t, s, images[0])
		}
		if data, readErr := os.ReadFile(outside); readErr != nil || string(data) != "alive" {
			t.Errorf("%s: outside is %q, %v (%v)", name, data, readErr, err)
		}
	}
}
