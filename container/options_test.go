package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// recursiveWords are the words of mount options that count for everything mounted below: what a mount below has at first, the
// words, and what it has in the container.
var recursiveWords = []struct{ before, words, after string }{
	{"", "rro", "ro"}, {"ro", "rrw", "rw"}, {"ro", "rro,rrw", "rw"}, {"", "rrw,rro", "ro"},
	{"", "rnosuid", "nosuid"}, {"nosuid", "rsuid", ""}, {"", "rnodev", "nodev"}, {"nodev", "rdev", ""},
	{"", "rnoexec", "noexec"}, {"noexec", "rexec", ""}, {"", "rnosymfollow", "nosymfollow"}, {"nosymfollow", "rsymfollow", ""},
	{"", "rnodiratime", "nodiratime"}, {"nodiratime", "rdiratime", ""},
	{"", "rnoatime", "noatime"}, {"noatime", "ratime", "relatime"}, {"noatime", "rrelatime", "relatime"}, {"", "rstrictatime", ""},
	{"strictatime", "rnostrictatime", "relatime"}, {"strictatime", "rnorelatime", "relatime"}, {"noexec", "rnosuid,rsuid,rexec", ""},
}

// TestRecursiveOptions: each such word reaches a mount below the one that is bound, and of two words the later one wins.
func TestRecursiveOptions(t *testing.T) {
	if !inPrivateMounts(t) {
		return
	}
	var mounts []specs.Mount
	mount := func(dir string, attributes uint64) {
		fd, err := newFilesystem("tmpfs", "tmpfs", nil, attributes)
		must(t, err)
		defer unix.Close(fd)
		must(t, unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH))
	}
	for i, w := range recursiveWords {
		outer := t.TempDir()
		mount(outer, 0)
		inner := filepath.Join(outer, "below")
		must(t, os.Mkdir(inner, 0o755))
		before, _ := mountAttribute(w.before)
		mount(inner, before.set)
		defer unix.Unmount(outer, unix.MNT_DETACH)
		mounts = append(mounts, specs.Mount{
			Destination: fmt.Sprintf("/mnt/%d", i), Type: "bind", Source: outer, Options: append([]string{"rbind"}, strings.Split(w.words, ",")...),
		})
	}
	// The words of a remount, too: of a mount of the config's own.
	mounts = append(mounts, specs.Mount{Destination: "/mnt/again", Type: "tmpfs", Source: "tmpfs"},
		specs.Mount{Destination: "/mnt/again", Options: []string{"remount", "rnoexec", "rslave"}})
	o := shell("cat /proc/self/mountinfo")
	spec, err := NewSpec(o)
	must(t, err)
	spec.Mounts = append(spec.Mounts, mounts...)
	res, err := runSpec(t, newRuntime(t), newBundle(t), spec)
	must(t, err)
	has := map[string]string{}
	for line := range strings.Lines(res.out) {
		f := strings.Fields(line)
		has[f[4]] = f[5] + ","
	}
	for i, w := range recursiveWords {
		want, got := w.after, has[fmt.Sprintf("/mnt/%d/below", i)]
		if want == "" { // mountinfo has no word for it: the one from before is gone
			want = "rw"
		}
		none := w.before != "" && w.before != w.after && strings.Contains(got, w.before+",")
		if !strings.Contains(got, want+",") || none || w.words == "rstrictatime" && strings.Contains(got, "atime") {
			t.Errorf("%q over %q: %q, want %q", w.words, w.before, got, want)
		}
	}
	if got := has["/mnt/again"]; !strings.Contains(got, "noexec,") {
		t.Errorf("remount: %q", got)
	}
}

// TestRecursiveOptionText: what --explain shows is what mount(8) would take.
func TestRecursiveOptionText(t *testing.T) {
	for _, w := range []string{"rro", "rrw", "rsuid", "rnodev", "rexec", "rnoatime", "rrelatime", "rsymfollow", "rdiratime"} {
		o, err := parseMountOptions([]string{w})
		must(t, err)
		s := step{}
		s.Num[numAttrBelow] = o.below.pack()
		if got := optionText(s); got != " -o "+w {
			t.Errorf("%s: %q", w, got)
		}
	}
}
