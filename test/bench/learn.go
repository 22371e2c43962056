package main

import (
	"fmt"
	"time"
)

// learnWorks are the commands that look at a whole host. Nobody else has them, so they are held against what a person takes for
// "at once", and against the same on a host without containers.
func learnWorks() []work {
	return []work{{"topology, doctor, why, explain beside 100 containers", measureLooks}}
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
		for name, limit := range map[string]time.Duration{"topology": 300 * time.Millisecond, "doctor": time.Second} {
			took := r.results[name+fmt.Sprint(", beside ", containers)].quantile(0.5)
			verdict := "kept"
			if took > limit {
				verdict = "missed"
			}
			r.notes = append(r.notes, fmt.Sprintf("%s in less than %v: %s", name, limit, verdict))
		}
	}
	return r, nil
}
