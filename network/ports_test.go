package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParsePort(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"80", "0.0.0.0:0->80/tcp"},
		{"8080:80", "0.0.0.0:8080->80/tcp"},
		{"8080:80/udp", "0.0.0.0:8080->80/udp"},
		{"8080:80/TCP", "0.0.0.0:8080->80/tcp"},
		{"127.0.0.1:8080:80", "127.0.0.1:8080->80/tcp"},
		{"127.0.0.1::80", "127.0.0.1:0->80/tcp"},
		{"0.0.0.0:8080:80", "0.0.0.0:8080->80/tcp"},
		{"[::1]:8080:80", "[::1]:8080->80/tcp"},
		{"::1:8080:80", "[::1]:8080->80/tcp"}, // as Docker reads it: the address is what stands before the ports
		{"[::1]::80/udp", "[::1]:0->80/udp"},
		{"0:80", "0.0.0.0:0->80/tcp"},
		{"127.0.0.1:0:80", "127.0.0.1:0->80/tcp"},
		{":8080:80", "0.0.0.0:8080->80/tcp"},
		{"8000-8009:9000-9009", "0.0.0.0:8000-8009->9000-9009/tcp"},
		{"80-81", "0.0.0.0:0->80/tcp 0.0.0.0:0->81/tcp"},
		{"53:53/sctp", "0.0.0.0:53->53/sctp"},
		{"8000-8010:80", "0.0.0.0:8000->80/tcp"},
	} {
		ports, err := ParsePort(c.in)
		var got []string
		for _, p := range ports {
			got = append(got, p.String())
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, %v; want %s", c.in, got, err, c.want)
		}
	}
	for _, bad := range []string{"", ":", "::", "0", "65536", "80:", "a:80", "80:a", "80/icmp", "1.2.3:80:80", "80-70", "1-2:3-5",
		"-1:80", "+1:80", "1:2:3:4", "[::1]:80", "[::1", "[127.0.0.1]:80:80", "[::1]80:80", "0:80-81x", "0-1:80-81", "8080:80/", " 80", "80 ", "[fe80::1%eth0]:80:80", "8080:0"} {
		if ports, err := ParsePort(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, ports)
		}
	}
}

func FuzzParsePort(f *testing.F) {
	for _, s := range []string{"80", "8080:80", "127.0.0.1:8000-8009:9000-9009/udp", "[::1]::80/sctp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := ParsePort(s)
		if err != nil {
			return
		}
		for _, p := range ports {
			if p.Count < 1 || p.ContainerPort == 0 || int(p.ContainerPort)+int(p.Count) > 65536 || int(p.HostPort)+int(p.Count) > 65536 {
				t.Errorf("%q: %+v", s, p)
			}
		}
	})
}

// A published port cannot be taken by anybody else, whoever tries, and the refusal names the holder.
func TestPortClash(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0"})
	web := start(t, m, "web", "br0", "8080:80", "127.0.0.1:9090:90", "7000-7004:7000-7004", "5353:53/udp")
	clash := func(port, who string) {
		t.Helper()
		_, err := tryStart(m, "second", "br0", port)
		var held *PortTaken
		if !errors.As(err, &held) || held.ContainerName != who || !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "port is already allocated") {
			t.Errorf("%s: %v", port, err)
		}
	}
	clash("8080:80", "web")
	clash("127.0.0.1:8080:80", "web")
	clash("9090:80", "web")
	clash("7002:80", "web")
	clash("6998-7001:80-83", "web")
	clash("5353:53/udp", "web")
	for _, ok := range []string{"8080:80/udp", "10.99.0.1:9090:90"} {
		c, err := tryStart(m, "second", "br0", ok)
		if err != nil {
			t.Errorf("%s: %v", ok, err)
			continue
		}
		c.closeHeld()
		if err := m.Release(context.Background(), c.id); err != nil {
			t.Error(err)
		}
	}
	// The run that stopped half-way has given back what it had.
	if c, err := tryStart(m, "second", "br0", "6998-6999:80-81"); err != nil {
		t.Error(err)
	} else {
		c.closeHeld()
	}
	// Other programs, even with SO_REUSEADDR, which Go's net.Listen sets.
	for _, address := range []string{":8080", "127.0.0.1:8080", "0.0.0.0:8080", "127.0.0.1:9090", ":7003"} {
		if l, err := net.Listen("tcp", address); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s could be taken: %v %v", address, l, err)
		}
	}
	if c, err := net.ListenPacket("udp", ":5353"); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("udp 5353 could be taken: %v %v", c, err)
	}
	web.closeHeld()
	if err := m.Release(context.Background(), web.id); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	defer l.Close()
	_, err = tryStart(m, "third", "br0", "8080:80")
	var held *PortTaken
	if !errors.As(err, &held) || held.PID != os.Getpid() || held.Program != strings.TrimSpace(run(t, "cat", fmt.Sprintf("/proc/%d/comm", os.Getpid()))) {
		t.Errorf("a port of another program: %v", err)
	}
	if _, err := tryStart(m, "third", "br0", "10.1.2.3:80:80"); err == nil || !strings.Contains(err.Error(), "not an address of this host") {
		t.Errorf("a foreign address: %v", err)
	}
}

// A port whose former user left connections in TIME_WAIT can be published at once.
func TestPortInTimeWait(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0"})
	l, err := net.Listen("tcp4", "127.0.0.1:8099")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", "127.0.0.1:8099")
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close() // who closes first waits
	c.Close()
	l.Close()
	if out := run(t, "ss", "-tan", "state", "time-wait", "sport", "=", "8099"); !strings.Contains(out, "8099") {
		t.Fatalf("nobody waits:\n%s", out)
	}
	start(t, m, "web", "br0", "8099:80")
}

func TestChosenPorts(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0"})
	web := start(t, m, "web", "br0", "80", "81/udp", "8000-8003:82")
	two := start(t, m, "two", "br0", "80", "8000-8003:82")
	if p := web.Ports; p[0].HostPort < 32768 || p[1].HostPort < 32768 || p[2].HostPort != 8000 {
		t.Errorf("chosen: %v", p)
	}
	if p := two.Ports; p[0].HostPort == web.Ports[0].HostPort || p[1].HostPort != 8001 {
		t.Errorf("chosen: %v", p)
	}
	serve(t, web, "tcp4", ":82", "web")
	serve(t, two, "tcp4", ":82", "two")
	answers(t, lan(), "tcp4", "10.99.0.1:8000", "web")
	answers(t, lan(), "tcp4", "10.99.0.1:8001", "two")
}

// The monitor is gone, the container lives on: its port is still its own.
func TestClaimOutlivesMonitor(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0"})
	start(t, m, "web", "br0", "8080:80").closeHeld()
	_, err := tryStart(m, "second", "br0", "8080:80")
	var held *PortTaken
	if !errors.As(err, &held) || held.ContainerName != "web" {
		t.Errorf("%v", err)
	}
	if out, err := exec.Command("ip", "-n", "second", "link", "show", "eth0").CombinedOutput(); err == nil {
		t.Errorf("the refused container has a link:\n%s", out)
	}
}
