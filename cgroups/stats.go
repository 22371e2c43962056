package cgroups

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// reader reads several files and keeps the first failure. A controller that the host lacks counts nothing.
type reader struct{ err error }

func (r *reader) uint(path string) uint64 {
	n, err := readUint(path)
	r.keep(err)
	return n
}

func (r *reader) table(path string) map[string]uint64 {
	m, err := readMap(path)
	r.keep(err)
	return m
}

func (r *reader) text(path string) string {
	s, err := readFile(path)
	r.keep(err)
	return s
}

func (r *reader) keep(err error) {
	if err = ignoreAbsent(err); err != nil && r.err == nil {
		r.err = err
	}
}

func (g *v1Group) OOMKills() (uint64, error) {
	m, err := readMap(filepath.Join(g.dir("memory"), "memory.oom_control"))
	return m["oom_kill"], ignoreAbsent(err)
}

func (g *v2Group) OOMKills() (uint64, error) {
	m, err := readMap(filepath.Join(g.dir(), "memory.events"))
	return m["oom_kill"], ignoreAbsent(err)
}

func (g *v1Group) Stats() (*Stats, error) {
	var r reader
	const tick = uint64(time.Second / 100) // USER_HZ is 100 everywhere
	memory, cpu, acct, pids := g.dir("memory"), g.dir("cpu"), g.dir("cpuacct"), g.dir("pids")
	s := &Stats{Time: time.Now()}
	s.CPU.Usage = r.uint(acct + "/cpuacct.usage")
	times := r.table(acct + "/cpuacct.stat")
	s.CPU.User, s.CPU.System = times["user"]*tick, times["system"]*tick
	throttle := r.table(cpu + "/cpu.stat")
	s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledNanos = throttle["nr_periods"], throttle["nr_throttled"], throttle["throttled_time"]
	s.Memory.Usage = r.uint(memory + "/memory.usage_in_bytes")
	s.Memory.MaxUsage = r.uint(memory + "/memory.max_usage_in_bytes")
	s.Memory.Limit = r.uint(memory + "/memory.limit_in_bytes")
	s.Memory.Detail = r.table(memory + "/memory.stat")
	s.Memory.Cache = s.Memory.Detail["total_inactive_file"]
	s.Memory.Swap = s.Memory.Detail["total_swap"]
	s.Memory.OOMKills = r.table(memory + "/memory.oom_control")["oom_kill"]
	s.Pids.Current, s.Pids.Limit = r.uint(pids+"/pids.current"), r.uint(pids+"/pids.max")
	s.Blkio = parseBlkio(r.text(g.dir("blkio") + "/blkio.throttle.io_service_bytes_recursive"))
	return s, r.err
}

// parseBlkio sums lines like "8:0 Read 4096".
func parseBlkio(text string) (b BlkioStats) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		n, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			continue
		}
		switch f[1] {
		case "Read":
			b.Read += n
		case "Write":
			b.Write += n
		}
	}
	return b
}

func (g *v2Group) Stats() (*Stats, error) {
	var r reader
	dir := g.dir()
	s := &Stats{Time: time.Now()}
	const micro = uint64(time.Microsecond)
	cpu := r.table(dir + "/cpu.stat")
	s.CPU = CPUStats{
		Usage: cpu["usage_usec"] * micro, User: cpu["user_usec"] * micro, System: cpu["system_usec"] * micro,
		Periods: cpu["nr_periods"], Throttled: cpu["nr_throttled"], ThrottledNanos: cpu["throttled_usec"] * micro,
	}
	s.Memory.Usage = r.uint(dir + "/memory.current")
	s.Memory.MaxUsage = r.uint(dir + "/memory.peak")
	s.Memory.Limit = r.uint(dir + "/memory.max")
	s.Memory.Detail = r.table(dir + "/memory.stat")
	s.Memory.Cache = s.Memory.Detail["inactive_file"]
	s.Memory.Swap = r.uint(dir + "/memory.swap.current")
	s.Memory.OOMKills = r.table(dir + "/memory.events")["oom_kill"]
	s.Pids.Current, s.Pids.Limit = r.uint(dir+"/pids.current"), r.uint(dir+"/pids.max")
	s.Blkio = parseIOStat(r.text(dir + "/io.stat"))
	return s, r.err
}

// parseIOStat sums lines like "8:0 rbytes=4096 wbytes=0 rios=1 …".
func parseIOStat(text string) (b BlkioStats) {
	for field := range strings.FieldsSeq(text) {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "rbytes":
			b.Read += n
		case "wbytes":
			b.Write += n
		}
	}
	return b
}
