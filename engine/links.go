package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mydocker/mydocker/network"
)

// --link is Docker's oldest way to make containers find each other: a line in /etc/hosts, and variables in the environment.
// It is what there is on the default network, which has no names; on others the resolver answers the alias, too.

// link is one --link, looked up.
type link struct {
	alias   string
	d       *Definition
	address string // of the other, on a network that both are on
}

// splitLink parts NAME[:ALIAS].
func splitLink(s string) (ref, alias string, err error) {
	ref, alias, ok := strings.Cut(s, ":")
	if !ok {
		alias = strings.TrimPrefix(ref, "/")
	}
	if ref == "" || alias == "" || strings.ContainsAny(alias, " \t:/") {
		return "", "", fmt.Errorf("invalid --link %q: NAME or NAME:ALIAS is expected", s)
	}
	return ref, alias, nil
}

// links looks up the containers that d is linked to; they have to run.
func (e *Engine) links(d *Definition) ([]link, error) {
	var list []link
	for _, s := range d.Options.Links {
		ref, alias, err := splitLink(s)
		if err != nil {
			return nil, err
		}
		other, err := e.Find(ref)
		if err != nil {
			return nil, fmt.Errorf("--link %s: %w", s, err)
		}
		if _, err := e.running(other); err != nil {
			return nil, fmt.Errorf("cannot link to a container that is not running: %s as %s (mydocker start %s)", other.Name, alias, other.Name)
		}
		endpoints, err := e.networks.ContainerEndpoints(other.ID)
		if err != nil {
			return nil, err
		}
		l := link{alias: alias, d: other, address: e.sharedAddress(d, endpoints)}
		if l.address == "" {
			return nil, fmt.Errorf("cannot link to %s: it is on no network that %s is on (mydocker network connect %s %s)",
				other.Name, d.Name, d.Options.Network, other.Name)
		}
		list = append(list, l)
	}
	return list, nil
}

// linkNames are the names of the linked containers by what the links call them: what the resolver of a user-defined network answers. What cannot
// be found is said by links, which writes the hosts file.
func (e *Engine) linkNames(d *Definition) map[string]string {
	if len(d.Options.Links) == 0 {
		return nil
	}
	names := map[string]string{}
	for _, s := range d.Options.Links {
		if ref, alias, err := splitLink(s); err == nil {
			if other, err := e.Find(ref); err == nil {
				names[alias] = other.Name
			}
		}
	}
	return names
}

// linksLeft are those of a container's links that lead over a network that it is still on. As in Docker, a link belongs to the
// network that it was made on, and goes with it.
func (e *Engine) linksLeft(d *Definition) []string {
	var left []string
	for _, s := range d.Options.Links {
		ref, _, err := splitLink(s)
		if err != nil {
			continue
		}
		other, err := e.Find(ref)
		if err == nil && e.shareNetwork(d, other) {
			left = append(left, s)
		}
	}
	return left
}

func (e *Engine) shareNetwork(a, b *Definition) bool {
	ids := map[string]bool{}
	for _, ref := range a.Options.networkRefs() {
		if n, err := e.networks.Network(ref); err == nil {
			ids[n.ID] = true
		}
	}
	return slices.ContainsFunc(b.Options.networkRefs(), func(ref string) bool {
		n, err := e.networks.Network(ref)
		return err == nil && ids[n.ID]
	})
}

// sharedAddress is the other's address on the first network that d is on too.
func (e *Engine) sharedAddress(d *Definition, endpoints []*network.Endpoint) string {
	for _, ref := range d.Options.networkRefs() {
		n, err := e.networks.Network(ref)
		if err != nil {
			continue
		}
		for _, ep := range endpoints {
			if ep.NetworkID == n.ID && ep.Address.IsValid() {
				return ep.Address.Addr().String()
			}
			if ep.NetworkID == n.ID && ep.Address6.IsValid() {
				return ep.Address6.Addr().String()
			}
		}
	}
	return ""
}

// hostsLine is Docker's: address, alias, short id, and the name where the alias is another.
func (l link) hostsLine() string {
	line := l.address + "\t" + l.alias + " " + ShortID(l.d.ID)
	if l.alias != l.d.Name {
		line += " " + l.d.Name
	}
	return line
}

// env is what the link adds to the environment: Docker's variables, the first exposed port first.
func (l link) env(self string) []string {
	prefix := strings.ToUpper(strings.ReplaceAll(l.alias, "-", "_"))
	env := []string{prefix + "_NAME=/" + self + "/" + l.alias}
	for i, x := range l.d.Options.Expose {
		port, proto, _ := strings.Cut(x, "/")
		url := fmt.Sprintf("%s://%s:%s", proto, l.address, port)
		if i == 0 {
			env = append(env, prefix+"_PORT="+url)
		}
		one := fmt.Sprintf("%s_PORT_%s_%s", prefix, port, strings.ToUpper(proto))
		env = append(env, one+"="+url, one+"_ADDR="+l.address, one+"_PORT="+port, one+"_PROTO="+proto)
	}
	for _, kv := range l.d.Options.Env {
		if name, _, _ := strings.Cut(kv, "="); name != "HOME" && name != "PATH" {
			env = append(env, prefix+"_ENV_"+kv)
		}
	}
	return env
}
