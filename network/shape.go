package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/state"
)

// Shaping makes a fast cable into a slow one. A queueing discipline (tc(8)) stands at the end where packets enter the cable
// and lets them go when it sees fit:
//
//	host                                                container
//	bridge ── veth… ── tbf: what comes in ───────────>  eth0
//	bridge <─────────  what goes out: netem, then tbf ── eth0
//
// The inner one can be changed by a container that has the capability NET_ADMIN; by default none has. Macvlan and ipvlan
// links have no outer end, so there only what goes out is shaped.

// Shape is how one endpoint's traffic is slowed down. The zero value leaves it alone.
type Shape struct {
	Rate  uint64        `json:",omitempty"` // bits per second, in each direction
	Burst uint32        `json:",omitempty"` // bytes that may go at once; 0: chosen from the rate
	Delay time.Duration `json:",omitempty"` // of each packet that the container sends, so a round trip takes it once
	Loss  float64       `json:",omitempty"` // per cent of the packets that the container sends
}

// none says that traffic is left alone.
func (s Shape) none() bool { return s.Rate == 0 && s.Delay == 0 && s.Loss == 0 }

// ShapeTexts are the flags --net-rate, --net-burst, --net-delay and --net-loss. "" leaves a thing as it is, 0 takes it away.
type ShapeTexts struct{ Rate, Burst, Delay, Loss string }

// Empty says that nothing is asked for.
func (t ShapeTexts) Empty() bool { return t == ShapeTexts{} }

// Apply gives what s becomes.
func (t ShapeTexts) Apply(s Shape) (Shape, error) {
	var err error
	if t.Rate != "" {
		if s.Rate, err = parseRate(t.Rate); err != nil {
			return s, err
		}
		if s.Rate == 0 && t.Burst == "" {
			s.Burst = 0
		}
	}
	if t.Burst != "" {
		if s.Burst, err = parseBurst(t.Burst); err != nil {
			return s, err
		}
	}
	if t.Delay != "" {
		if s.Delay, err = parseDelay(t.Delay); err != nil {
			return s, err
		}
	}
	if t.Loss != "" {
		if s.Loss, err = parseLoss(t.Loss); err != nil {
			return s, err
		}
	}
	if s.Burst != 0 && s.Rate == 0 {
		return s, errors.New("a burst (--net-burst) is a burst above a rate: give --net-rate too")
	}
	return s, nil
}

// rateUnits are tc's (tc(8), PARAMETERS): bits by thousands or by 1024s. Its bps, which are bytes, are left out, because
// everybody else writes bits so.
func rateUnits() map[string]float64 {
	return map[string]float64{
		"": 1, "bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12,
		"kibit": 1 << 10, "mibit": 1 << 20, "gibit": 1 << 30, "tibit": 1 << 40,
	}
}

// sizeUnits are tc's for bytes.
func sizeUnits() map[string]float64 {
	return map[string]float64{
		"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20,
		"g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30,
	}
}

// quantity reads a number with a unit.
func quantity(s string, units map[string]float64) (float64, bool) {
	s = strings.ToLower(s)
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyz")
	unit, known := units[s[len(number):]]
	if strings.Trim(number, "0123456789.") != "" { // no sign, no exponent, no inf
		return 0, false
	}
	n, err := strconv.ParseFloat(number, 64)
	return n * unit, known && err == nil
}

func parseRate(s string) (uint64, error) {
	bits, ok := quantity(s, rateUnits())
	if !ok {
		return 0, fmt.Errorf("invalid --net-rate %q: want bits per second, such as 512kbit, 10mbit or 1gbit", s)
	}
	if bits != 0 && (bits < 8e3 || bits > 1e14) {
		return 0, fmt.Errorf("invalid --net-rate %q: from 8kbit to 100tbit are possible, or 0 for no limit", s)
	}
	return uint64(bits), nil
}

func parseBurst(s string) (uint32, error) {
	bytes, ok := quantity(s, sizeUnits())
	if !ok || bytes > math.MaxUint32 {
		return 0, fmt.Errorf("invalid --net-burst %q: want bytes, such as 32kb or 1mb", s)
	}
	return uint32(bytes), nil
}

func parseDelay(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 4*time.Minute { // the kernel counts in 32 bits of 64 ns
		return 0, fmt.Errorf("invalid --net-delay %q: want a time with its unit, such as 100ms or 1.5s, at most 4m", s)
	}
	return d.Truncate(time.Microsecond), nil
}

func parseLoss(s string) (float64, error) {
	p, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(p >= 0 && p <= 100) { // not so NaN
		return 0, fmt.Errorf("invalid --net-loss %q: want per cent, such as 1%% or 0.5%%", s)
	}
	return p, nil
}

// CheckShape refuses what this kernel cannot do, by trying it where it has no effect.
func (m *Manager) CheckShape(s Shape) error {
	if s.Rate != 0 {
		if err := probeQdisc(setRate{Link: "lo", Rate: 1e6, Burst: 1 << 16}, "tbf", "--net-rate"); err != nil {
			return err
		}
	}
	if s.Delay != 0 || s.Loss != 0 {
		return probeQdisc(setNetem{Link: "lo", Delay: time.Millisecond}, "netem", "--net-delay and --net-loss")
	}
	return nil
}

// probeQdisc does an operation on the lo of a namespace that is thrown away. Nothing short of making a queueing discipline
// tells whether the kernel has it, or can load it.
func probeQdisc(op operation, kind, flags string) error {
	return onLockedThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		k := &kernel{}
		defer k.close()
		err := op.apply(context.Background(), k)
		if errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: this kernel has no queueing discipline %s (module sch_%s, CONFIG_NET_SCH_%s): load it with `modprobe sch_%s`, or use a kernel that is built with it",
				flags, kind, kind, strings.ToUpper(kind), kind)
		}
		return err
	})
}

// check finds what would drop every packet: a burst that is smaller than one.
func (s Shape) check(mtu int) error {
	if s.Burst != 0 && int64(s.Burst) < int64(mtu)+ethernetHeader {
		return fmt.Errorf("a burst of %d bytes is smaller than one packet, of %d bytes: nothing would get through; give a larger --net-burst", s.Burst, mtu+ethernetHeader)
	}
	return nil
}

const ethernetHeader = 14 // bytes

// burst is what may go at once: what is asked for, or what the rate gives in 10 ms, but at least ten packets, so that short
// exchanges are not slowed down by the limit.
func (s Shape) burst(mtu int) uint32 {
	if s.Burst != 0 {
		return s.Burst
	}
	return uint32(max(min(s.Rate/8/100, 64<<20), uint64(10*(mtu+ethernetHeader))))
}

// shapePlan shapes an endpoint whose links have no queueing discipline yet.
func shapePlan(e *Endpoint, sb *Sandbox) (ops []operation) {
	s := e.Shape
	rate := setRate{Rate: s.Rate, Burst: s.burst(e.MTU)}
	if s.Rate != 0 && e.HostLink != "" {
		in := rate
		in.Link, in.Reason = e.HostLink, "what comes to the container passes here"
		ops = append(ops, in)
	}
	out := rate
	out.Sandbox, out.Path, out.Link, out.Reason = sb.Name, sb.Path, e.Interface, "what the container sends passes here"
	if s.Delay != 0 || s.Loss != 0 {
		ops = append(ops, setNetem{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface, Delay: s.Delay, Loss: s.Loss})
		out.Below = true
	}
	if s.Rate != 0 {
		ops = append(ops, out)
	}
	return ops
}

// unshapePlan gives both ends back to what they were born with.
func unshapePlan(e *Endpoint, sb *Sandbox) (ops []operation) {
	if e.HostLink != "" {
		ops = append(ops, clearQdisc{Link: e.HostLink})
	}
	return append(ops, clearQdisc{Sandbox: sb.Name, Path: sb.Path, Link: e.Interface})
}

// Shape changes how the traffic of a container that is on a network is slowed down.
func (m *Manager) Shape(ctx context.Context, containerID, ref string, s Shape) error {
	n, err := m.Network(ref)
	if err != nil {
		return err
	}
	e := new(Endpoint)
	err = state.ReadJSON(m.endpointPath(n.ID, containerID), e)
	if errors.Is(err, fs.ErrNotExist) {
		return absent("container %s is not connected to network %s", short(containerID), n.Name)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(s.check(e.MTU), m.CheckShape(s)); err != nil {
		return err
	}
	sb, err := m.Sandbox(containerID)
	if err != nil {
		return err
	}
	x := m.executor()
	defer x.close()
	var ops []operation
	if !e.Shape.none() {
		ops = unshapePlan(e, sb)
	}
	e.Shape = s
	if err := m.saveEndpoint(e); err != nil {
		return err
	}
	if err := m.run(ctx, x, append(ops, shapePlan(e, sb)...)...); err != nil {
		return fmt.Errorf("shape the traffic of %s on network %s: %w", e.ContainerName, n.Name, err)
	}
	return nil
}

// setRate is the token bucket filter, tc-tbf(8): tokens come at the rate, at most the burst of them are kept, and a packet
// needs one for each byte. What has to wait longer than 50 ms is dropped, which is what tells TCP to slow down.
type setRate struct {
	Sandbox, Path, Link string
	Below               bool   // behind netem, not in its place
	Rate                uint64 // bits per second
	Burst               uint32 // bytes
	Reason              string
}

const tbfPatience = 50 * time.Millisecond

func (o setRate) Command() string {
	where := "root handle 1:"
	if o.Below {
		where = "parent 1:1 handle 10:"
	}
	return fmt.Sprintf("%sqdisc add dev %s %s tbf rate %dbit burst %db latency %s", tc(o.Sandbox), o.Link, where, o.Rate, o.Burst, tbfPatience)
}
func (o setRate) Why() string { return "a limit of the rate: " + o.Reason }

func (o setRate) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	return wrap(h.QdiscAdd(o.qdisc(l)), "limit the rate of %s", o.Link)
}

func (o setRate) qdisc(l netlink.Link) *netlink.Tbf {
	attrs := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}
	if o.Below {
		attrs.Parent, attrs.Handle = netlink.MakeHandle(1, 1), netlink.MakeHandle(10, 0)
	}
	bytes := o.Rate / 8
	limit := min(float64(bytes)*tbfPatience.Seconds()+float64(o.Burst), math.MaxUint32)
	return &netlink.Tbf{
		QdiscAttrs: attrs, Rate: bytes, Limit: uint32(limit),
		Buffer: netlink.Xmittime(bytes, o.Burst), // the kernel counts a burst as the time that it takes at the rate
	}
}

// setNetem is the network emulator, tc-netem(8).
type setNetem struct {
	Sandbox, Path, Link string
	Delay               time.Duration
	Loss                float64 // per cent
}

// netemLimit is how many packets may be under way; the emulator's own 1000 would be a limit of the rate.
const netemLimit = 10000

func (o setNetem) Command() string {
	s := fmt.Sprintf("%sqdisc add dev %s root handle 1: netem limit %d", tc(o.Sandbox), o.Link, netemLimit)
	if o.Delay != 0 {
		s += fmt.Sprintf(" delay %dus", o.Delay.Microseconds())
	}
	if o.Loss != 0 {
		s += fmt.Sprintf(" loss %s%%", strconv.FormatFloat(o.Loss, 'f', -1, 64))
	}
	return s
}
func (o setNetem) Why() string {
	return "a long or a bad line: what the container sends is held back, or lost"
}

func (o setNetem) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	return wrap(h.QdiscAdd(o.qdisc(l)), "slow down %s", o.Link)
}

func (o setNetem) qdisc(l netlink.Link) *netlink.Netem {
	return netlink.NewNetem(
		netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)},
		netlink.NetemQdiscAttrs{Latency: uint32(o.Delay.Microseconds()), Loss: float32(o.Loss), Limit: netemLimit},
	)
}

// clearQdisc takes a link's queueing discipline away. Absent is success.
type clearQdisc struct{ Sandbox, Path, Link string }

func (o clearQdisc) Command() string { return tc(o.Sandbox) + "qdisc del dev " + o.Link + " root" }
func (o clearQdisc) Why() string     { return "the cable is as fast as it was made" }

func (o clearQdisc) apply(_ context.Context, k *kernel) error {
	l, h, err := k.link(o.Path, o.Link)
	if err != nil {
		return err
	}
	err = h.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_ROOT}})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return wrap(err, "take the shaping off %s", o.Link)
}

// tc is in for tc.
func tc(sandbox string) string { return "tc" + strings.TrimPrefix(in(sandbox), "ip") }
