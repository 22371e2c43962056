package image

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"
	"time"
)

// ApplyChanges applies Dockerfile instructions to a configuration: the --change of import and commit.
// https://docs.docker.com/reference/cli/docker/image/import/ lists which ones.
func ApplyChanges(c *ContainerConfig, changes []string) error {
	for _, change := range changes {
		name, rest, _ := strings.Cut(strings.TrimSpace(change), " ")
		if err := applyChange(c, strings.ToUpper(name), strings.TrimSpace(rest)); err != nil {
			return fmt.Errorf("change %q: %w", change, err)
		}
	}
	return nil
}

func applyChange(c *ContainerConfig, instruction, rest string) error {
	if rest == "" {
		return fmt.Errorf("the instruction %s needs a value", instruction)
	}
	switch instruction {
	case "CMD":
		c.Cmd = commandOf(rest)
	case "ENTRYPOINT":
		c.Entrypoint = commandOf(rest)
	case "USER":
		c.User = rest
	case "WORKDIR":
		if !path.IsAbs(rest) {
			rest = path.Join("/", c.WorkingDir, rest)
		}
		c.WorkingDir = path.Clean(rest)
	case "STOPSIGNAL":
		c.StopSignal = rest
	case "ENV":
		return applyPairs(rest, func(key, value string) { setEnv(c, key, value) })
	case "LABEL":
		labels := maps.Clone(c.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		c.Labels = labels
		return applyPairs(rest, func(key, value string) { labels[key] = value })
	case "EXPOSE":
		return applyExpose(c, rest)
	case "VOLUME":
		return applyVolume(c, rest)
	case "ONBUILD":
		c.OnBuild = append(c.OnBuild[:len(c.OnBuild):len(c.OnBuild)], rest)
	case "SHELL":
		return json.Unmarshal([]byte(rest), &c.Shell)
	case "HEALTHCHECK":
		return applyHealthcheck(c, rest)
	default:
		return fmt.Errorf("the instruction %s is unknown here; known are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR", instruction)
	}
	return nil
}

// commandOf reads the exec form, a JSON list, or the shell form, which is anything else.
func commandOf(s string) []string {
	var list []string
	if strings.HasPrefix(s, "[") && json.Unmarshal([]byte(s), &list) == nil {
		return list
	}
	return []string{"/bin/sh", "-c", s}
}

func setEnv(c *ContainerConfig, key, value string) {
	env := append([]string(nil), c.Env...)
	for i, old := range env {
		if strings.HasPrefix(old, key+"=") {
			env[i] = key + "=" + value
			c.Env = env
			return
		}
	}
	c.Env = append(env, key+"="+value)
}

// applyPairs reads "a=b c='d e'" or the old form "a b c", which is one pair.
func applyPairs(s string, set func(key, value string)) error {
	words, err := splitWords(s)
	if err != nil {
		return err
	}
	if !strings.Contains(words[0], "=") {
		key, value, found := strings.Cut(s, " ")
		if !found {
			return fmt.Errorf("%q has no value; write %s=VALUE", key, key)
		}
		set(key, strings.TrimSpace(value))
		return nil
	}
	for _, word := range words {
		key, value, found := strings.Cut(word, "=")
		if !found || key == "" {
			return fmt.Errorf("%q is not NAME=VALUE", word)
		}
		set(key, value)
	}
	return nil
}

// splitWords splits at blanks, with single and double quotes and backslashes as in a shell.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote byte
	started := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			started = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, started = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if started {
				words = append(words, word.String())
			}
			word.Reset()
			started = false
		default:
			word.WriteByte(c)
			started = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c is not closed", quote)
	}
	if started {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("it has no value")
	}
	return words, nil
}

func applyExpose(c *ContainerConfig, rest string) error {
	ports := maps.Clone(c.ExposedPorts)
	if ports == nil {
		ports = map[string]struct{}{}
	}
	for word := range strings.FieldsSeq(rest) {
		number, protocol, found := strings.Cut(word, "/")
		if !found {
			protocol = "tcp"
		}
		protocol = strings.ToLower(protocol)
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 || protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
			return fmt.Errorf("%q is not a port; write 80 or 53/udp", word)
		}
		ports[number+"/"+protocol] = struct{}{}
	}
	c.ExposedPorts = ports
	return nil
}

func applyVolume(c *ContainerConfig, rest string) error {
	var list []string
	if !strings.HasPrefix(rest, "[") {
		list = strings.Fields(rest)
	} else if err := json.Unmarshal([]byte(rest), &list); err != nil {
		return fmt.Errorf("the list of volumes is not JSON: %w", err)
	}
	volumes := maps.Clone(c.Volumes)
	if volumes == nil {
		volumes = map[string]struct{}{}
	}
	for _, v := range list {
		volumes[v] = struct{}{}
	}
	c.Volumes = volumes
	return nil
}

func applyHealthcheck(c *ContainerConfig, rest string) error {
	h := &Healthcheck{}
	for strings.HasPrefix(rest, "--") {
		var flag string
		flag, rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimSpace(rest)
		if err := healthFlag(h, flag); err != nil {
			return err
		}
	}
	kind, command, _ := strings.Cut(rest, " ")
	switch command = strings.TrimSpace(command); {
	case strings.EqualFold(kind, "NONE") && command == "":
		h = &Healthcheck{Test: []string{"NONE"}}
	case !strings.EqualFold(kind, "CMD") || command == "":
		return fmt.Errorf("want HEALTHCHECK [--interval=… --timeout=… --start-period=… --retries=…] CMD COMMAND, or HEALTHCHECK NONE")
	case strings.HasPrefix(command, "["):
		var list []string
		if err := json.Unmarshal([]byte(command), &list); err != nil {
			return fmt.Errorf("the command is not a JSON list: %w", err)
		}
		h.Test = append([]string{"CMD"}, list...)
	default:
		h.Test = []string{"CMD-SHELL", command}
	}
	c.Healthcheck = h
	return nil
}

func healthFlag(h *Healthcheck, flag string) error {
	name, value, _ := strings.Cut(flag, "=")
	if name == "--retries" {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fmt.Errorf("%s: %q is not a number of tries", name, value)
		}
		h.Retries = n
		return nil
	}
	targets := map[string]*time.Duration{"--interval": &h.Interval, "--timeout": &h.Timeout, "--start-period": &h.StartPeriod, "--start-interval": &h.StartInterval}
	target, ok := targets[name]
	if !ok {
		return fmt.Errorf("the flag %s is unknown", name)
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return fmt.Errorf("%s: %q is not a time such as 30s", name, value)
	}
	*target = d
	return nil
}
