package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// clientConfig is what Docker's config.json says besides credentials, with Docker's keys: what a user is spared to type.
// https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties
type clientConfig struct {
	DetachKeys                                                         string
	PsFormat, ImagesFormat, NetworksFormat, VolumesFormat, StatsFormat string
	PruneFilters                                                       []string
	Proxies                                                            map[string]struct{ HTTPProxy, HTTPSProxy, NoProxy, FTPProxy, AllProxy string }
}

// config reads the file, where there is one. One that cannot be read is told of, and keeps nobody from anything, as with Docker.
func (s *session) config() (c clientConfig) {
	dir, _ := s.lookup("DOCKER_CONFIG")
	if dir == "" {
		home, _ := s.lookup("HOME")
		if home == "" {
			return c
		}
		dir = filepath.Join(home, ".docker")
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c
	}
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		s.warn([]string{fmt.Sprintf("Error loading config file: %s: %v", filepath.Join(dir, "config.json"), err)})
		return clientConfig{}
	}
	return c
}

// detachKeys are those of --detach-keys, or, where there may be use for them, the configured ones.
func (s *session) detachKeys(c *urfave.Context, useful bool) (keys string, err error) {
	if keys = c.String("detach-keys"); keys == "" && useful {
		keys = s.config().DetachKeys
	}
	return keys, checkDetachKeys(keys)
}

// format is that of --format, or the one that is configured for a list.
func (s *session) format(c *urfave.Context, configured func(clientConfig) string) string {
	if text := c.String("format"); text != "" || c.Bool("quiet") {
		return text
	}
	return configured(s.config())
}

// withProxies adds the configured proxies to a container's environment, in capitals and in small letters, unless the user has named them.
func (s *session) withProxies(env []string) []string {
	proxy, ok := s.config().Proxies["default"]
	if !ok {
		return env
	}
	for _, v := range [][2]string{{"HTTP_PROXY", proxy.HTTPProxy}, {"HTTPS_PROXY", proxy.HTTPSProxy}, {"NO_PROXY", proxy.NoProxy},
		{"FTP_PROXY", proxy.FTPProxy}, {"ALL_PROXY", proxy.AllProxy}} {
		for _, name := range []string{v[0], strings.ToLower(v[0])} {
			if v[1] != "" && !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
				env = append(env, name+"="+v[1])
			}
		}
	}
	return env
}

// readPruneFilters are --filter of a prune and those that config.json adds to each, but for labels that the two want and do not want.
func (s *session) readPruneFilters(c *urfave.Context) (filters, error) {
	typed := c.StringSlice("filter")
	all := slices.Clone(typed)
	for _, f := range s.config().PruneFilters {
		key, value, _ := strings.Cut(f, "=")
		other := map[string]string{"label": "label!", "label!": "label"}[key]
		if other == "" || !slices.Contains(typed, other+"="+value) {
			all = append(all, f)
		}
	}
	return parseFilters(all, strings.Fields(s.verb.filters)...)
}
