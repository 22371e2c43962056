package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// way is how the outputs of one step are compared. The exit status always is.
type way int

const (
	nothing way = iota // the step only prepares others
	status             // the exit status, and whether anything was said on standard output and on standard error
	lines              // standard output, with ids, times and addresses masked
	columns            // the columns' heads of a table, and the number of rows
	keys               // the keys of JSON and the types of their values
)

// result is what one call did.
type result struct {
	out, err string
	code     int
}

// differences lists in what two results differ, a short sentence each. The words of an error, which go to standard error, are each
// program's own.
func differences(s step, docker, mine result) []string {
	var list []string
	if docker.code != mine.code {
		list = append(list, fmt.Sprintf("exit status %d instead of %d", mine.code, docker.code))
	}
	for _, stream := range []struct{ name, docker, mine string }{{"stdout", docker.out, mine.out}, {"stderr", docker.err, mine.err}} {
		if (stream.docker == "") != (stream.mine == "") {
			list = append(list, stream.name+map[bool]string{true: " is not empty", false: " is empty"}[stream.docker == ""])
		}
	}
	if docker.code != mine.code {
		return list
	}
	switch s.compare {
	case lines:
		list = append(list, diffLines(masked(docker.out, s), masked(mine.out, s))...)
	case columns:
		list = append(list, diffColumns(docker.out, mine.out)...)
	case keys:
		list = append(list, diffKeys(docker.out, mine.out)...)
	}
	return list
}

func diffLines(docker, mine []string) (list []string) {
	for _, l := range docker {
		if !slices.Contains(mine, l) {
			list = append(list, "- "+l)
		}
	}
	for _, l := range mine {
		if !slices.Contains(docker, l) {
			list = append(list, "+ "+l)
		}
	}
	if len(list) == 0 && !slices.Equal(docker, mine) {
		list = append(list, "the lines come in another order, or another number of times")
	}
	return list
}

// columnGap parts the heads of a table.
var columnGap = regexp.MustCompile(`\s{2,}`)

func diffColumns(docker, mine string) []string {
	d, m := strings.Split(strings.TrimSpace(docker), "\n"), strings.Split(strings.TrimSpace(mine), "\n")
	list := diffLines(columnGap.Split(strings.TrimSpace(d[0]), -1), columnGap.Split(strings.TrimSpace(m[0]), -1))
	if len(d) != len(m) {
		list = append(list, fmt.Sprintf("%d rows instead of %d", len(m)-1, len(d)-1))
	}
	return list
}

// diffKeys compares the shape of JSON: which keys there are, and of what type their values are. Null goes with any type.
func diffKeys(docker, mine string) (list []string) {
	d, m := shape(docker), shape(mine)
	for key, kind := range d {
		switch other, ok := m[key]; {
		case !ok:
			list = append(list, "- "+key)
		case kind != other && kind != "null" && other != "null":
			list = append(list, fmt.Sprintf("%s is a %s, not a %s", key, other, kind))
		}
	}
	for key := range m {
		if _, ok := d[key]; !ok {
			list = append(list, "+ "+key)
		}
	}
	slices.Sort(list)
	return list
}

func shape(text string) map[string]string {
	kinds := map[string]string{}
	decoder := json.NewDecoder(strings.NewReader(text))
	for {
		var v any
		if err := decoder.Decode(&v); err != nil {
			if err.Error() != "EOF" {
				kinds["(no JSON)"] = "error"
			}
			return kinds
		}
		walk(kinds, "", v)
	}
}

func walk(kinds map[string]string, path string, v any) {
	note := func(kind string) {
		if was, ok := kinds[path]; !ok || was == "null" {
			kinds[path] = kind
		}
	}
	switch v := v.(type) {
	case map[string]any:
		note("object")
		for key, value := range v {
			walk(kinds, strings.TrimPrefix(path+"."+maskedKey(key), "."), value)
		}
	case []any:
		note("list")
		for _, value := range v {
			walk(kinds, path+"[]", value)
		}
	case string:
		note("string")
	case float64:
		note("number")
	case bool:
		note("bool")
	case nil:
		note("null")
	}
}

var longID = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

func maskedKey(key string) string { return longID.ReplaceAllString(key, "ID") }

// masks replace what differs from one run to the next.
var masks = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\b(sha256:)?[0-9a-f]{64}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "SHORTID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d)( [A-Z]+)?)?`), "TIME"},
	{regexp.MustCompile(`([0-9a-f]{2}:){5}[0-9a-f]{2}`), "MAC"},
	{regexp.MustCompile(`\b172\.\d+\.\d+\.\d+\b`), "ADDRESS"},
	{regexp.MustCompile(`(Less than a|About a|\d+) (second|minute)s?( ago)?`), "SHORT TIME$3"},
	{regexp.MustCompile(`[ \t]{2,}`), "  "},
}

func masked(text string, s step) []string {
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.by)
	}
	for from, to := range s.mask {
		text = regexp.MustCompile(from).ReplaceAllString(text, to)
	}
	if text = strings.TrimRight(text, "\n"); text == "" {
		return nil
	}
	out := strings.Split(text, "\n")
	for i := range out {
		out[i] = strings.TrimRight(out[i], " ")
	}
	if s.anyOrder {
		slices.Sort(out)
	}
	return out
}
