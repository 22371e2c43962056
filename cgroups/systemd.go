package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/plan"
)

// On a host whose init is systemd, systemd wants to be the only one who makes groups below its slices, and engines ask for
// that (--systemd-cgroup). A container's group is then a scope: a unit of processes that somebody else started. systemd is
// told over D-Bus of the scope, its slice and its limits; everything else goes by the files, as without it.
//
// See it live: `systemctl status UNIT`, `systemd-cgls`.

// SystemdGroup is a group that systemd makes.
type SystemdGroup struct {
	Manager // the same group by its files
	scope   Scope
	watch   plan.Watcher
	extra   []property // of the config's annotations (systemd_annotations.go)
	// Holder is a process to make the scope with: systemd makes no empty one. It may end when another process lives there.
	Holder int
}

// Scope names a scope and the slice that it is in.
type Scope struct{ Slice, Unit string }

// ParseScope reads the cgroupsPath of a config for systemd: SLICE:PREFIX:NAME, or nothing. id is the container's.
func ParseScope(cgroupsPath, id string) (Scope, error) {
	if cgroupsPath == "" {
		cgroupsPath = "system.slice:mydocker-runtime:" + id
	}
	part := strings.Split(cgroupsPath, ":")
	if len(part) != 3 {
		return Scope{}, fmt.Errorf("linux.cgroupsPath: expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got %q instead", cgroupsPath)
	}
	s := Scope{Slice: part[0], Unit: part[2] + ".scope"}
	if s.Slice == "" {
		s.Slice = "system.slice"
	}
	if part[1] != "" {
		s.Unit = part[1] + "-" + s.Unit
	}
	if strings.HasSuffix(part[2], ".slice") {
		return Scope{}, fmt.Errorf("linux.cgroupsPath: %q names a slice, and a container needs a scope", cgroupsPath)
	}
	if part[2] == "" || strings.ContainsAny(s.Unit, "/ \t\n") {
		return Scope{}, fmt.Errorf("linux.cgroupsPath: %q has no name that could be a unit's", cgroupsPath)
	}
	_, err := s.Path()
	return s, err
}

// Path is the group below the cgroup mounts: the slice a-b.slice is in a.slice (systemd.slice(5)).
func (s Scope) Path() (string, error) {
	name, ok := strings.CutSuffix(s.Slice, ".slice")
	if !ok || strings.ContainsAny(name, "/ \t\n") || strings.HasPrefix(name, "-") && name != "-" || strings.HasSuffix(name, "-") && name != "-" || strings.Contains(name, "--") || name == "" {
		return "", fmt.Errorf("linux.cgroupsPath: %q is not the name of a slice", s.Slice)
	}
	dir := "/"
	if name != "-" { // the root slice
		for i := range len(name) + 1 {
			if i == len(name) || name[i] == '-' {
				dir = path.Join(dir, name[:i]+".slice")
			}
		}
	}
	return path.Join(dir, s.Unit), nil
}

// OpenScope names a scope's group; it has no effect.
func OpenScope(s Scope, w plan.Watcher) (*SystemdGroup, error) {
	where, err := s.Path()
	if err != nil {
		return nil, err
	}
	files, err := Open(where, w)
	if err != nil {
		return nil, err
	}
	return &SystemdGroup{Manager: files, scope: s, watch: w}, nil
}

// connect reaches systemd: over its own socket, which needs no bus, or over the bus.
func connect() (*dbus.Conn, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil, fmt.Errorf("systemd is not this host's init (%w): let the engine use the cgroupfs driver, without --systemd-cgroup", err)
	}
	conn, err := dbus.Dial("unix:path=/run/systemd/private")
	if err == nil {
		if err = conn.Auth(nil); err == nil {
			return conn, nil
		}
		conn.Close()
	}
	bus, busErr := dbus.ConnectSystemBus()
	if busErr != nil {
		return nil, fmt.Errorf("reach systemd: %w", errors.Join(err, busErr))
	}
	return bus, nil
}

// property is a name and a value, as D-Bus wants them: a(sv).
type property struct {
	Name  string
	Value dbus.Variant
}

type auxiliary struct {
	Name       string
	Properties []property
}

// words writes properties as a command line has them, each behind a word.
func words(before string, list []property) (text string) {
	for _, p := range list {
		text += before + p.Name + "=" + p.Value.String()
	}
	return text
}

// systemdPatience is how long an answer of systemd may take.
const systemdPatience = 20 * time.Second

// again asks once more where no answer came: for calls that may be made twice.
func again(method string, args ...any) error {
	err := call(method, args...)
	if errors.Is(err, context.DeadlineExceeded) {
		err = call(method, args...)
	}
	return err
}

// call talks to systemd's manager object. Absent is reported as fs.ErrNotExist.
func call(method string, args ...any) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	manager := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	ctx, cancel := context.WithTimeout(context.Background(), systemdPatience)
	defer cancel()
	err = awaitAnswer(manager, manager.GoWithContext(ctx, "org.freedesktop.systemd1.Manager."+method, 0, make(chan *dbus.Call, 1), args...))
	var answer dbus.Error
	if errors.As(err, &answer) && (answer.Name == "org.freedesktop.systemd1.NoSuchUnit" || strings.HasSuffix(answer.Name, "UnknownObject")) {
		return fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("systemd: %s: %w", method, err)
	}
	return nil
}

// awaitAnswer waits for the answer to the first message of a connection. systemd may have read that message together with the end
// of the greeting, and then looks at it only when more comes: so more is sent, a question that needs no answer.
func awaitAnswer(manager dbus.BusObject, first *dbus.Call) error {
	nudge := time.NewTicker(100 * time.Millisecond)
	defer nudge.Stop()
	for {
		select {
		case answered := <-first.Done:
			return answered.Err
		case <-nudge.C:
			manager.Go("org.freedesktop.DBus.Peer.Ping", dbus.FlagNoReplyExpected, nil)
		}
	}
}

// Create has systemd make the scope around the holder: `systemd-run --scope --slice=SLICE --unit=UNIT -p Delegate=yes`.
func (g *SystemdGroup) Create() error {
	if g.Holder == 0 {
		return fmt.Errorf("scope %s: systemd makes no empty scope", g.scope.Unit)
	}
	properties := []property{
		{"Description", dbus.MakeVariant("mydocker container " + strings.TrimSuffix(g.scope.Unit, ".scope"))},
		{"Slice", dbus.MakeVariant(g.scope.Slice)},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(g.Holder)})},
		{"Delegate", dbus.MakeVariant(true)},
		{"DefaultDependencies", dbus.MakeVariant(false)},
		{"CPUAccounting", dbus.MakeVariant(true)},
		{"MemoryAccounting", dbus.MakeVariant(true)},
		{"TasksAccounting", dbus.MakeVariant(true)},
		{"IOAccounting", dbus.MakeVariant(true)},
	}
	properties = append(properties, g.extra...)
	op := plan.Step{Cmd: "systemd-run --scope --slice=" + g.scope.Slice + " --unit=" + g.scope.Unit + " -p Delegate=yes" + words(" -p ", g.extra), Reason: "the container's group, as systemd makes it"}
	err := plan.Do(g.watch, op, func() error {
		if err := call("StartTransientUnit", g.scope.Unit, "fail", properties, []auxiliary{}); err != nil {
			return err
		}
		return g.awaitHolder()
	})
	if err != nil {
		return fmt.Errorf("create scope %s: %w", g.scope.Unit, err)
	}
	return g.Manager.Create() // version 1: systemd makes the group in its own tree only
}

// awaitHolder returns when systemd has moved the holder.
func (g *SystemdGroup) awaitHolder() error {
	want := ":" + g.Path() + "\n"
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", g.Holder))
		if err != nil {
			return err
		}
		if strings.Contains(string(text), want) {
			return nil
		}
	}
	return errors.New("systemd has taken the request and does not do it: see `systemctl list-jobs`")
}

// Set tells systemd the limits that it has words for, or it would set its own at the next `systemctl daemon-reload`, and
// writes all of them.
func (g *SystemdGroup) Set(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	v2, err := IsV2()
	if err == nil {
		r, err = g.completed(r)
	}
	if err != nil {
		return err
	}
	list := scopeProperties(r, v2)
	if len(list) > 0 {
		op := plan.Step{Cmd: "systemctl set-property --runtime " + g.scope.Unit + words(" ", list), Reason: "systemd knows the limits, and keeps them"}
		err := plan.Do(g.watch, op, func() error { return call("SetUnitProperties", g.scope.Unit, true, list) })
		if err != nil {
			return fmt.Errorf("limit scope %s: %w", g.scope.Unit, err)
		}
	}
	return g.Manager.Set(r)
}

// scopeProperties says limits in systemd's words: systemd.resource-control(5).
func scopeProperties(r *specs.LinuxResources, v2 bool) (list []property) {
	add := func(name string, value any) { list = append(list, property{name, dbus.MakeVariant(value)}) }
	limit := func(n int64) uint64 {
		if n < 0 {
			return ^uint64(0) // infinity
		}
		return uint64(n)
	}
	if m := r.Memory; m != nil {
		if m.Limit != nil && *m.Limit != 0 {
			add(map[bool]string{true: "MemoryMax", false: "MemoryLimit"}[v2], limit(*m.Limit))
		}
		if v2 && m.Reservation != nil && *m.Reservation != 0 {
			add("MemoryLow", limit(*m.Reservation))
		}
		if v2 && m.Swap != nil && *m.Swap != 0 {
			swap := *m.Swap
			if swap > 0 && m.Limit != nil {
				swap = max(swap-*m.Limit, 0)
			}
			add("MemorySwapMax", limit(swap))
		}
	}
	if c := r.CPU; c != nil {
		if c.Shares != nil && *c.Shares != 0 {
			if v2 {
				add("CPUWeight", weightOfShares(*c.Shares))
			} else {
				add("CPUShares", *c.Shares)
			}
		}
		if c.Quota != nil && *c.Quota != 0 || c.Period != nil && *c.Period != 0 {
			period, perSecond := uint64(100000), ^uint64(0)
			if c.Period != nil && *c.Period != 0 {
				period = *c.Period
			}
			if c.Quota != nil && *c.Quota > 0 {
				perSecond = uint64(*c.Quota) * 1000000 / period
				if rest := perSecond % 10000; rest != 0 { // systemd counts in whole percents
					perSecond += 10000 - rest
				}
			}
			add("CPUQuotaPeriodUSec", period)
			add("CPUQuotaPerSecUSec", perSecond)
		}
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		n := *r.Pids.Limit
		if n == 0 {
			n = -1
		}
		add("TasksMax", limit(n))
	}
	return slices.Clip(list)
}

// Delete kills what is left, and has systemd forget the scope. Absent is success.
func (g *SystemdGroup) Delete() error {
	if err := g.Signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("delete scope %s: %w", g.scope.Unit, err)
	}
	op := plan.Step{Cmd: "systemctl stop " + g.scope.Unit, Reason: "the container has ended"}
	err := plan.Do(g.watch, op, func() error {
		err := ignoreAbsent(again("StopUnit", g.scope.Unit, "replace"))
		if err == nil {
			err = ignoreAbsent(again("ResetFailedUnit", g.scope.Unit))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete scope %s: %w", g.scope.Unit, err)
	}
	return g.Manager.Delete()
}
