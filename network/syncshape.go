package network

import (
	"fmt"
	"math"
	"slices"

	"github.com/vishvananda/netlink"
)

// shape looks at what slows an endpoint down, at each end of its cable. One that is to be left alone is: what somebody has put there by
// hand is his.
func (s *syncer) shape(e *Endpoint, sb *Sandbox) error {
	ends := [][]operation{nil, nil}
	for _, op := range shapePlan(e, sb) {
		end := 0
		if path, _ := shaped(op); path != "" {
			end = 1
		}
		ends[end] = append(ends[end], op)
	}
	for _, ops := range ends {
		missing, err := s.unshaped(ops)
		if err == nil {
			err = s.do(missing...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shaped is the link that an operation of a shapePlan is about.
func shaped(op operation) (path, link string) {
	switch op := op.(type) {
	case setRate:
		return op.Path, op.Link
	case setNetem:
		return op.Path, op.Link
	}
	return "", ""
}

// unshaped are the operations that make a link's queueing disciplines what ops, all of that link, make of it. One that is another takes
// those below it along, so then all are made anew.
func (s *syncer) unshaped(ops []operation) ([]operation, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	path, name := shaped(ops[0])
	l, h, err := s.k.link(path, name)
	if err != nil {
		return nil, err
	}
	there, err := dump(func() ([]netlink.Qdisc, error) { return h.QdiscList(l) })
	if err != nil {
		return nil, fmt.Errorf("list the queueing disciplines of %s: %w", name, err)
	}
	// A link's own discipline has no number: it is what is there while nobody has chosen one.
	there = slices.DeleteFunc(there, func(q netlink.Qdisc) bool { return q.Attrs().Handle == netlink.HANDLE_NONE })
	if len(there) == len(ops) && !slices.ContainsFunc(ops, func(op operation) bool { return !slowsDown(l, op, there) }) {
		return nil, nil
	}
	if len(there) > 0 {
		ops = append([]operation{clearQdisc{Sandbox: sandboxOf(ops[0]), Path: path, Link: name}}, ops...)
	}
	return ops, nil
}

func sandboxOf(op operation) string {
	switch op := op.(type) {
	case setRate:
		return op.Sandbox
	case setNetem:
		return op.Sandbox
	}
	return ""
}

// slowsDown says whether one of a link's disciplines does what the operation asks for.
func slowsDown(l netlink.Link, op operation, there []netlink.Qdisc) bool {
	return slices.ContainsFunc(there, func(q netlink.Qdisc) bool {
		switch op := op.(type) {
		case setRate:
			is, ok := q.(*netlink.Tbf)
			want := op.qdisc(l)
			return ok && is.Parent == want.Parent && is.Rate == want.Rate && is.Peakrate == 0 && near(is.Buffer, want.Buffer) && near(is.Limit, want.Limit)
		case setNetem:
			is, ok := q.(*netlink.Netem)
			want := op.qdisc(l)
			return ok && is.Parent == want.Parent && is.Limit == want.Limit && is.Jitter == 0 && is.Duplicate == 0 && near(is.Latency, want.Latency) && near(is.Loss, want.Loss)
		}
		return false
	})
}

// near compares what tc(8) and this program round in different ways.
func near(a, b uint32) bool {
	return math.Abs(float64(a)-float64(b)) <= 2+float64(b)/1000
}
