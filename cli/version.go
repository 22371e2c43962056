package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// versionJSON is what a template of `version` may name, with Docker's keys. There is one program, which stands for Docker's client and
// its server. It has no API, so there is no version of one.
type versionJSON struct {
	Client versionClient
	Server versionServer
}

// versionPart is what both halves tell.
type versionPart struct {
	Platform            struct{ Name string }
	Version             string
	GitCommit           string `json:",omitempty"` // known of a program that was built from a repository
	GoVersion, Os, Arch string //nolint:revive // Docker's keys
	BuildTime           string `json:",omitempty"`
}

type versionClient struct {
	versionPart
	Context string
}

type versionServer struct {
	versionPart
	KernelVersion string
	Components    []versionComponent
}

// versionComponent is a program that the server is made of: there is this one. Docker's has its facts here once more, as words.
type versionComponent struct {
	Name, Version string
	Details       map[string]string
}

func versionVerb() *verb {
	return &verb{
		name: "version", summary: "Show the version information", usage: "[OPTIONS]",
		about: `Examples:
  $ mydocker version -f '{{.Client.Version}}'`,
		flags: inspectFlags,
		run: func(s *session, c *urfave.Context) error {
			v := s.versions()
			show, err := inspectPrinter(c.String("format"))
			if err != nil {
				return &usageError{s.verb, err.Error(), 64} // Docker's status for a template
			}
			if show != nil {
				return show(s.streams.Out, v)
			}
			_, err = s.streams.Out.WriteString(v.text())
			return err
		},
	}
}

func (s *session) versions() versionJSON {
	p := versionPart{Version: s.version, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH}
	p.Platform.Name = "mydocker"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range build.Settings {
			switch setting.Key {
			case "vcs.revision":
				p.GitCommit = setting.Value
			case "vcs.time":
				p.BuildTime = setting.Value
			}
		}
	}
	v := versionJSON{Client: versionClient{p, "default"}, Server: versionServer{versionPart: p}}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil { // it fails only for a bad pointer
		v.Server.KernelVersion = unix.ByteSliceToString(uts.Release[:])
	}
	details := map[string]string{"Arch": p.Arch, "Experimental": "false", "GoVersion": p.GoVersion, "KernelVersion": v.Server.KernelVersion, "Os": p.Os}
	for key, value := range map[string]string{"BuildTime": p.BuildTime, "GitCommit": p.GitCommit} {
		if value != "" {
			details[key] = value
		}
	}
	v.Server.Components = []versionComponent{{"Engine", p.Version, details}}
	return v
}

// text is the layout of Docker's `version`, with the lines that mean something here.
func (v versionJSON) text() string {
	var out strings.Builder
	part := func(indent string, p versionPart, last ...string) {
		facts := []string{"Version", p.Version, "Go version", p.GoVersion, "Git commit", p.GitCommit, "Built", p.BuildTime, "OS/Arch", p.Os + "/" + p.Arch}
		facts = append(facts, last...)
		for i := 0; i < len(facts); i += 2 {
			if facts[i+1] != "" {
				fmt.Fprintf(&out, "%s%-*s%s\n", indent, 20-len(indent), facts[i]+":", facts[i+1])
			}
		}
	}
	fmt.Fprintf(&out, "Client: %s\n", v.Client.Platform.Name)
	part(" ", v.Client.versionPart, "Context", v.Client.Context)
	fmt.Fprintf(&out, "\nServer: %s\n Engine:\n", v.Server.Platform.Name)
	part("  ", v.Server.versionPart, "Experimental", "false")
	return out.String()
}

// machine is the architecture as uname -m says it.
func (s *session) machine() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return runtime.GOARCH
	}
	return unix.ByteSliceToString(uts.Machine[:])
}

func (s *session) printVersion() error {
	_, err := fmt.Fprintf(s.streams.Out, "mydocker version %s, %s\n", s.version, runtime.Version())
	return err
}
