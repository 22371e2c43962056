package cli

import (
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// flagValues are the candidates for the value of a verb's flag: what --filter and --format take depends on the verb.
func (s *session) flagValues(v *verb, f urfave.Flag, typed string) []candidate {
	switch names(f)[0] {
	case "filter":
		return s.filterValues(v, typed)
	case "format":
		return formatValues(f)
	case "opt":
		if v.parent.name == "volume" {
			return words("type= device= o=")
		}
		return words("com.docker.network.bridge.enable_icc= com.docker.network.bridge.enable_ip_masquerade= com.docker.network.bridge.host_binding_ipv4= " +
			"com.docker.network.bridge.name= com.docker.network.driver.mtu= ipvlan_mode= macvlan_mode= mydocker.bridge.gso_max_size= mydocker.bridge.guard= parent=")
	case "driver":
		if v.parent.name == "volume" {
			return words("local")
		}
	}
	return s.values(valueKind(f), typed)
}

func words(text string) (all []candidate) {
	for _, word := range strings.Fields(text) {
		all = append(all, candidate{word, ""})
	}
	return all
}

// formatValues are the formats that are words; a template is everybody's own.
func formatValues(f urfave.Flag) (all []candidate) {
	for _, word := range []string{"json", "table"} {
		if strings.Contains(flagUsage(f), "'"+word+"'") {
			all = append(all, candidate{word, ""})
		}
	}
	return all
}

// filterValues are the keys that a verb's --filter takes, and behind KEY= the values of the key.
func (s *session) filterValues(v *verb, typed string) (all []candidate) {
	key, _, given := strings.Cut(typed, "=")
	keys := strings.Fields(v.filters)
	if !given {
		for _, k := range keys {
			all = append(all, candidate{k + "=", ""})
		}
		return all
	}
	if !slices.Contains(keys, key) {
		return nil
	}
	for _, value := range s.filterKeyValues(v, key) {
		all = append(all, candidate{key + "=" + value.word, value.about})
	}
	return all
}

func (s *session) filterKeyValues(v *verb, key string) []candidate {
	of := v.name // what the verb lists
	if of == "ls" || of == "prune" {
		of = v.parent.name
	}
	switch key {
	case "status":
		return words("created running paused restarting removing exited dead")
	case "health":
		return words("starting healthy unhealthy none")
	case "dangling", "is-task", "all":
		return words("true false")
	case "scope":
		return words("local")
	case "container":
		return s.containerNames("")
	case "image", "ancestor":
		return s.imageNames()
	case "network":
		return s.networkNames()
	case "volume":
		return s.volumeNames()
	case "event":
		return words("attach commit connect copy create destroy detach die disconnect exec_create exec_detach exec_die exec_start export health_status " +
			"import kill load mount oom pause prune pull push rename resize restart save start stop tag top unmount unpause untag update")
	}
	switch of + " " + key {
	case "network type":
		return words("builtin custom")
	case "network driver":
		return words("bridge host ipvlan macvlan null")
	case "volume driver":
		return words("local")
	case "events type":
		return words("container image network volume")
	case "network name", "network id":
		return s.networkNames()
	case "volume name":
		return s.volumeNames()
	case "image before", "image since", "images before", "images since":
		return s.imageNames()
	case "ps before", "ps since", "ps name", "container before", "container since", "container name":
		return s.containerNames("")
	}
	return nil
}
