package engine

import (
	"slices"
	"testing"

	"github.com/mydocker/mydocker/container"
)

// The kernel knows no names of file servers, and takes passwords in the open.
func TestVolumeServers(t *testing.T) {
	for _, c := range []struct {
		in     container.HostFilesystem
		device string
		words  []string
	}{
		{container.HostFilesystem{Type: "nfs", Device: ":/export", Words: []string{"rw", "addr=127.0.0.9"}}, ":/export", []string{"rw", "addr=127.0.0.9"}},
		{container.HostFilesystem{Type: "nfs", Device: ":/export", Words: []string{"addr=localhost", "rw"}}, ":/export", []string{"addr=127.0.0.1", "rw"}},
		{container.HostFilesystem{Type: "cifs", Device: "//localhost/share/x", Words: []string{"ro"}}, "//127.0.0.1/share/x", []string{"ro"}},
		{container.HostFilesystem{Type: "cifs", Device: "//files/share", Words: []string{"addr=localhost"}}, "//files/share", []string{"addr=127.0.0.1"}},
		{container.HostFilesystem{Type: "ext4", Device: "/dev/x", Words: []string{"addr=localhost"}}, "/dev/x", []string{"addr=localhost"}},
	} {
		got := c.in
		got.Words = slices.Clone(c.in.Words)
		if err := resolveServer(&got); err != nil || got.Device != c.device || !slices.Equal(got.Words, c.words) {
			t.Errorf("%v becomes %v, %v; want %s %v", c.in, got, err, c.device, c.words)
		}
	}
	for in, want := range map[string]string{
		"mount -t cifs -o username=u,password=s3cret,ro //1.2.3.4/x /y": "mount -t cifs -o username=u,password=********,ro //1.2.3.4/x /y",
		"mount -t cifs -o password=s3cret //1.2.3.4/x /y":               "mount -t cifs -o password=******** //1.2.3.4/x /y",
		"mount -t tmpfs tmpfs /y":                                       "mount -t tmpfs tmpfs /y",
	} {
		if got := hidePassword(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
}
