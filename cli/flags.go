package cli

import (
	"encoding/csv"
	"fmt"
	"os"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

// createFlags are the flags that `run` and `create` share, with Docker's words.
func createFlags() []urfave.Flag {
	return append(append([]urfave.Flag{
		list("add-host", "Add a custom host-to-IP mapping (host:ip)"),
		listOf("annotation", "map", "Add an annotation to the container (passed through to the OCI runtime)"),
		list("attach,a", "Attach to STDIN, STDOUT or STDERR"),
		number("blkio-weight", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
		list("blkio-weight-device", "Block IO weight (relative device weight)"),
		list("cap-add", "Add Linux capabilities"),
		list("cap-drop", "Drop Linux capabilities"),
		str("cgroup-parent", "string", "Optional parent cgroup for the container"),
		str("cgroupns", "string", "Cgroup namespace to use (host|private)"),
		str("cidfile", "string", "Write the container ID to the file"),
		number("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period, in microseconds"),
		number("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota, in microseconds"),
		number("cpu-rt-period", "Limit CPU real-time period in microseconds"),
		number("cpu-rt-runtime", "Limit CPU real-time runtime in microseconds"),
		number("cpu-shares,c", "CPU shares (relative weight)"),
		str("cpus", "decimal", "Number of CPUs"),
		str("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
		str("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
		list("device", "Add a host device to the container"),
		list("device-cgroup-rule", "Add a rule to the cgroup allowed devices list"),
		list("device-read-bps", "Limit read rate (bytes per second) from a device"),
		list("device-read-iops", "Limit read rate (IO per second) from a device"),
		list("device-write-bps", "Limit write rate (bytes per second) to a device"),
		list("device-write-iops", "Limit write rate (IO per second) to a device"),
		list("dns", "Set custom DNS servers"),
		list("dns-option,dns-opt", "Set DNS options"),
		list("dns-search", "Set custom DNS search domains"),
		str("domainname", "string", "Container NIS domain name"),
		str("entrypoint", "string", "Overwrite the default ENTRYPOINT of the image"),
		list("env,e", "Set environment variables"),
		list("env-file", "Read in a file of environment variables"),
		list("expose", "Expose a port or a range of ports"),
		list("group-add", "Add additional groups to join"),
		str("hostname,h", "string", "Container host name"),
		yes("init", "Run an init inside the container that forwards signals and reaps processes"),
		yes("interactive,i", "Keep STDIN open even if not attached"),
		str("ip", "string", "IPv4 address (e.g., 172.30.100.104)"),
		str("ip6", "string", "IPv6 address (e.g., 2001:db8::33)"),
		str("ipc", "string", "IPC mode to use"),
		list("label,l", "Set meta data on a container"),
		list("label-file", "Read in a line delimited file of labels"),
		list("link", "Add link to another container"),
		str("log-driver", "string", "Logging driver for the container"),
		list("log-opt", "Log driver options"),
		str("mac-address", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
		str("memory,m", "bytes", "Memory limit"),
		str("memory-reservation", "bytes", "Memory soft limit"),
		str("memory-swap", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
		numberDefault("memory-swappiness", -1, "Tune container memory swappiness (0 to 100)"),
		listOf("mount", "mount", "Attach a filesystem mount to the container"),
		str("name", "string", "Assign a name to the container"),
		listOf("network,net", "network", "Connect a container to a network (also -net)"),
		list("link-local-ip", "Container IPv4/IPv6 link-local addresses"),
		list("network-alias,net-alias", "Add network-scoped alias for the container"),
		yes("oom-kill-disable", "Disable OOM Killer"),
		number("oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)"),
		str("pid", "string", "PID namespace to use"),
		str("platform", "string", "Set platform if server is multi-platform capable"),
		number("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
		yes("privileged", "Give extended privileges to this container"),
		list("publish,p", "Publish a container's port(s) to the host"),
		yes("publish-all,P", "Publish all exposed ports to random ports"),
		strDefault("pull", "string", "missing", `Pull image before running ("always", "missing", "never")`),
		yes("quiet,q", "Suppress the pull output"),
		yes("read-only", "Mount the container's root filesystem as read only"),
		strDefault("restart", "string", "no", "Restart policy to apply when a container exits"),
		yes("rm", "Automatically remove the container and its associated anonymous volumes when it exits"),
		list("security-opt", "Security Options"),
		str("shm-size", "bytes", "Size of /dev/shm"),
		str("stop-signal", "string", "Signal to stop the container"),
		number("stop-timeout", "Timeout (in seconds) to stop a container"),
		listOf("sysctl", "map", "Sysctl options"),
		list("tmpfs", "Mount a tmpfs directory"),
		yes("tty,t", "Allocate a pseudo-TTY"),
		listOf("ulimit", "ulimit", "Ulimit options"),
		str("user,u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
		str("userns", "string", "User namespace to use (host: none of its own, whatever --userns-remap says)"),
		str("userns-remap", "string", "Make the container's root nobody on the host, by the sub-ids of a user: default or <name|uid>[:<group|gid>]"),
		yes("userland-proxy", "Publish ports by a proxy in the monitor, without rules"),
		str("uts", "string", "UTS namespace to use"),
		list("volume,v", "Bind mount a volume"),
		list("volumes-from", "Mount volumes from the specified container(s)"),
		str("workdir,w", "string", "Working directory inside the container"),
	}, healthFlags()...), shapeFlags()...)
}

// createOptions reads the flags of `run` and `create`. It looks at nothing but its arguments and the files that
// --env-file and --label-file name. Every error is the user's.
func createOptions(c *urfave.Context, lookup lookupFunc) (o engine.CreateOptions, err error) {
	args := c.Args().Slice()
	o = engine.CreateOptions{
		Name: c.String("name"), Image: args[0], Args: args[1:],
		WorkingDir: c.String("workdir"), User: c.String("user"),
		Hostname: c.String("hostname"), Domainname: c.String("domainname"),
		TTY: c.Bool("tty"), OpenStdin: c.Bool("interactive"), ReadOnly: c.Bool("read-only"),
		Init: c.Bool("init"), AutoRemove: c.Bool("rm"),
		CIDFile: c.String("cidfile"), Pull: c.String("pull"),
		VolumesFrom: c.StringSlice("volumes-from"),
		GroupAdd:    c.StringSlice("group-add"),
		PidMode:     c.String("pid"), IpcMode: c.String("ipc"), UTSMode: c.String("uts"),
		UsernsMode: c.String("userns"), CgroupnsMode: c.String("cgroupns"),
		Security: engine.Security{Privileged: c.Bool("privileged"), CapAdd: c.StringSlice("cap-add"),
			CapDrop: c.StringSlice("cap-drop"), UsernsRemap: c.String("userns-remap"), SecurityOpt: c.StringSlice("security-opt")},
		LogDriver: c.String("log-driver"), Detached: c.Bool("detach"),
	}
	if o.Image == "" {
		return o, fmt.Errorf("invalid reference format: the image's name is empty")
	}
	for _, read := range []func(*urfave.Context, *engine.CreateOptions) error{
		readProcess, readMounts, readNetwork, readResources, readLimits, readMaps, readHealth,
		func(c *urfave.Context, o *engine.CreateOptions) error { return readEnv(c, o, lookup) },
	} {
		if err := read(c, &o); err != nil {
			return o, err
		}
	}
	return o, checkSharedNetwork(&o)
}

// checkSharedNetwork refuses what a container that joins another's network namespace cannot have for itself: its name and its files of
// names are the other's, too.
func checkSharedNetwork(o *engine.CreateOptions) error {
	if o.Network == "host" && len(o.Links) > 0 {
		return fmt.Errorf("conflicting options: --link and --network host, whose names are not the container's")
	}
	if !strings.HasPrefix(o.Network, "container:") {
		return nil
	}
	for flag, given := range map[string]bool{"--hostname": o.Hostname != "", "--dns": len(o.DNS) > 0, "--add-host": len(o.ExtraHosts) > 0, "--link": len(o.Links) > 0, "--expose": len(o.Expose) > 0} {
		if given {
			return fmt.Errorf("conflicting options: %s and --network %s, whose own it is", flag, o.Network)
		}
	}
	return nil
}

// readProcess reads what concerns the process and its life.
func readProcess(c *urfave.Context, o *engine.CreateOptions) (err error) {
	if c.IsSet("entrypoint") {
		o.Entrypoint = []string{c.String("entrypoint")}
	}
	if o.Restart, err = parseRestart(c.String("restart")); err != nil {
		return err
	}
	if o.AutoRemove && o.Restart.Name != "no" {
		return fmt.Errorf("conflicting options: cannot specify both --restart and --rm")
	}
	if o.StopSignal = c.String("stop-signal"); o.StopSignal != "" {
		if _, err := engine.ParseSignal(o.StopSignal); err != nil {
			return fmt.Errorf("--stop-signal: %w", err)
		}
	}
	if c.IsSet("stop-timeout") {
		seconds := c.Int("stop-timeout")
		o.StopTimeout = &seconds
	}
	if c.IsSet("oom-score-adj") {
		adjust := c.Int("oom-score-adj")
		if adjust < -1000 || adjust > 1000 {
			return fmt.Errorf("invalid value %d for --oom-score-adj: the range is [-1000, 1000]", adjust)
		}
		o.OomScoreAdj = &adjust
	}
	if o.WorkingDir != "" && !strings.HasPrefix(o.WorkingDir, "/") {
		return errRelative(o.WorkingDir)
	}
	switch o.Pull {
	case "always", "missing", "never":
	default:
		return fmt.Errorf("invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"", o.Pull)
	}
	for flag, mode := range map[string]string{"pid": o.PidMode, "ipc": o.IpcMode, "uts": o.UTSMode} {
		if !validMode(flag, mode) {
			return fmt.Errorf("--%s: invalid %s mode %q", flag, strings.ToUpper(flag), mode)
		}
	}
	if o.UsernsMode != "" && o.UsernsMode != "host" {
		return fmt.Errorf("--userns: invalid USER mode %q: only host; --userns-remap says whose sub-ids are used", o.UsernsMode)
	}
	if o.CgroupnsMode != "" && o.CgroupnsMode != "host" && o.CgroupnsMode != "private" {
		return fmt.Errorf("--cgroupns: invalid CGROUP mode %q: host or private", o.CgroupnsMode)
	}
	if err := readAttach(c, o); err != nil {
		return err
	}
	if o.UTSMode == "host" && o.Hostname != "" {
		return fmt.Errorf("conflicting options: --hostname and the host's UTS namespace (--uts host)")
	}
	return nil
}

// readAttach reads -a: which streams the command stands beside.
func readAttach(c *urfave.Context, o *engine.CreateOptions) error {
	for _, stream := range c.StringSlice("attach") {
		stream = strings.ToLower(stream)
		if stream != "stdin" && stream != "stdout" && stream != "stderr" {
			return fmt.Errorf("invalid --attach %q: valid streams are STDIN, STDOUT and STDERR", stream)
		}
		o.AttachStreams = append(o.AttachStreams, stream)
	}
	if len(o.AttachStreams) > 0 && c.Bool("detach") {
		return fmt.Errorf("conflicting options: --attach and --detach")
	}
	return nil
}

func errRelative(dir string) error {
	return fmt.Errorf("the working directory '%s' is invalid, it needs to be an absolute path", dir)
}

// validMode says whether a namespace mode is one that Docker knows.
func validMode(flag, mode string) bool {
	switch mode {
	case "", "host":
		return true
	case "private", "shareable", "none":
		return flag == "ipc"
	}
	name, ok := strings.CutPrefix(mode, "container:")
	return ok && name != "" && flag != "uts"
}

// parseRestart reads no, always, unless-stopped and on-failure[:retries].
func parseRestart(text string) (engine.RestartPolicy, error) {
	name, retries, given := strings.Cut(text, ":")
	p := engine.RestartPolicy{Name: name}
	switch name {
	case "", "no":
		p.Name = "no"
	case "always", "unless-stopped", "on-failure":
	default:
		return p, fmt.Errorf("invalid restart policy '%s': use one of 'no', 'always', 'on-failure[:retries]' or 'unless-stopped'", text)
	}
	if !given {
		return p, nil
	}
	n, err := strconv.Atoi(retries)
	if err != nil || n < 0 {
		return p, fmt.Errorf("invalid restart policy '%s': the maximum retry count must be a whole number from 0", text)
	}
	if name != "on-failure" {
		return p, fmt.Errorf("invalid restart policy '%s': a maximum retry count can only be given with 'on-failure'", text)
	}
	p.MaximumRetryCount = n
	return p, nil
}

// readMaps reads the repeated key=value flags.
func readMaps(c *urfave.Context, o *engine.CreateOptions) error {
	lines, err := readLabelFiles(c.StringSlice("label-file"))
	if err != nil {
		return err
	}
	if o.Labels, err = parseLabels(append(lines, c.StringSlice("label")...)); err != nil {
		return err
	}
	if o.LogOpts, err = keyValues("log-opt", c.StringSlice("log-opt")); err != nil {
		return err
	}
	if err := engine.CheckLog(o.LogDriver, o.LogOpts); err != nil {
		return err
	}
	if o.Annotations, err = keyValues("annotation", c.StringSlice("annotation")); err != nil {
		return err
	}
	o.Sysctls, err = keyValues("sysctl", c.StringSlice("sysctl"))
	if _, given := o.Sysctls["kernel.hostname"]; given {
		return fmt.Errorf("sysctl 'kernel.hostname' is what --hostname sets; use that")
	}
	return err
}

// keyValues reads key=value pairs, a later one of the same key replacing the earlier.
func keyValues(flag string, pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if key == "" || !ok {
			return nil, fmt.Errorf("invalid --%s '%s': key=value is expected", flag, pair)
		}
		m[key] = value
	}
	return m, nil
}

// parseLabels reads key[=value] pairs by Docker's rule: no white space in a key.
func parseLabels(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		key = strings.TrimLeft(key, " \t")
		switch {
		case key == "":
			return nil, fmt.Errorf("invalid label '%s': empty name", pair)
		case strings.ContainsAny(key, " \t"):
			return nil, fmt.Errorf("invalid label '%s': its name contains white space", pair)
		}
		m[key] = value
	}
	return m, nil
}

// splitCSV reads one line of comma-separated fields, where a field in double quotes may hold commas.
func splitCSV(text string) ([]string, error) {
	if !strings.ContainsAny(text, "\"\n\r") {
		return strings.Split(text, ","), nil
	}
	return csv.NewReader(strings.NewReader(text)).Read()
}

// checkTTY refuses -t with an input that is no terminal, for what stays in the foreground.
func checkTTY(tty, stdin bool, in *os.File) error {
	if tty && stdin && !isTerminal(in) {
		return fmt.Errorf("the input device is not a TTY; leave out -t, or use script(1) to make one")
	}
	return nil
}
