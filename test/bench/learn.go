package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// learnWorks are the commands that look at a whole host. Nobody else has them, so they are held against what a person takes for
// "at once", and against the same on a host without containers.
func learnWorks() []work {
	return []work{{"topology, doctor, why, explain beside 100 containers", measureLooks}, {"sandbox up, lab check", measureLab}}
}

// promise adds to a row's notes whether medians kept what was promised.
func (r *row) promise(limits map[string]time.Duration) {
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		took, verdict := r.results[name].quantile(0.5), "kept"
		if took > limits[name] {
			verdict = "missed"
		}
		r.notes = append(r.notes, fmt.Sprintf("%s in less than %v: %s", name, limits[name], verdict))
	}
}

// measureLab is what a student waits for: a sandbox, a container in it, and the checks of a step by hand and of one with containers.
func measureLab(o options, all []*contestant) (*row, error) {
	r := newRow("sandbox up and down, lab check")
	i := slices.IndexFunc(all, func(c *contestant) bool { return c.name == "mydocker" })
	if i < 0 {
		return r, nil
	}
	program := all[i].exec("x")[0]
	const up, down, cable, containers = "sandbox up", "sandbox down", "lab check, cable", "lab check, docker-network at -p 80:80"
	timed := func(name string, measured bool, command ...string) error {
		took, err := spawn(command)
		if err == nil && measured {
			r.add(name, took)
		}
		time.Sleep(o.pause)
		return err
	}
	for i := range o.rounds + 1 {
		err := errors.Join(timed(up, i > 0, program, "sandbox", "up", "--quiet", "bench"), timed(down, i > 0, program, "sandbox", "down", "bench"))
		if err != nil {
			return nil, err
		}
	}
	for _, lab := range []struct {
		row, name string
		solved    int
	}{{cable, "cable", 0}, {containers, "docker-network", 5}} {
		if _, err := output(program, "lab", "start", lab.name); err != nil {
			return nil, err
		}
		for range lab.solved {
			if _, err := output(program, "lab", "solve"); err != nil {
				return nil, err
			}
		}
		for i := range o.rounds + 1 { // a check that fails is the usual one, and costs up to there; its status is 1
			if err := timed(lab.row, i > 0, "sh", "-c", program+" lab check; [ $? = 1 ]"); err != nil {
				return nil, err
			}
		}
		if _, err := output(program, "lab", "reset"); err != nil {
			return nil, err
		}
	}
	r.promise(map[string]time.Duration{up: 300 * time.Millisecond, cable: time.Second, containers: time.Second})
	return r, nil
}

func measureLooks(o options, all []*contestant) (*row, error) {
	const containers = 100
	r := newRow(fmt.Sprintf("topology, doctor, why, explain beside %d containers, and alone", containers))
	for _, c := range all {
		if c.name != "mydocker" {
			continue
		}
		program := c.exec("x")[0]
		looks := []struct {
			name    string
			command []string
		}{
			{"topology", []string{program, "topology"}},
			{"topology --faults=false", []string{program, "topology", "--faults=false"}},
			{"doctor", []string{"sh", "-c", program + ` doctor; [ $? -le 1 ]`}}, // 1: it has found something
			{"why br0", []string{program, "why", "br0"}},
			{"explain bridge", []string{program, "explain", "bridge"}},
		}
		sample := func(label string) error {
			for i := range o.rounds + 1 {
				for _, look := range looks {
					took, err := spawn(look.command)
					if err != nil {
						return err
					}
					if i > 0 {
						r.add(look.name+", "+label, took)
					}
					time.Sleep(o.pause)
				}
			}
			return nil
		}
		if err := sample("alone"); err != nil {
			return nil, err
		}
		var names []string
		for i := range containers {
			names = append(names, fmt.Sprintf("bench-%d", i))
			if _, err := spawn(c.start(names[i], 20000+i)); err != nil {
				return nil, err
			}
		}
		if err := sample(fmt.Sprint("beside ", containers)); err != nil {
			return nil, err
		}
		if _, err := output(c.remove(names...)...); err != nil {
			return nil, err
		}
		beside := fmt.Sprint(", beside ", containers)
		r.promise(map[string]time.Duration{"topology" + beside: 300 * time.Millisecond, "doctor" + beside: time.Second})
	}
	return r, nil
}
