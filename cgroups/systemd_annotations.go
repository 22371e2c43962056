package cgroups

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// An engine may say more of a scope than a config has members for: the signal that ends it and how long that may take when
// the host is shut down, what it waits for, when systemd forgets it. It does so by annotations that runc has introduced
// (its docs/systemd.md), with values in the text form of D-Bus (GVariant text format):
//
//	"org.systemd.property.TimeoutStopUSec": "uint64 10000000", "org.systemd.property.CollectMode": "'inactive-or-failed'"
//
// `systemd-run --scope -p TimeoutStopSec=10 -p CollectMode=inactive-or-failed` says the same. Podman and CRI-O set some for
// every container.
const (
	scopeAnnotation   = "org.systemd.property."
	maxPropertyLength = 4096 // bytes
)

// Annotate gives the scope the properties that annotations say. Other annotations are left alone.
func (g *SystemdGroup) Annotate(annotations map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(annotations)) { // in one order, so that the same config fails in the same way
		name, ok := strings.CutPrefix(key, scopeAnnotation)
		if !ok {
			continue
		}
		p, err := parseProperty(name, annotations[key])
		if err != nil {
			return fmt.Errorf("annotations: %s=%q: %w", key, annotations[key], err)
		}
		g.extra = append(g.extra, p)
	}
	return nil
}

func parseProperty(name, text string) (property, error) {
	letters := func(c rune) bool { return c < 'A' || c > 'Z' && c < 'a' || c > 'z' }
	if len(name) < 3 || strings.ContainsFunc(name, letters) {
		return property{}, errors.New("this is not the name of a property: see systemd.resource-control(5), systemd.kill(5)")
	}
	if name == "Slice" || name == "PIDs" || name == "ControlGroup" {
		return property{}, errors.New("where the container's group is, linux.cgroupsPath says")
	}
	// The library's parser goes on for ever at a digit that is none of ours, and goes as deep as there are brackets.
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) || len(text) > maxPropertyLength {
		return property{}, fmt.Errorf("the value has other characters than those of ASCII (write '\\u00e9' for é), or more than %d of them", maxPropertyLength)
	}
	value, err := parseVariant(text)
	if err != nil {
		return property{}, fmt.Errorf("the value is not in the text form of D-Bus, like uint64 5, true or 'word': %w", err)
	}
	// What units' files call TimeoutStopSec is TimeoutStopUSec on the bus, in microseconds.
	if stem, ok := strings.CutSuffix(name, "Sec"); ok && stem != "" && stem[len(stem)-1] >= 'a' && stem[len(stem)-1] <= 'z' {
		name = stem + "USec"
		if value, err = microseconds(value); err != nil {
			return property{}, err
		}
	}
	return property{name, value}, nil
}

// parseVariant is the library's, which gives up some texts by a panic ("@s []" is one).
func parseVariant(text string) (v dbus.Variant, err error) {
	defer func() {
		if gaveUp := recover(); gaveUp != nil {
			err = fmt.Errorf("no value has this form: %v", gaveUp)
		}
	}()
	return dbus.ParseVariant(text, dbus.Signature{})
}

func microseconds(seconds dbus.Variant) (dbus.Variant, error) {
	const million = 1000000
	n, whole := int64(0), true
	switch v := seconds.Value().(type) {
	case byte:
		n = int64(v)
	case int16:
		n = int64(v)
	case uint16:
		n = int64(v)
	case int32:
		n = int64(v)
	case uint32:
		n = int64(v)
	case int64:
		n = v
	case uint64:
		n = int64(min(v, 1<<63-1))
	case float64:
		if n, whole = int64(v*million), false; !(v >= 0 && v <= 1e12) {
			n = -1
		}
	default:
		return dbus.Variant{}, errors.New("the value is not a number of seconds")
	}
	if n < 0 || whole && n > 1e12 {
		return dbus.Variant{}, errors.New("the value is not a number of seconds that systemd could count")
	}
	if whole {
		n *= million
	}
	return dbus.MakeVariant(uint64(n)), nil
}
