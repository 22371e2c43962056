package cgroups

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// Details are the counts that only `events` shows, besides Stats. What the host does not count is absent.
type Details struct {
	PerCPU, PerCPUKernel, PerCPUUser []uint64 // nanoseconds; version 1
	Memory                           map[string]Counter
	Cpuset                           map[string][]int64
	Blkio                            map[string][]BlkioEntry
	Hugetlb                          map[string]Counter // by page size
}

// Counter is one resource of a kind that can run out.
type Counter struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// BlkioEntry is one line of a blkio file.
type BlkioEntry struct {
	Major uint64 `json:"major"`
	Minor uint64 `json:"minor"`
	Op    string `json:"op"`
	Value uint64 `json:"value"`
}

// ReadDetails reads them.
func ReadDetails(m Manager) (*Details, error) {
	switch g := m.(type) {
	case *v1Group:
		return g.details()
	case *v2Group:
		return g.details()
	case *SystemdGroup:
		return ReadDetails(g.Manager)
	}
	return &Details{}, nil
}

func (g *v1Group) details() (*Details, error) {
	var r reader
	memory, acct, cpuset, blkio := g.dir("memory"), g.dir("cpuacct"), g.dir("cpuset"), g.dir("blkio")
	counter := func(prefix string) Counter {
		// The root's own limits are no numbers of the container's: a file that is missing counts nothing.
		return Counter{
			Usage: r.uint(prefix + "usage_in_bytes"), Max: r.uint(prefix + "max_usage_in_bytes"),
			Limit: limit(&r, prefix+"limit_in_bytes"), Failcnt: r.uint(prefix + "failcnt"),
		}
	}
	d := &Details{
		PerCPU: numbersOf(r.text(acct + "/cpuacct.usage_percpu")), PerCPUKernel: numbersOf(r.text(acct + "/cpuacct.usage_percpu_sys")),
		PerCPUUser: numbersOf(r.text(acct + "/cpuacct.usage_percpu_user")),
		Memory: map[string]Counter{
			"usage": counter(memory + "/memory."), "swap": counter(memory + "/memory.memsw."),
			"kernel": counter(memory + "/memory.kmem."), "kernelTCP": counter(memory + "/memory.kmem.tcp."),
		},
		Cpuset: map[string][]int64{}, Blkio: map[string][]BlkioEntry{}, Hugetlb: map[string]Counter{},
	}
	for key, file := range map[string]string{"cpus": "cpus", "mems": "mems"} {
		d.Cpuset[key] = expand(r.text(cpuset + "/cpuset." + file))
	}
	for _, flag := range []string{"cpu_exclusive", "mem_exclusive", "mem_hardwall", "memory_migrate", "memory_pressure", "memory_spread_page", "memory_spread_slab", "sched_load_balance"} {
		d.Cpuset[flag] = []int64{int64(r.uint(cpuset + "/cpuset." + flag))}
	}
	if level, err := strconv.ParseInt(r.text(cpuset+"/cpuset.sched_relax_domain_level"), 10, 32); err == nil {
		d.Cpuset["sched_relax_domain_level"] = []int64{level} // -1: the machine's
	}
	for key, file := range map[string]string{"ioServiceBytesRecursive": "io_service_bytes_recursive", "ioServicedRecursive": "io_serviced_recursive"} {
		if list := blkioEntries(r.text(blkio + "/blkio.throttle." + file)); len(list) > 0 {
			d.Blkio[key] = list
		}
	}
	hugetlb(d, g.dir("hugetlb"), &r, ".usage_in_bytes", ".limit_in_bytes", ".max_usage_in_bytes", ".failcnt")
	return d, r.err
}

func (g *v2Group) details() (*Details, error) {
	var r reader
	dir := g.dir()
	events := r.table(dir + "/memory.events")
	d := &Details{
		Memory: map[string]Counter{
			"usage": {Usage: r.uint(dir + "/memory.current"), Max: r.uint(dir + "/memory.peak"), Limit: limit(&r, dir+"/memory.max"), Failcnt: events["max"]},
			"swap":  {Usage: r.uint(dir + "/memory.swap.current"), Limit: limit(&r, dir+"/memory.swap.max"), Failcnt: r.table(dir + "/memory.swap.events")["fail"]},
		},
		Cpuset: map[string][]int64{}, Blkio: map[string][]BlkioEntry{}, Hugetlb: map[string]Counter{},
	}
	for key, file := range map[string]string{"cpus": "cpus.effective", "mems": "mems.effective"} {
		d.Cpuset[key] = expand(r.text(dir + "/cpuset." + file))
	}
	for line := range strings.Lines(r.text(dir + "/io.stat")) {
		device, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		for pair := range strings.FieldsSeq(rest) {
			name, value, _ := strings.Cut(pair, "=")
			for word, to := range map[string][2]string{"rbytes": {"ioServiceBytesRecursive", "Read"}, "wbytes": {"ioServiceBytesRecursive", "Write"}, "rios": {"ioServicedRecursive", "Read"}, "wios": {"ioServicedRecursive", "Write"}} {
				if name == word {
					d.Blkio[to[0]] = append(d.Blkio[to[0]], blkioEntries(device+" "+to[1]+" "+value)...)
				}
			}
		}
	}
	hugetlb(d, dir, &r, ".current", ".max", "", "")
	return d, r.err
}

// hugetlb finds the page sizes by the files that there are: hugetlb.2MB.usage_in_bytes.
func hugetlb(d *Details, dir string, r *reader, usage, max, peak, failed string) {
	files, _ := filepath.Glob(filepath.Join(dir, "hugetlb.*"+usage)) // the pattern is well-formed
	for _, file := range files {
		size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "hugetlb."), usage)
		if strings.Contains(size, ".") {
			continue // hugetlb.2MB.rsvd.current
		}
		base := filepath.Join(dir, "hugetlb."+size)
		c := Counter{Usage: r.uint(file), Limit: limit(r, base+max)}
		if peak != "" {
			c.Max, c.Failcnt = r.uint(base+peak), r.uint(base+failed)
		}
		d.Hugetlb[size] = c
	}
}

// limit reads a limit as the kernel writes it: none is a very large number. A missing file is 0.
func limit(r *reader, path string) uint64 {
	text := r.text(path)
	if text == "max" {
		return math.MaxUint64
	}
	n, _ := strconv.ParseUint(text, 10, 64) // what is no number counts nothing
	return n
}

// numbersOf reads numbers between spaces.
func numbersOf(text string) (list []uint64) {
	for f := range strings.FieldsSeq(text) {
		if n, err := strconv.ParseUint(f, 10, 64); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// expand reads a list like "0-2,7".
func expand(text string) (list []int64) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		for n := from; err == nil && err2 == nil && n <= to; n++ {
			list = append(list, int64(n))
		}
	}
	return list
}

// blkioEntries reads lines like "8:0 Read 4096".
func blkioEntries(text string) (list []BlkioEntry) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		major, minor, _ := strings.Cut(f[0], ":")
		a, err := strconv.ParseUint(major, 10, 32)
		b, err2 := strconv.ParseUint(minor, 10, 32)
		n, err3 := strconv.ParseUint(f[2], 10, 64)
		if err == nil && err2 == nil && err3 == nil {
			list = append(list, BlkioEntry{a, b, f[1], n})
		}
	}
	return list
}
