package engine

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/docker/go-units"
)

// CheckLog refuses log drivers and --log-opt that are not to be had, before there is a container.
func CheckLog(driver string, opts map[string]string) error {
	switch driver {
	case "", "json-file", "journald", "none":
	default:
		return fmt.Errorf("log driver %q is not supported: json-file, journald and none are", driver)
	}
	for key, value := range opts {
		var err error
		switch {
		case driver == "none":
			return fmt.Errorf("log driver none takes no --log-opt")
		case key == "labels" || key == "env":
		case key == "labels-regex" || key == "env-regex":
			_, err = regexp.Compile(value)
		case key == "tag":
			_, err = logTag(&Definition{}, value)
		case driver == "journald" && (key == "max-size" || key == "max-file"):
			return fmt.Errorf("log driver journald takes no --log-opt %s: the journal has limits of its own, see journald.conf(5)", key)
		case key == "max-size":
			if value != "-1" {
				if _, err = units.RAMInBytes(value); err != nil {
					err = fmt.Errorf("%w: a size such as 10m is expected", err)
				}
			}
		case key == "max-file":
			_, err = strconv.ParseUint(value, 10, 16)
		default:
			return fmt.Errorf("--log-opt %s is not supported: max-size, max-file, labels, labels-regex, env, env-regex and tag are", key)
		}
		if err != nil {
			return fmt.Errorf("invalid --log-opt %s=%s: %w", key, value, err)
		}
	}
	return nil
}

// logAttributes are what --log-opt adds to each line: the labels and variables that it names or matches, and a tag.
func (d *Definition) logAttributes() (map[string]string, error) {
	variables := make(map[string]string, len(d.Options.Env))
	for _, pair := range d.Options.Env {
		name, value, _ := strings.Cut(pair, "=")
		variables[name] = value
	}
	attrs := map[string]string{}
	for kind, from := range map[string]map[string]string{"labels": d.Options.Labels, "env": variables} {
		for key := range strings.SplitSeq(d.Options.LogOpts[kind], ",") {
			if value, ok := from[key]; ok {
				attrs[key] = value
			}
		}
		expr := d.Options.LogOpts[kind+"-regex"]
		if expr == "" {
			continue
		}
		wanted, err := regexp.Compile(expr)
		if err != nil {
			return nil, fmt.Errorf("--log-opt %s-regex: %w", kind, err)
		}
		for key, value := range from {
			if wanted.MatchString(key) {
				attrs[key] = value
			}
		}
	}
	if format := d.Options.LogOpts["tag"]; format != "" {
		tag, err := logTag(d, format)
		if err != nil {
			return nil, fmt.Errorf("--log-opt tag: %w", err)
		}
		attrs["tag"] = tag
	}
	return attrs, nil
}

// logTag fills in a tag, which is a template over Docker's fields: {{.Name}}/{{.ID}}.
func logTag(d *Definition, format string) (string, error) {
	t, err := template.New("tag").Parse(format)
	if err != nil {
		return "", err
	}
	image := strings.TrimPrefix(string(d.ImageID), "sha256:")
	var tag strings.Builder
	err = t.Execute(&tag, struct{ ID, FullID, Name, ImageID, ImageFullID, ImageName, DaemonName string }{
		ShortID(d.ID), d.ID, d.Name, image[:min(12, len(image))], string(d.ImageID), d.Options.Image, "mydocker",
	})
	return tag.String(), err
}

// attributesJSON is the member of a line's JSON, with a comma before it; nothing without attributes.
func attributesJSON(attrs map[string]string) ([]byte, error) {
	if len(attrs) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(attrs)
	return append([]byte(`,"attrs":`), text...), err
}

// details is what `logs --details` shows before a line: k=v,k2=v2, in order, as in a URL.
func details(attrs map[string]string) string {
	pairs := make([]string, 0, len(attrs))
	for k, v := range attrs {
		pairs = append(pairs, url.QueryEscape(k)+"="+url.QueryEscape(v))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// openLog begins to write down what the container says, where its driver wants that.
func (m *monitor) openLog() (err error) {
	if m.d.Options.LogDriver == "none" {
		return nil
	}
	attrs, err := m.d.logAttributes()
	if err != nil {
		return err
	}
	switch m.d.Options.LogDriver {
	case "journald":
		m.log, err = openJournalLog(m.d, attrs)
	default:
		m.log, err = openLog(m.e.path(m.d.ID, logFile), m.d.Options.LogOpts)
		if err == nil {
			m.log.attrs, err = attributesJSON(attrs)
		}
	}
	return err
}

func (m *monitor) closeLog() {
	if m.log != nil {
		m.log.Close() // the file is removed in the next moment
		m.log = nil
		m.hub.log = nil
	}
}
