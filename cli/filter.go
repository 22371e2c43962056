package cli

import (
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// filters is what --filter said: key -> values. Values of one key are alternatives (except labels, which add up);
// different keys add up.
type filters map[string][]string

// readFilters reads the verb's own --filter.
func (s *session) readFilters(c *urfave.Context) (filters, error) {
	return parseFilters(c.StringSlice("filter"), strings.Fields(s.verb.filters)...)
}

// parseFilters parts key=value pairs and refuses keys that the command does not know.
func parseFilters(pairs []string, known ...string) (filters, error) {
	f := make(filters)
	for _, pair := range pairs {
		if pair == "" {
			continue // --filter "$FILTER" of a script that has none
		}
		key, value, _ := strings.Cut(pair, "=") // args.go has refused a filter without one
		key = strings.ToLower(strings.TrimSpace(key))
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("invalid filter '%s': %s are known", key, strings.Join(known, ", "))
		}
		f[key] = append(f[key], strings.TrimSpace(value))
	}
	return f, nil
}

// any says whether one of the key's values passes; without a value everything does.
func (f filters) any(key string, pass func(value string) bool) bool {
	return len(f[key]) == 0 || slices.ContainsFunc(f[key], pass)
}

// labels says whether all label filters are met: "key" or "key=value".
func (f filters) labels(labels map[string]string) bool {
	return !slices.ContainsFunc(f["label"], func(want string) bool { return !hasLabel(labels, want) }) &&
		!slices.ContainsFunc(f["label!"], func(want string) bool { return hasLabel(labels, want) })
}

func hasLabel(labels map[string]string, want string) bool {
	key, value, given := strings.Cut(want, "=")
	have, ok := labels[key]
	return ok && (!given || have == value)
}

// flag reads a filter that is true or false; def when it was not given.
func (f filters) flag(key string) (value, given bool, err error) {
	values := f[key]
	if len(values) == 0 {
		return false, false, nil
	}
	switch last := values[len(values)-1]; last {
	case "true", "1":
		return true, true, nil
	case "false", "0":
		return false, true, nil
	default:
		return false, true, fmt.Errorf("invalid filter '%s=%s': true or false is expected", key, last)
	}
}
