package engine

import (
	"bytes"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/network"
)

func TestMergeImage(t *testing.T) {
	img := image.ContainerConfig{
		Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}, Env: []string{"A=image", "B=image"}, WorkingDir: "/srv", User: "www",
		ExposedPorts: map[string]struct{}{"80/tcp": {}}, Volumes: map[string]struct{}{"/data": {}}, StopSignal: "SIGQUIT",
		Labels: map[string]string{"from": "image", "kept": "yes"},
	}
	for name, c := range map[string]struct {
		opts    CreateOptions
		command string
	}{
		"nothing given":          {CreateOptions{}, "/entry serve"},
		"arguments":              {CreateOptions{Args: []string{"-x", "y z"}}, "/entry -x 'y z'"},
		"entrypoint":             {CreateOptions{Entrypoint: []string{"sh"}}, "sh"},
		"entrypoint and args":    {CreateOptions{Entrypoint: []string{"sh"}, Args: []string{"-c", "id"}}, "sh -c id"},
		"entrypoint taken away":  {CreateOptions{Entrypoint: []string{""}, Args: []string{"id"}}, "id"},
		"arguments with dashes":  {CreateOptions{Args: []string{"-uroot", "-psecret", "--host=db"}}, "/entry -uroot -psecret --host=db"},
		"argument that is empty": {CreateOptions{Args: []string{""}}, "/entry "},
	} {
		d := &Definition{ID: strings.Repeat("a", 64), Options: c.opts}
		if err := mergeImage(d, img); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := commandLine(d.Command()); got != c.command {
			t.Errorf("%s: command %s, want %s", name, got, c.command)
		}
	}
	d := &Definition{ID: strings.Repeat("a", 64), Options: CreateOptions{Env: []string{"B=mine", "C=mine"}, Labels: map[string]string{"from": "me"}}}
	if err := mergeImage(d, img); err != nil {
		t.Fatal(err)
	}
	o := d.Options
	if want := []string{"A=image", "B=mine", "C=mine"}; !reflect.DeepEqual(o.Env, want) {
		t.Errorf("Env %q, want %q", o.Env, want)
	}
	if o.WorkingDir != "/srv" || o.User != "www" || o.StopSignal != "SIGQUIT" || o.Hostname != "aaaaaaaaaaaa" {
		t.Errorf("got %+v", o)
	}
	if o.Labels["from"] != "me" || o.Labels["kept"] != "yes" {
		t.Errorf("Labels %v", o.Labels)
	}
	if len(o.Mounts) != 1 || o.Mounts[0].Target != "/data" || o.Mounts[0].Type != "volume" {
		t.Errorf("Mounts %+v", o.Mounts)
	}
}

func TestMergeImageRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		opts CreateOptions
		img  image.ContainerConfig
		say  string
	}{
		"no command":          {CreateOptions{}, image.ContainerConfig{}, "no command specified"},
		"relative workdir":    {CreateOptions{WorkingDir: "srv"}, image.ContainerConfig{Cmd: []string{"x"}}, "absolute"},
		"unknown stop signal": {CreateOptions{StopSignal: "SIGFOO"}, image.ContainerConfig{Cmd: []string{"x"}}, "invalid signal"},
		"two mounts in one place": {CreateOptions{Mounts: []Mount{{Type: "tmpfs", Target: "/a"}, {Type: "tmpfs", Target: "/a/"}}},
			image.ContainerConfig{Cmd: []string{"x"}}, "duplicate mount point"},
		"a mount over the root": {CreateOptions{Mounts: []Mount{{Type: "tmpfs", Target: "/"}}}, image.ContainerConfig{Cmd: []string{"x"}}, "other than /"},
	} {
		d := &Definition{ID: strings.Repeat("a", 64), Options: c.opts}
		if err := mergeImage(d, c.img); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v, want something with %q", name, err, c.say)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]unix.Signal{"9": 9, "KILL": 9, "sigkill": 9, "SIGTERM": 15, "usr1": 10, "SIGRTMIN+3": 37, "RTMAX-1": 63, "RTMIN": 34} {
		if got, err := ParseSignal(s); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "0", "65", "-1", "FOO", "SIGRTMIN+99", "RTMIN+x", "9x"} {
		if got, err := ParseSignal(s); err == nil {
			t.Errorf("%q is taken for signal %d", s, got)
		}
	}
}

func TestDetachKeys(t *testing.T) {
	for _, c := range []struct {
		keys     string
		typed    []string
		through  string
		detached bool
	}{
		{"", []string{"hello"}, "hello", false},
		{"", []string{"hi\x10\x11never"}, "hi", true},
		{"", []string{"hi\x10", "\x11"}, "hi", true},
		{"", []string{"\x10", "x\x10\x11"}, "\x10x", true},
		{"", []string{"\x10\x10\x11"}, "\x10", true},
		{"ctrl-e,e", []string{"e\x05e"}, "e", true},
		{"q", []string{"abq"}, "ab", true},
		{"ctrl-[", []string{"a\x1b"}, "a", true},
	} {
		k, err := parseDetachKeys(c.keys, true)
		if err != nil {
			t.Fatal(err)
		}
		var through bytes.Buffer
		var detached bool
		for _, p := range c.typed {
			out, d := k.filter([]byte(p))
			through.Write(out)
			if detached = d; d {
				break
			}
		}
		if through.String() != c.through || detached != c.detached {
			t.Errorf("%q typed with keys %q: %q, %v; want %q, %v", c.typed, c.keys, through.String(), detached, c.through, c.detached)
		}
	}
	if k, err := parseDetachKeys("", false); err != nil || len(k.seq) != 0 {
		t.Errorf("bytes from a pipe have keys: %v, %v", k, err)
	}
	for _, bad := range []string{"ctrl-", "ctrl-1", "ab", "ctrl-p,,q"} {
		if _, err := parseDetachKeys(bad, true); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := &frameWriter{w: &b}
	long := strings.Repeat("x", 70000)
	for _, s := range []string{"", "a", long} {
		if err := w.frame(frameStdout, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	var buf []byte
	for _, want := range []string{"", "a", long} {
		kind, p, grown, err := readFrame(&b, buf)
		if err != nil || kind != frameStdout || string(p) != want {
			t.Fatalf("got %c, %d bytes, %v; want %d bytes", kind, len(p), err, len(want))
		}
		buf = grown
	}
	if _, _, _, err := readFrame(strings.NewReader("o\xff\xff\xff\xff"), nil); err == nil {
		t.Error("a frame of 4 GB is accepted")
	}
	if _, _, _, err := readFrame(strings.NewReader("o\x00\x00\x00\x05abc"), nil); err == nil {
		t.Error("a frame that was cut off is accepted")
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"web", "a1", "A.b_c-d", randomName(), newID()} {
		if err := validName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "a", "-web", "we b", "../x", "a/b", ".hidden", strings.Repeat("x", 129), "ü1"} {
		if validName(bad) == nil {
			t.Errorf("%q is a valid name", bad)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	got := mergeEnv([]string{"A=1", "B=2"}, []string{"B=3", "C=x=y,z"}, []string{"A="})
	if want := []string{"A=", "B=3", "C=x=y,z"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("o\x00\x00\x00\x01a"))
	f.Fuzz(func(t *testing.T, p []byte) {
		_, content, _, err := readFrame(bytes.NewReader(p), nil)
		if err == nil && len(content)+5 > len(p) {
			t.Fatalf("%d bytes out of %d", len(content), len(p))
		}
	})
}

// Chosen host ports stay when ports move; who has asked for an address, or for a number, is not taken for somebody else.
func TestWithNumbers(t *testing.T) {
	all, at := netip.Addr{}, netip.MustParseAddr
	port := func(ip netip.Addr, host, end, inner uint16) network.PortMapping {
		return network.PortMapping{HostIP: ip, HostPort: host, HostPortEnd: end, ContainerPort: inner, Count: 1, Proto: "tcp"}
	}
	four, six := port(all, 40001, 0, 80).Halves()
	_, lone := port(all, 40009, 0, 81).Halves()
	before := []*network.Endpoint{
		{Ports: []network.PortMapping{four, port(at("127.0.0.1"), 40002, 0, 80), port(all, 9000, 0, 80), port(all, 8003, 0, 80)}},
		{Ports: []network.PortMapping{six, lone, port(at("fd99::1"), 40003, 0, 80)}},
	}
	asked := []network.PortMapping{
		port(all, 0, 0, 80), port(all, 8000, 8009, 80), port(all, 9000, 0, 80), port(at("127.0.0.1"), 0, 0, 80), port(at("fd99::1"), 0, 0, 80),
		port(all, 0, 0, 81), port(all, 0, 0, 82), port(at("10.0.0.1"), 0, 0, 80),
	}
	var got []uint16
	for i, p := range withNumbers(asked, before) {
		if got = append(got, p.HostPort); p.HostIP != asked[i].HostIP || p.HostPortEnd != 0 || p.Split {
			t.Errorf("%v is not as it was asked for, %v, with a number", p, asked[i])
		}
	}
	if want := []uint16{40001, 8003, 9000, 40002, 40003, 40009, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
