package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	pipedBytes  = 1 << 30
	loggedBytes = 100 << 20
	psMany      = 1000
)

// inside is a contestant's command line for a container that runs a script instead of `true`; flags stand behind "run".
func inside(c *contestant, script string, flags ...string) []string {
	argv := c.run("none", nil)
	argv = slices.Insert(argv[:len(argv)-1], slices.Index(argv, "run")+1, flags...)
	return append(argv, "busybox", "sh", "-c", script)
}

// measurePipe pipes zeros into a container that throws them away.
func measurePipe(o options, all []*contestant) (*row, error) {
	name := fmt.Sprintf("%d MiB piped into run -i", pipedBytes>>20)
	return rate(name, pipedBytes, o, networked(all), func(c *contestant) []string {
		script := fmt.Sprintf(`head -c %d /dev/zero | "$@"`, pipedBytes)
		return append([]string{"bash", "-c", script, "pipe"}, inside(c, "busybox cat >/dev/null", "-i")...)
	})
}

// measureLog lets a container write lines of 100 bytes as fast as they are taken from it.
func measureLog(o options, all []*contestant) (*row, error) {
	name := fmt.Sprintf("%d MiB written by a container, and logged", loggedBytes>>20)
	return rate(name, loggedBytes, o, networked(all), func(c *contestant) []string {
		return inside(c, fmt.Sprintf("busybox yes %s | busybox head -c %d", strings.Repeat("x", 99), loggedBytes))
	})
}

// rate is interleaved that also says how many bytes a second that is.
func rate(name string, bytes int, o options, all []*contestant, command func(*contestant) []string) (*row, error) {
	o.rounds = min(o.rounds, 5)
	r, err := interleaved(name, o, all, command)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		median := r.results[c.name].quantile(0.5)
		r.notes = append(r.notes, fmt.Sprintf("%s: %.0f MB/s", c.name, float64(bytes)/1e6/median.Seconds()))
	}
	return r, nil
}

// measurePs lists many containers that run. The peers take minutes to start so many.
func measurePs(o options, all []*contestant) (r *row, err error) {
	c := all[0] // mydocker
	program := c.run("none", nil)[:1]
	with := func(args ...string) []string { return append(slices.Clone(program), args...) }
	var names []string
	for i := range psMany {
		names = append(names, fmt.Sprintf("bench-ps-%d", i))
		if _, err := spawn(with("run", "-d", "--name", names[i], "--net", "none", "bench", "sleep", "100000")); err != nil {
			return nil, err
		}
	}
	defer func() {
		if _, e := output(c.remove(names...)...); err == nil {
			err = e
		}
	}()
	time.Sleep(o.pause)
	return interleaved(fmt.Sprintf("ps of %d running containers", psMany), o, []*contestant{c}, func(*contestant) []string { return with("ps") })
}
