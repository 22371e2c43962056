package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// work is one row of the table.
type work struct {
	name    string
	measure func(o options, all []*contestant) (*row, error)
}

func works(o options) []work {
	onePort := []int{8080}
	tenPorts := []int{8080, 8081, 8082, 8083, 8084, 8085, 8086, 8087, 8088, 8089}
	return append([]work{
		{"run --rm --net none IMAGE true", func(o options, all []*contestant) (*row, error) {
			return interleaved("run --rm --net none IMAGE true", o, all, func(c *contestant) []string { return c.run("none", nil) })
		}},
		{"run --rm -net br0 -p 8080:80 IMAGE true", func(o options, all []*contestant) (*row, error) {
			return interleaved("run --rm -net br0 -p 8080:80 IMAGE true", o, all, func(c *contestant) []string { return c.run("br0", onePort) })
		}},
		{"the same with 10 published ports", func(o options, all []*contestant) (*row, error) {
			return portsRatio(o, all, onePort, tenPorts)
		}},
		{"exec CONTAINER true", measureExec},
		{"run -d of 50 containers", measureFifty},
		{"pipe into run -i", measurePipe},
		{"log at full speed", measureLog},
		{"ps -a of 1000 containers", measurePs},
		{fmt.Sprintf("the next run when %d containers exist", o.many), measureNext},
	}, slices.Concat(networkWorks(), ociWorks(), imageWorks(), learnWorks())...)
}

// interleaved runs the same work by each contestant in turn, o.rounds times, after one round that does not count.
func interleaved(name string, o options, all []*contestant, command func(*contestant) []string) (*row, error) {
	r := newRow(name)
	for i := range o.rounds + 1 {
		for _, c := range all {
			took, err := spawn(command(c))
			if err != nil {
				return nil, err
			}
			if i > 0 {
				r.add(c.name, took)
			}
			time.Sleep(o.pause)
		}
	}
	r.against = baseline(all)
	return r, nil
}

// baseline is crun where it is, the first of the peers where it is not.
func baseline(all []*contestant) string {
	for _, c := range all {
		if c.name == "crun" {
			return c.name
		}
	}
	return all[len(all)-1].name
}

// networked leaves out the bare runtimes, which know neither bridges nor ports.
func networked(all []*contestant) []*contestant {
	return slices.DeleteFunc(slices.Clone(all), func(c *contestant) bool { return c.name == "crun" || c.name == "runc" })
}

func portsRatio(o options, all []*contestant, one, ten []int) (*row, error) {
	r := newRow("run --rm -net br0 with 10 published ports, with 1")
	for i := range o.rounds + 1 {
		for _, c := range networked(all) {
			for _, ports := range [][]int{ten, one} {
				took, err := spawn(c.run("br0", ports))
				if err != nil {
					return nil, err
				}
				if i > 0 {
					r.add(fmt.Sprintf("%s, %d", c.name, len(ports)), took)
				}
				time.Sleep(o.pause)
			}
		}
	}
	for _, c := range networked(all) {
		with10, with1 := r.results[c.name+", 10"].quantile(0.5), r.results[c.name+", 1"].quantile(0.5)
		r.notes = append(r.notes, fmt.Sprintf("%s: 10 ports take %.2f times as long as 1", c.name, float64(with10)/float64(with1)))
	}
	return r, nil
}

func measureExec(o options, all []*contestant) (r *row, err error) {
	for i, c := range all {
		if _, err := spawn(c.start("bench-exec", 8080+i)); err != nil {
			return nil, err
		}
		defer func() {
			if _, e := output(c.remove("bench-exec")...); err == nil {
				err = e
			}
		}()
	}
	return interleaved("exec CONTAINER true", o, all, func(c *contestant) []string { return c.exec("bench-exec") })
}

// measureFifty starts fifty containers one after another; what is noted is the time of all of them. Then the memory of
// the programs that stand by for them. The bare runtimes have neither network nor port nor program that stands by: they
// say what fifty containers cost on this machine at least.
func measureFifty(o options, all []*contestant) (*row, error) {
	const n, rounds = 50, 3
	r := newRow("run -d of 50 containers, one after another, each with a port")
	for round := range rounds {
		for _, c := range all {
			var names []string
			began := time.Now()
			for i := range n {
				names = append(names, fmt.Sprintf("bench-%d", i))
				if _, err := spawn(c.start(names[i], 20000+i)); err != nil {
					return nil, err
				}
			}
			r.add(c.name, time.Since(began))
			if round == rounds-1 && len(c.processes) > 0 {
				time.Sleep(3 * time.Second) // what starts has come to rest
				pss, count, err := memory(c.processes)
				if err != nil {
					return nil, err
				}
				r.notes = append(r.notes, fmt.Sprintf("%s: %d processes stand by, %.2f MB PSS for each container", c.name, count, float64(pss)/n/1024))
			}
			if _, err := output(c.remove(names...)...); err != nil {
				return nil, err
			}
			time.Sleep(500 * time.Millisecond)
		}
	}
	r.against = baseline(all)
	return r, nil
}

// measureNext compares a run on an empty host with one beside many running containers, each with a published port.
func measureNext(o options, all []*contestant) (*row, error) {
	r := newRow(fmt.Sprintf("run --rm -net br0 -p 8080:80 IMAGE true beside %d containers, and alone", o.many))
	sample := func(c *contestant, label string) error {
		for i := range o.rounds + 1 {
			took, err := spawn(c.run("br0", []int{8080}))
			if err != nil {
				return err
			}
			if i > 0 {
				r.add(c.name+", "+label, took)
			}
			time.Sleep(o.pause)
		}
		return nil
	}
	for _, c := range networked(all) {
		if c.name != "mydocker" && o.many > 50 {
			continue // the peers take minutes for so many
		}
		if err := sample(c, "alone"); err != nil {
			return nil, err
		}
		var names []string
		for i := range o.many {
			names = append(names, fmt.Sprintf("bench-%d", i))
			if _, err := spawn(c.start(names[i], 20000+i)); err != nil {
				return nil, err
			}
		}
		if err := sample(c, fmt.Sprint("beside ", o.many)); err != nil {
			return nil, err
		}
		if _, err := output(c.remove(names...)...); err != nil {
			return nil, err
		}
		alone, beside := r.results[c.name+", alone"].quantile(0.5), r.results[c.name+fmt.Sprint(", beside ", o.many)].quantile(0.5)
		r.notes = append(r.notes, fmt.Sprintf("%s: %+.0f %%", c.name, 100*(float64(beside)/float64(alone)-1)))
	}
	return r, nil
}

// memory adds up the proportional set size, in KiB, of all processes of these names.
func memory(names []string) (kib, count int, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, 0, err
	}
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		program, _, _ := strings.Cut(string(cmdline), "\x00")
		if err != nil || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(filepath.Base(program), n) }) {
			continue // ended while we looked, or somebody else's
		}
		file, err := os.Open(dir + "/smaps_rollup")
		if err != nil {
			return 0, 0, err
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == "Pss:" {
				n, err := strconv.Atoi(f[1])
				if err != nil {
					return 0, 0, err
				}
				kib += n
			}
		}
		file.Close()
		count++
	}
	return kib, count, nil
}
