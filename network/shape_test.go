package network

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestShapeTexts(t *testing.T) {
	for _, c := range []struct {
		texts ShapeTexts
		from  Shape
		want  Shape
		bad   string
	}{
		{texts: ShapeTexts{Rate: "10mbit"}, want: Shape{Rate: 10e6}},
		{texts: ShapeTexts{Rate: "1.5Gbit", Burst: "64kb"}, want: Shape{Rate: 15e8, Burst: 64 << 10}},
		{texts: ShapeTexts{Rate: "9600"}, want: Shape{Rate: 9600}},
		{texts: ShapeTexts{Rate: "1mibit"}, want: Shape{Rate: 1 << 20}},
		{texts: ShapeTexts{Delay: "100ms", Loss: "1.5%"}, want: Shape{Delay: 100 * time.Millisecond, Loss: 1.5}},
		{texts: ShapeTexts{Rate: "0"}, from: Shape{Rate: 1e6, Burst: 9000, Delay: time.Second}, want: Shape{Delay: time.Second}},
		{texts: ShapeTexts{Loss: "2"}, from: Shape{Rate: 1e6}, want: Shape{Rate: 1e6, Loss: 2}},
		{texts: ShapeTexts{Rate: "fast"}, bad: "--net-rate"},
		{texts: ShapeTexts{Rate: "-1mbit"}, bad: "--net-rate"},
		{texts: ShapeTexts{Rate: "1e3"}, bad: "--net-rate"},
		{texts: ShapeTexts{Rate: "infmbit"}, bad: "--net-rate"},
		{texts: ShapeTexts{Rate: "10"}, bad: "8kbit"},
		{texts: ShapeTexts{Burst: "32kb"}, bad: "--net-rate too"},
		{texts: ShapeTexts{Rate: "1mbit", Burst: "9gb"}, bad: "--net-burst"},
		{texts: ShapeTexts{Delay: "100"}, bad: "--net-delay"},
		{texts: ShapeTexts{Delay: "-1s"}, bad: "--net-delay"},
		{texts: ShapeTexts{Loss: "101"}, bad: "--net-loss"},
		{texts: ShapeTexts{Loss: "NaN"}, bad: "--net-loss"},
	} {
		got, err := c.texts.Apply(c.from)
		if c.bad == "" && (err != nil || got != c.want) || c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%+v on %+v: %+v, %v", c.texts, c.from, got, err)
		}
	}
}

func FuzzShapeTexts(f *testing.F) {
	f.Add("10mbit", "32kb", "100ms", "1%")
	f.Fuzz(func(t *testing.T, rate, burst, delay, loss string) {
		s, err := ShapeTexts{rate, burst, delay, loss}.Apply(Shape{})
		if err == nil && (s.Loss < 0 || s.Loss > 100 || s.Delay < 0 || s.Burst != 0 && s.Rate == 0 || s.burst(1500) == 0) {
			t.Errorf("%q %q %q %q: %+v", rate, burst, delay, loss, s)
		}
	})
}

type qdisc struct {
	Kind, Handle string
	Root         bool
	Options      struct {
		Rate  float64 // bytes per second
		Burst float64
	}
}

func qdiscs(t testing.TB, sandbox, link string) []qdisc {
	t.Helper()
	args := []string{"tc"}
	if sandbox != "" {
		args = append(args, "-n", sandbox)
	}
	var all []qdisc
	if err := json.Unmarshal([]byte(run(t, append(args, "-j", "qdisc", "show", "dev", link)...)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// A rate limits both directions, is changed and taken away while the container runs, and comes back with the network.
func TestRate(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	id := containerID("slow")
	sb, err := m.CreateSandbox(context.Background(), "slow", id)
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Attach(context.Background(), sb, EndpointOptions{ContainerID: id, ContainerName: "slow", Network: "br0", Shape: Shape{Rate: 20e6}})
	if err != nil {
		t.Fatal(err)
	}
	limited := func(bytes, burst float64) {
		t.Helper()
		for _, end := range [][2]string{{"", e.HostLink}, {"slow", "eth0"}} {
			q := qdiscs(t, end[0], end[1])
			if len(q) != 1 || q[0].Kind != "tbf" || !q[0].Root || q[0].Options.Rate != bytes || q[0].Options.Burst < burst*0.99 || q[0].Options.Burst > burst*1.01 {
				t.Errorf("%v: %+v; want tbf with %g bytes per second and a burst of %g", end, q, bytes, burst)
			}
		}
	}
	limited(20e6/8, 20e6/8/100)
	for name, got := range map[string]float64{"in": throughput(t, hostDoer{}, sb, "172.20.0.2"), "out": throughput(t, sb, hostDoer{}, "172.20.0.1")} {
		if got == 0 || got > 1.5*20e6 { // on a busy machine it is less
			t.Errorf("%s: %.1f Mbit/s at a rate of 20", name, got/1e6)
		}
	}
	if err := m.Shape(context.Background(), id, "br0", Shape{Rate: 5e9, Burst: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	limited(5e9/8, 1<<20)
	if script, err := m.Plan(context.Background(), "br0"); err != nil || !strings.Contains(script, "tc -n slow qdisc add dev eth0 root handle 1: tbf rate 5000000000bit burst 1048576b latency 50ms\n") {
		t.Errorf("%v, plan:\n%s", err, script)
	}
	if err := m.Shape(context.Background(), id, "br0", Shape{}); err != nil {
		t.Fatal(err)
	}
	if q := qdiscs(t, "", e.HostLink); len(q) != 1 || q[0].Kind != "noqueue" {
		t.Errorf("without a limit: %+v", q)
	}
	if err := m.Shape(context.Background(), id, "br0", Shape{Rate: 1e6, Burst: 1000}); err == nil || !strings.Contains(err.Error(), "one packet") {
		t.Errorf("a burst smaller than a packet: %v", err)
	}
	if err := m.Shape(context.Background(), id, "none", Shape{Rate: 1e6}); err == nil {
		t.Error("a network that the container is not on was shaped")
	}
}

// throughput is bits per second from one namespace to an address in another, for half a second.
func throughput(t testing.TB, from, to doer, address string) float64 {
	t.Helper()
	var l net.Listener
	if err := to.Do(func() (err error) { l, err = net.Listen("tcp", address+":0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	received := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			received <- 0
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		received <- n
	}()
	var c net.Conn
	if err := from.Do(func() (err error) { c, err = net.Dial("tcp", l.Addr().String()); return err }); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	c.SetDeadline(begin.Add(500 * time.Millisecond))
	buf := make([]byte, 16<<10)
	for {
		if _, err := c.Write(buf); err != nil {
			break
		}
	}
	c.Close()
	return float64(<-received) * 8 / time.Since(begin).Seconds()
}

// Delay and loss work where the kernel has netem, and are refused before anything is done where it has not.
func TestDelay(t *testing.T) {
	m := newManager(t)
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	id := containerID("far")
	sb, err := m.CreateSandbox(context.Background(), "far", id)
	if err != nil {
		t.Fatal(err)
	}
	o := EndpointOptions{ContainerID: id, ContainerName: "far", Network: "br0", Shape: Shape{Rate: 50e6, Delay: 80 * time.Millisecond, Loss: 0.1}}
	_, err = m.Attach(context.Background(), sb, o)
	if probe := m.CheckShape(Shape{Delay: time.Millisecond}); probe != nil {
		if err == nil || !strings.Contains(err.Error(), "sch_netem") || !strings.Contains(err.Error(), "--net-delay") {
			t.Errorf("without netem in the kernel: %v", err)
		}
		if eps, _ := m.ContainerEndpoints(id); len(eps) > 0 {
			t.Error("the endpoint was made all the same")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	q := qdiscs(t, "far", "eth0")
	if len(q) != 2 || q[0].Kind != "netem" || q[1].Kind != "tbf" {
		t.Errorf("inside: %+v", q)
	}
	for _, harm := range []string{"true", "tc -n far qdisc del dev eth0 root", "tc -n far qdisc del dev eth0 parent 1:1", "tc -n far qdisc change dev eth0 root netem delay 5ms limit 10000"} {
		run(t, "bash", "-euc", harm)
		if done, err := m.Sync(context.Background(), false); err != nil || (len(done) == 0) != (harm == "true") {
			t.Errorf("%s: %q, %v", harm, done, err)
		}
		if again, err := m.Sync(context.Background(), true); err != nil || len(again) > 0 {
			t.Errorf("%s: a difference is left: %q, %v", harm, again, err)
		}
		if now := qdiscs(t, "far", "eth0"); !slices.Equal(now, q) {
			t.Errorf("%s: was %+v, is %+v", harm, q, now)
		}
	}
	serve(t, sb, "tcp", "172.20.0.2:80", "far")
	begin := time.Now()
	answers(t, hostDoer{}, "tcp", "172.20.0.2:80", "far")
	if d := time.Since(begin); d < 80*time.Millisecond {
		t.Errorf("an answer took %s through a delay of 80 ms", d)
	}
}
