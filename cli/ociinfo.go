package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"text/tabwriter"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/container"
)

func specVersion() string { return specs.Version }

func (o *ociSession) infoCommands(version string) []*urfave.Command {
	return []*urfave.Command{
		ociCommand("state", "print a container's state as JSON", "ID", 1, 1, nil, o.state),
		ociCommand("list", "list the containers", "", 0, 0, []urfave.Flag{
			&urfave.StringFlag{Name: "format", Aliases: []string{"f"}, Value: "table", Usage: "table or json"},
			&urfave.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "only ids"},
		}, o.list),
		ociCommand("spec", "write a config.json to start from", "", 0, 0, []urfave.Flag{
			&urfave.StringFlag{Name: "bundle", Aliases: []string{"b"}, Value: ".", Usage: "directory for it"},
			&urfave.BoolFlag{Name: "rootless", Usage: "for a user who is not root: a user namespace, no network namespace, no limits"},
		}, o.spec),
		ociCommand("features", "print what this runtime can do as JSON", "", 0, 0, nil, func(*urfave.Context) error {
			return o.print(ociFeatures(version))
		}),
		ociCommand("update", "change the limits of a container", "ID", 1, 1, updateFlags(), o.update),
		ociCommand("events", "print what a container uses, again and again", "ID", 1, 1, []urfave.Flag{
			&urfave.DurationFlag{Name: "interval", Value: 5 * time.Second, Usage: "time between two"},
			&urfave.BoolFlag{Name: "stats", Usage: "print once and end"},
		}, o.events),
	}
}

func (o *ociSession) print(v any) error {
	e := json.NewEncoder(o.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// ociState is runc's answer: the spec's state and a little more.
type ociState struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func (o *ociSession) describe(c *container.Container) ociState {
	s, recorded := c.OCIState(), c.State()
	return ociState{
		Version: s.Version, ID: s.ID, Pid: s.Pid, Status: string(c.Status()), Bundle: s.Bundle, Rootfs: recorded.Rootfs,
		Created: recorded.Created, Annotations: s.Annotations, Owner: o.owner(s.ID),
	}
}

// owner is the user who made a container: the owner of its record.
func (o *ociSession) owner(id string) string {
	var st unix.Stat_t
	if unix.Stat(filepath.Join(o.runtime.Root, id), &st) != nil {
		return "" // deleted meanwhile
	}
	if st.Uid == 0 {
		return "root"
	}
	uid := strconv.FormatUint(uint64(st.Uid), 10)
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return "#" + uid
}

func (o *ociSession) state(c *urfave.Context) error {
	found, err := o.load(c)
	if err != nil {
		return err
	}
	return o.print(o.describe(found))
}

func (o *ociSession) list(c *urfave.Context) error {
	all, err := o.runtime.List()
	if err != nil {
		return err
	}
	states := make([]ociState, 0, len(all))
	for _, found := range all {
		states = append(states, o.describe(found))
	}
	if c.Bool("quiet") {
		for _, s := range states {
			fmt.Fprintln(o.out, s.ID)
		}
		return nil
	}
	switch c.String("format") {
	case "json":
		return json.NewEncoder(o.out).Encode(states)
	case "table":
	default:
		return fmt.Errorf("invalid format option %q", c.String("format"))
	}
	w := tabwriter.NewWriter(o.out, 12, 1, 3, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for _, s := range states {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return w.Flush()
}

func (o *ociSession) spec(c *urfave.Context) error {
	s, err := container.NewSpec(container.SpecOptions{
		Args: []string{"sh"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"},
		TTY: true, Hostname: "mydocker", ReadonlyRootfs: true, NoNewPrivileges: true, Seccomp: container.Unconfined(),
	})
	if err != nil {
		return err
	}
	if c.Bool("rootless") {
		container.Rootless(s, uint32(os.Geteuid()), uint32(os.Getegid()))
	}
	data, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	path := filepath.Join(c.String("bundle"), "config.json")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("%w: remove the old one first", err)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// ociFeatures tells the truth: runtime-spec, features-linux.md.
func ociFeatures(version string) features.Features {
	yes, no := true, false
	modes, flags := container.MemoryPolicies()
	return features.Features{
		OCIVersionMin: "1.0.0", OCIVersionMax: specs.Version,
		Hooks:        []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions: container.MountOptions(),
		// What a user who is allowed annotations, and nothing else, should not be allowed to say.
		PotentiallyUnsafeConfigAnnotations: []string{"org.systemd.property.", "run.oci."},

		Annotations: map[string]string{"com.github.mydocker.version": version, "arch": runtime.GOARCH},
		Linux: &features.Linux{
			Namespaces:   container.NamespaceTypes(),
			Capabilities: container.CapabilityNames(),
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &no, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled: &yes,
				Actions: []string{"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"},
				Operators: []string{
					"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
				},
				Archs:          seccompArchs(),
				KnownFlags:     []string{"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"},
				SupportedFlags: []string{"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"},
			},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &no},
			NetDevices:      &features.NetDevices{Enabled: &yes},
			MemoryPolicy:    &features.MemoryPolicy{Modes: modes, Flags: flags},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
		},
	}
}

func seccompArchs() []string {
	if runtime.GOARCH == "arm64" {
		return []string{"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"}
	}
	return []string{"SCMP_ARCH_X86", "SCMP_ARCH_X86_64"}
}
