package image

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCopyRules goes through Docker's table: what a source becomes depends on what the destination is.
func TestCopyRules(t *testing.T) {
	needRoot(t)
	for _, c := range []struct{ src, dst, want, refused string }{
		{src: "/file", dst: "/new", want: "new"},
		{src: "/file", dst: "/other", want: "other"},
		{src: "/file", dst: "/dir", want: "dir/file"},
		{src: "/file", dst: "/dir/", want: "dir/file"},
		{src: "/file", dst: "/absent/", refused: "must exist"},
		{src: "/file", dst: "/absent/x", refused: "no such file"},
		{src: "/file", dst: "/other/", refused: "not a directory"},
		{src: "/tree", dst: "/new", want: "new/sub/leaf"},
		{src: "/tree", dst: "/dir", want: "dir/tree/sub/leaf"},
		{src: "/tree/.", dst: "/dir", want: "dir/sub/leaf"},
		{src: "/tree/.", dst: "/new", want: "new/sub/leaf"},
		{src: "/tree", dst: "/other", refused: "cannot replace"},
		{src: "/absent", dst: "/new", refused: "no such file"},
		{src: "/file/", dst: "/new", refused: "not a directory"},
		{src: "/rel", dst: "/new", want: "new"},
		{src: "/abs", dst: "/dir", want: "dir/abs"},
		{src: "/file", dst: "/todir", want: "dir/file"},
		{src: "/tree", dst: "/clash", refused: "cannot replace"},
		{src: "/file", dst: "/clash2", refused: "is not replaced"},
	} {
		from, to := t.TempDir(), t.TempDir()
		run(t, "sh", "-ec", "cd "+from+"; echo hello > file; mkdir -p tree/sub; echo l > tree/sub/leaf; ln -s file rel; ln -s /file abs; chown -R 5:6 .")
		run(t, "sh", "-ec", "cd "+to+"; echo x > other; mkdir dir; ln -s /dir todir; mkdir clash clash2 clash2/file; echo x > clash/tree")
		err := Copy(context.Background(), openTree(t, from), c.src, openTree(t, to), c.dst, CopyOptions{})
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s to %s: error %v, want one with %q", c.src, c.dst, err, c.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s to %s: %v", c.src, c.dst, err)
			continue
		}
		if got := list(t, to); !strings.Contains(got, "\n"+c.want+" ") {
			t.Errorf("%s to %s: %s is missing in\n%s", c.src, c.dst, c.want, got)
		} else if strings.Contains(got, "5:6") {
			t.Errorf("%s to %s: owners were kept without -a\n%s", c.src, c.dst, got)
		}
	}
}

func openTree(t *testing.T, dir string) Tree {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return Tree{Root: f}
}

func TestCopyFollowsAndKeeps(t *testing.T) {
	needRoot(t)
	from, to := t.TempDir(), t.TempDir()
	run(t, "sh", "-ec", "cd "+from+"; mkdir etc; echo secret > etc/real; ln -s /etc/real link; chown 7:8 etc/real; chmod 4755 etc/real; touch -d 2001-02-03 etc/real")
	if err := Copy(context.Background(), openTree(t, from), "/link", openTree(t, to), "/", CopyOptions{FollowLink: true, Archive: true}); err != nil {
		t.Fatal(err)
	}
	if err := Copy(context.Background(), openTree(t, from), "/link", openTree(t, to), "/as-link", CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	want := ". 40755 0:0\nas-link 120777 0:0 -> /etc/real\nlink 104755 7:8 7 " + digestOf([]byte("secret\n")).Short()
	if got := list(t, to); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestCopyStaysInside: a container's links lead nowhere but into the container.
func TestCopyStaysInside(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	run(t, "sh", "-ec", "cd "+base+"; mkdir -p root/tmp outside host root/in; echo alive > outside/canary; echo mine > host/file; ln -s ../../outside root/up; ln -s "+base+"/outside root/abs; ln -s /proc/self/root root/magic; ln -s ../outside/canary root/in/canary")
	before := list(t, filepath.Join(base, "outside"))
	container, host := openTree(t, base+"/root"), openTree(t, base+"/host")
	for _, dst := range []string{"/up/x", "/up", "/abs/x", "/magic/tmp/x", "/magic", "/../../outside/x", "/in/canary"} {
		// Refused or written inside: both are right.
		err := Copy(context.Background(), host, "/file", container, dst, CopyOptions{})
		t.Logf("to %s: %v", dst, err)
	}
	if after := list(t, filepath.Join(base, "outside")); after != before {
		t.Errorf("outside was touched:\n%s", after)
	}
	for _, src := range []string{"/up/canary", "/abs/canary", "/../outside/canary"} {
		if err := Copy(context.Background(), container, src, host, "/stolen", CopyOptions{FollowLink: true}); err == nil {
			if data, err := os.ReadFile(base + "/host/stolen"); err == nil && string(data) == "alive\n" {
				t.Errorf("%s gave away what is outside", src)
			}
		}
	}
}

func TestStat(t *testing.T) {
	dir := t.TempDir()
	run(t, "sh", "-ec", "cd "+dir+"; echo hello > f; chmod 1640 f; ln -s f l; mkdir d")
	tree := openTree(t, dir)
	if st, err := tree.Stat("/f"); err != nil || st.Name != "f" || st.Size != 6 || st.Mode != 0o640|os.ModeSticky {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err := tree.Stat("l"); err != nil || st.LinkTarget != "f" || st.Mode&os.ModeSymlink == 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err := tree.Stat("/"); err != nil || !st.Mode.IsDir() {
		t.Errorf("%+v, %v", st, err)
	}
}
