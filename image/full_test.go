package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// smallDisk is a file system of a few MiB that nobody else sees: a detached tmpfs.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	needRoot(t)
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if err := errors.Join(unix.FsconfigSetString(fs, "size", size), unix.FsconfigCreate(fs)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fmt.Sprintf("/proc/%d/fd/%d/", os.Getpid(), fd)
}

// TestDiskFull: whatever an archive lacks room for, the store is afterwards as it was before.
func TestDiskFull(t *testing.T) {
	disk := smallDisk(t, "12m")
	s, err := Open(state.Root{Lib: disk + "lib", Run: t.TempDir()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	importFiles(t, s, "small:1", file{name: "a", body: strings.Repeat("a", 1<<20)})
	before := list(t, disk+"lib")
	big := strings.Repeat("0123456789abcdef", 256<<10) // 4 MiB
	for name, archive := range map[string][]byte{
		"while storing":   layered(t, "big:1", tarOf(t, file{name: "1", body: big}), tarOf(t, file{name: "2", body: big}), tarOf(t, file{name: "3", body: big})),
		"while unpacking": layered(t, "big:1", tarOf(t, file{name: "1", body: big}), tarOf(t, file{name: "2", body: big})),
	} {
		_, err := s.LoadStream(context.Background(), bytes.NewReader(archive), "")
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v, want no space left", name, err)
		}
		if after := list(t, disk+"lib"); after != before {
			t.Errorf("%s: before\n%s\nafter\n%s", name, before, after)
		}
	}
	if _, err := s.Import(context.Background(), bytes.NewReader(tarOf(t, file{name: "x", body: big}, file{name: "y", body: big + big})), ImportOptions{Reference: "x"}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("import: %v", err)
	}
	if after := list(t, disk+"lib"); after != before {
		t.Errorf("import: before\n%s\nafter\n%s", before, after)
	}
	checkWhole(t, s)
}

// TestBombs: a few bytes that unpack to more than there is room for.
func TestBombs(t *testing.T) {
	disk := smallDisk(t, "16m")
	s, err := Open(state.Root{Lib: disk + "lib", Run: t.TempDir()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"a file of zeros, gzip":    "head -c 100000000 /dev/zero > $D/f; tar -C $D -c f | gzip -9",
		"a file of zeros, zstd":    "head -c 100000000 /dev/zero > $D/f; tar -C $D -c f | zstd -q",
		"zeros behind the archive": "echo x > $D/f; (tar -C $D -c f; head -c 100000000 /dev/zero) | gzip -9",
	} {
		dir := t.TempDir()
		packed := run(t, "sh", "-c", "D="+dir+"; "+script)
		if len(packed) > 1<<20 {
			t.Fatalf("%s: the bomb has %d bytes", name, len(packed))
		}
		_, err := s.Import(context.Background(), strings.NewReader(packed), ImportOptions{Reference: "bomb"})
		if err == nil {
			t.Errorf("%s: was taken", name)
		}
		wantEmpty(t, s)
	}
}
